//! Which rows and layers a request needs computed, given a clean run of its text.

use super::Planned;
use crate::engine::Request;
use crate::hook::{CacheFill, Cut};
use crate::intervention::{Action, Intervention, Target};
use crate::runtime::RuntimeError;

/// How a request is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Route {
    /// Nothing is manipulated in the prompt: the clean run itself.
    Clean,
    /// No attention from layer `k` up, so that prior tokens do not matter there: the last row
    /// alone, from its clean state entering `k`.
    Silent {
        /// The layer.
        k: u32,
    },
    /// All prior tokens frozen from layer `k` up: keys and values of their saved states, then
    /// the last row from `k`.
    Frozen {
        /// The layer.
        k: u32,
    },
    /// The rows from the first one touched, from the first layer touched.
    Rows {
        /// The layer.
        layer: u32,
        /// The row.
        row: u32,
    },
    /// All rows from the first layer touched, in a batch of their own: a recurrent layer's state
    /// cannot begin in the middle of a text.
    Alone {
        /// The layer.
        layer: u32,
    },
    /// As the straightforward strategy does it: keys and values as a site (their freeze needs
    /// three passes), manipulation that begins later, a prompt cut into batches on purpose.
    Whole,
}

impl Route {
    /// The first row of a text of `n` tokens of which the clean run's states are needed; `n` where
    /// none is.
    pub(super) fn first_state(self, n: u32) -> u32 {
        match self {
            Route::Clean | Route::Whole => n,
            Route::Silent { .. } => n - 1,
            Route::Rows { row, .. } => row,
            Route::Frozen { .. } | Route::Alone { .. } => 0,
        }
    }

    /// The layer from which states differ from the clean run's.
    pub(super) fn layer(self) -> u32 {
        match self {
            Route::Clean | Route::Whole => 0,
            Route::Silent { k } | Route::Frozen { k } => k,
            Route::Rows { layer, .. } | Route::Alone { layer } => layer,
        }
    }
}

impl Planned {
    /// Whether the graph can be cut as the route needs it.
    pub(super) fn possible(&mut self, route: Route) -> Result<(), RuntimeError> {
        let first = route.layer();
        let cache = match route {
            Route::Alone { .. } => CacheFill::FromFirst,
            _ => CacheFill::All,
        };
        let onward = Cut {
            first,
            cache,
            silent: matches!(route, Route::Silent { .. }),
            onward: true,
        };
        self.context().roles(&onward)?;
        if matches!(route, Route::Frozen { .. }) {
            let cache = Cut {
                onward: false,
                ..onward
            };
            self.context().roles(&cache)?;
        }
        Ok(())
    }

    /// The route that a request takes in this model, and why it is computed whole although a
    /// part of the graph should do.
    pub(super) fn route(&mut self, request: &Request) -> (Route, Option<RuntimeError>) {
        let route = route(request, self.n_layer());
        if route == Route::Whole {
            return (route, None);
        }
        let Err(error) = self.possible(route) else {
            return (route, None);
        };
        if self.recurs()
            && let Some(alone) = alone(request, route)
        {
            let layer = alone.layer();
            return match self.possible(Route::Alone { layer }) {
                Ok(()) => (alone, None),
                Err(error) => (Route::Whole, (route != Route::Clean).then_some(error)),
            };
        }
        // What is clean is computed whole either way, though not beside others.
        (Route::Whole, (route != Route::Clean).then_some(error))
    }
}

/// The route of a request to a model of `n_layer` layers.
pub(super) fn route(request: &Request, n_layer: u32) -> Route {
    let in_cache = |target| matches!(target, Target::Keys | Target::Values);
    let n = request.tokens.len() as u32;
    // A clean run cut before its last token is that token alone, after the clean cells.
    if request.plan.is_empty() && n > 1 && request.cuts == [n as usize - 1] {
        return Route::Rows {
            layer: 0,
            row: n - 1,
        };
    }
    // (Where nothing is manipulated, it does not matter from when.)
    let late = request.from_step > 0 && !request.plan.is_empty();
    if late || !request.cuts.is_empty() || request.plan.iter().any(|i| in_cache(i.target())) {
        return Route::Whole;
    }
    let plan = request.plan_at(0);
    if let [only] = &plan[..] {
        let k = only.layers.first;
        let upward = is_upward(only, n_layer);
        let all = |end: u32| only.tokens.count_below(end) == end;
        let grown = n + request.longest_tail() as u32;
        match only.action {
            Action::SkipAttention if upward && all(grown) => return Route::Silent { k },
            Action::Freeze if upward && n > 1 && all(n - 1) => return Route::Frozen { k },
            _ => {}
        }
    }
    let first_row = plan.iter().filter_map(|i| first_row(i, n, n_layer)).min();
    let first_layer = plan.iter().map(|i| i.first_seen()).min();
    match (first_layer, first_row) {
        (Some(layer), Some(row)) => Route::Rows {
            layer,
            row: row.min(n - 1),
        },
        _ => Route::Clean,
    }
}

/// The route in a model with recurrent layers of a request that elsewhere takes `route`. `None`
/// where tokens follow or the prompt is cut on purpose: the states of the layers left out would be
/// missing.
fn alone(request: &Request, route: Route) -> Option<Route> {
    if request.longest_tail() > 0 || !request.cuts.is_empty() {
        return None;
    }
    let plan = request.plan_at(0);
    match route {
        Route::Whole => None,
        Route::Clean => Some(Route::Clean),
        _ => {
            let layer = plan.iter().map(|i| i.first_seen()).min()?;
            Some(Route::Alone { layer })
        }
    }
}

fn is_upward(intervention: &Intervention, n_layer: u32) -> bool {
    let last = intervention.layers.last;
    last.is_none_or(|last| last + 1 >= n_layer)
}

/// The first row of a text of `n` that must be computed. Hidden tokens need not, for nothing sees
/// them any more.
fn first_row(intervention: &Intervention, n: u32, n_layer: u32) -> Option<u32> {
    let (tokens, first) = (&intervention.tokens, intervention.tokens.first()?);
    match intervention.action {
        Action::Hide if is_upward(intervention, n_layer) => (first..n - 1)
            .find(|row| !tokens.contains(*row))
            .or(Some(n - 1)),
        _ => Some(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intervention::{Kind, LayerSpan, PositionSet, Site};
    use crate::runtime::Token;

    fn of(plan: Vec<Intervention>) -> Route {
        let tokens = vec![Token(1); 10];
        route(
            &Request {
                tokens,
                plan,
                ..Request::default()
            },
            8,
        )
    }

    #[test]
    fn each_manipulation_goes_its_way() {
        assert_eq!(of(vec![]), Route::Clean);
        assert_eq!(
            of(vec![Intervention::skip_attention(3)]),
            Route::Silent { k: 3 }
        );
        assert_eq!(of(vec![Intervention::freeze(3)]), Route::Frozen { k: 3 });
        let rows = |layer, row| Route::Rows { layer, row };
        assert_eq!(of(vec![Intervention::random(3, 1)]), rows(3, 0));
        let late = PositionSet::ranges([6..8]);
        assert_eq!(
            of(vec![Intervention::freeze(3).at(late.clone())]),
            rows(2, 6)
        );
        assert_eq!(
            of(vec![
                Intervention::skip_attention(3).at(PositionSet::below(9))
            ]),
            rows(3, 0)
        );
        let window = Intervention::new(Action::Freeze, LayerSpan::window(3, 2));
        assert_eq!(of(vec![window]), rows(2, 0));
        let window = Intervention::new(Action::Freeze, LayerSpan::window(3, 5));
        assert_eq!(of(vec![window]), Route::Frozen { k: 3 });
        let stacked = vec![Intervention::zero_at(late), Intervention::freeze(5)];
        assert_eq!(of(stacked), rows(1, 0));
        // Hidden tokens are not computed: nothing sees them.
        assert_eq!(
            of(vec![Intervention::hide(3, PositionSet::all())]),
            rows(3, 9)
        );
        let some = PositionSet::ranges([2..5]);
        assert_eq!(of(vec![Intervention::hide(3, some.clone())]), rows(3, 5));
        let window = Intervention::new(Action::Hide, LayerSpan::only(3)).at(some);
        assert_eq!(of(vec![window]), rows(3, 2));
        let keys = Intervention::random(3, 1).on(Site::Keys);
        assert_eq!(of(vec![keys]), Route::Whole);
    }

    impl Intervention {
        fn zero_at(tokens: PositionSet) -> Self {
            Self::new(Kind::Zero.action(0, None), LayerSpan::only(1)).at(tokens)
        }
    }

    #[test]
    fn a_clean_run_with_its_last_token_apart_is_one_row() {
        let request = |cuts| Request {
            tokens: vec![Token(1); 10],
            cuts,
            ..Request::default()
        };
        let last = Route::Rows { layer: 0, row: 9 };
        assert_eq!(route(&request(vec![9]), 8), last);
        assert_eq!(route(&request(vec![7]), 8), Route::Whole);
        assert_eq!(route(&request(vec![]), 8), Route::Clean);
    }

    #[test]
    fn a_late_beginning_needs_a_manipulation() {
        let clean = Request {
            tokens: vec![Token(1); 10],
            from_step: 1,
            ..Request::default()
        };
        assert_eq!(route(&clean, 8), Route::Clean);
        let late = clean.with(Intervention::freeze(3));
        assert_eq!(route(&late, 8), Route::Whole);
    }

    #[test]
    fn silence_holds_only_while_no_token_is_left_out() {
        let request = Request {
            tokens: vec![Token(1); 10],
            plan: vec![Intervention::skip_attention(3)],
            continuations: vec![vec![Token(1); 4]],
            manipulate_generated: false,
            ..Request::default()
        };
        assert_eq!(route(&request, 8), Route::Rows { layer: 3, row: 0 });
        let request = Request {
            manipulate_generated: true,
            ..request
        };
        assert_eq!(route(&request, 8), Route::Silent { k: 3 });
    }
}
