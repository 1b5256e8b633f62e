//! Carries a list of interventions out on the rows of one sequence, and keeps the books.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Action, Intervention, Place, PositionSet, States, Target};

/// One sequence's interventions, the states they have saved, and which rows they have touched.
///
/// The caller shows it every row of every layer that it asks for, in order of layers.
pub struct Editor {
    plan: Arc<[Intervention]>,
    n_layer: u32,
    /// The layer above which prior tokens' own states are held, and the states.
    pins: Option<(u32, Arc<States>)>,
    /// Parts of layers that the model does not have.
    absent: HashSet<(Target, u32)>,
    /// For each freeze, the saved state of each position.
    saved: Vec<BTreeMap<u32, Vec<f32>>>,
    /// For each intervention, rows touched at each layer.
    touched: Vec<BTreeMap<u32, usize>>,
}

/// A row that went through a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// Its position.
    pub position: u32,
    /// Whether it is a prior token (false for the last token of its text).
    pub prior: bool,
    /// Whether its logits were asked for.
    pub output: bool,
}

/// An intervention that did not touch what it should have.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Missed {
    /// No tensor was met at a layer, or with too few rows.
    #[error(
        "{action} touched {touched} of {expected} rows at layer {layer}: this model's graph does not offer the tensor where it was looked for"
    )]
    Rows {
        /// The action, for the message.
        action: String,
        /// The layer at fault.
        layer: u32,
        /// Rows touched there.
        touched: usize,
        /// Rows that should have been.
        expected: usize,
    },
    /// A given row is missing.
    #[error("no state was given for layer {layer}, position {position}")]
    NotGiven {
        /// The layer.
        layer: u32,
        /// The position.
        position: u32,
    },
    /// A given row has another width than the model.
    #[error(
        "the state given for layer {layer}, position {position} has {given} values, the model {width}"
    )]
    Width {
        /// The layer.
        layer: u32,
        /// The position.
        position: u32,
        /// Values given.
        given: usize,
        /// Values needed.
        width: usize,
    },
    /// Freeze met a row whose lower state had not been seen.
    #[error("freeze has no saved state for position {position} at layer {layer}")]
    NotSaved {
        /// The layer.
        layer: u32,
        /// The position.
        position: u32,
    },
}

impl Editor {
    /// An editor for one sequence of a model with `n_layer` layers.
    pub fn new(plan: Arc<[Intervention]>, n_layer: u32) -> Self {
        let n = plan.len();
        Self {
            plan,
            n_layer,
            pins: None,
            absent: HashSet::new(),
            saved: vec![BTreeMap::new(); n],
            touched: vec![BTreeMap::new(); n],
        }
    }

    /// Holds prior tokens' own residual stream: the states entering layers above `layer` become
    /// `states`, as far as these hold them. Keys and values rewritten at `layer` then reach
    /// later tokens directly, and not through what earlier tokens read of each other.
    pub fn pinned(mut self, layer: u32, states: Arc<States>) -> Self {
        self.pins = Some((layer, states));
        self
    }

    /// Whether it must see this part of `layer`.
    pub fn needs(&self, target: Target, layer: u32) -> bool {
        if self.absent.contains(&(target, layer)) {
            return false;
        }
        let pinned = self.pins.as_ref().is_some_and(|(first, _)| layer > *first);
        (target == Target::Input && pinned)
            || self.plan.iter().any(|i| {
                let rewrites = i.target() == target && i.layers.contains(layer);
                rewrites || (target == Target::Input && saves_at(i, layer))
            })
    }

    /// The interventions.
    pub fn plan(&self) -> &[Intervention] {
        &self.plan
    }

    /// Leaves parts of layers out that a model does not have: they are not asked for, and not
    /// missed.
    pub fn leave_out(&mut self, is_without: impl Fn(Target, u32) -> bool) {
        let targets: HashSet<Target> = self.plan.iter().map(Intervention::target).collect();
        for target in targets {
            let without = (0..self.n_layer).filter(|layer| is_without(target, *layer));
            self.absent.extend(without.map(|layer| (target, layer)));
        }
    }

    /// Rewrites one row of a layer, made of parts of `part` values each (heads; the whole row
    /// for the residual stream). `prior` is false for the text's last token. Returns whether
    /// the row was written.
    ///
    /// # Errors
    /// [`Missed`] when a state that should be written is not there.
    pub fn edit(
        &mut self,
        target: Target,
        layer: u32,
        (position, prior): (u32, bool),
        part: usize,
        row: &mut [f32],
    ) -> Result<bool, Missed> {
        let mut written = false;
        for (n, intervention) in self.plan.iter().enumerate() {
            if intervention.target() != target
                || !intervention.layers.contains(layer)
                || !intervention.tokens.contains(position)
                || !(prior || intervention.action.touches_last())
            {
                continue;
            }
            let saved = self.saved[n].get(&position);
            let place = Place {
                target,
                layer,
                position,
                part,
            };
            rewrite(&intervention.action, saved, &place, row)?;
            *self.touched[n].entry(layer).or_default() += 1;
            written = true;
        }
        if target != Target::Input || !prior {
            return Ok(written);
        }
        if let Some((first, states)) = &self.pins
            && layer > *first
            && let Some(own) = states.get(layer, position)
        {
            row.copy_from_slice(own);
            written = true;
        }
        // Saved after all rewriting at this layer: "the state that entered layer k - 1".
        for (n, intervention) in self.plan.iter().enumerate() {
            if saves_at(intervention, layer) && intervention.tokens.contains(position) {
                self.saved[n].insert(position, row.to_vec());
            }
        }
        Ok(written)
    }

    /// The positions that the token at `position` must not see in a layer; `None` where nothing
    /// is hidden there.
    pub fn hide(&mut self, layer: u32, position: u32) -> Option<PositionSet> {
        let mut hidden: Option<Vec<_>> = None;
        for (n, intervention) in self.plan.iter().enumerate() {
            let hides = intervention.target() == Target::Mask;
            if !hides || !intervention.layers.contains(layer) {
                continue;
            }
            let ranges = intervention.tokens.as_ranges().iter().cloned();
            hidden.get_or_insert_default().extend(ranges);
            *self.touched[n].entry(layer).or_default() += 1;
        }
        let before = PositionSet::ranges(hidden?).below_only(position);
        Some(before)
    }

    /// Checks, after a forward pass over `rows`, that every intervention touched every row it
    /// names at every layer of its span, and none twice, and clears the books.
    ///
    /// In the last layer attention may exist for rows with logits only, since nothing reads the
    /// others.
    ///
    /// # Errors
    /// [`Missed::Rows`] for the first layer that fell short.
    pub fn settle(&mut self, rows: &[Met]) -> Result<(), Missed> {
        let touched = std::mem::take(&mut self.touched);
        self.touched = vec![BTreeMap::new(); self.plan.len()];
        for (intervention, touched) in self.plan.iter().zip(&touched) {
            let named = || {
                let prior_only = !intervention.action.touches_last();
                let hides = intervention.target() == Target::Mask;
                rows.iter().filter(move |row| {
                    let named = intervention.tokens.contains(row.position);
                    hides || ((row.prior || !prior_only) && named)
                })
            };
            let expected = named().count();
            let with_logits = named().filter(|row| row.output).count();
            let has = |layer: &u32| !self.absent.contains(&(intervention.target(), *layer));
            let layers = (0..self.n_layer).filter(|l| intervention.layers.contains(*l));
            for layer in layers.filter(has) {
                let touched = touched.get(&layer).copied().unwrap_or(0);
                let last_attention =
                    intervention.target() == Target::Attention && layer + 1 == self.n_layer;
                if touched != expected && !(last_attention && touched == with_logits) {
                    return Err(Missed::Rows {
                        action: format!("{:?}", intervention.action),
                        layer,
                        touched,
                        expected: if last_attention {
                            with_logits
                        } else {
                            expected
                        },
                    });
                }
            }
        }
        Ok(())
    }
}

fn saves_at(intervention: &Intervention, layer: u32) -> bool {
    intervention.target() == Target::Input
        && matches!(intervention.action, Action::Freeze)
        && layer + 1 == intervention.layers.first
}

fn rewrite(
    action: &Action,
    saved: Option<&Vec<f32>>,
    place: &Place,
    row: &mut [f32],
) -> Result<(), Missed> {
    let Place {
        layer, position, ..
    } = *place;
    match action {
        Action::SkipAttention => row.fill(0.0),
        Action::Hide => {} // nothing is written to rows
        Action::Freeze => row.copy_from_slice(saved.ok_or(Missed::NotSaved { layer, position })?),
        Action::Row(edit) => edit.kind.manipulation().rewrite(edit, place, row)?,
        Action::Given(states) => row.copy_from_slice(states.fitting(layer, position, row.len())?),
        Action::Custom(f) => f(layer, position, row),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{PositionSet, Site};
    use super::*;

    fn editor(plan: Vec<Intervention>) -> Editor {
        Editor::new(plan.into(), 4)
    }

    /// A prior row, and the last one of its text.
    fn met() -> [Met; 2] {
        [(0, true), (1, false)].map(|(position, prior)| Met {
            position,
            prior,
            output: !prior,
        })
    }

    fn input(
        editor: &mut Editor,
        layer: u32,
        position: u32,
        prior: bool,
        row: &mut [f32],
    ) -> Result<bool, Missed> {
        let part = row.len();
        editor.edit(Target::Input, layer, (position, prior), part, row)
    }

    #[test]
    fn freeze_copies_the_state_below_and_spares_the_last_token() {
        let mut editor = editor(vec![Intervention::freeze(2)]);
        assert!(
            !editor.needs(Target::Input, 0)
                && editor.needs(Target::Input, 1)
                && editor.needs(Target::Input, 3)
        );
        let mut row = [1.0, 2.0];
        assert!(!input(&mut editor, 1, 0, true, &mut row).unwrap());
        for layer in 2..4 {
            let mut row = [9.0, 9.0];
            assert!(input(&mut editor, layer, 0, true, &mut row).unwrap());
            assert_eq!(row, [1.0, 2.0]);
            let mut last = [5.0, 5.0];
            assert!(!input(&mut editor, layer, 1, false, &mut last).unwrap());
            assert_eq!(last, [5.0, 5.0]);
        }
        assert_eq!(editor.settle(&met()), Ok(()));
    }

    #[test]
    fn stacked_freeze_keeps_what_was_injected_below() {
        let mut states = States::new();
        states.insert(1, 0, vec![7.0, 7.0]);
        // Listed in either order, the freeze saves the state that really entered layer 1.
        let inject = Intervention::given(1, Arc::new(states), PositionSet::ranges([0..1]));
        for plan in [
            vec![inject.clone(), Intervention::freeze(2)],
            vec![Intervention::freeze(2), inject.clone()],
        ] {
            let mut editor = editor(plan);
            input(&mut editor, 1, 0, true, &mut [1.0, 2.0]).unwrap();
            let mut row = [9.0, 9.0];
            input(&mut editor, 2, 0, true, &mut row).unwrap();
            assert_eq!(row, [7.0, 7.0]);
        }
    }

    #[test]
    fn a_layer_never_shown_is_a_miss() {
        let mut editor = editor(vec![Intervention::random(2, 1)]);
        let error = editor.settle(&met()).unwrap_err();
        assert!(matches!(
            error,
            Missed::Rows {
                layer: 2,
                touched: 0,
                expected: 1,
                ..
            }
        ));
    }

    #[test]
    fn skip_attention_touches_every_row_and_the_outputs_of_the_last_layer() {
        let mut editor = editor(vec![Intervention::skip_attention(3)]);
        assert!(editor.needs(Target::Attention, 3) && !editor.needs(Target::Attention, 2));
        let mut row = [1.0];
        let edited = editor.edit(Target::Attention, 3, (1, false), 1, &mut row);
        assert!(edited.unwrap());
        assert_eq!(row, [0.0]);
        assert_eq!(editor.settle(&met()), Ok(()));
        assert!(editor.settle(&met()).is_err());
    }

    #[test]
    fn the_last_layer_s_attention_has_all_rows_with_logits_or_all_rows() {
        let all_output = met().map(|row| Met {
            output: true,
            ..row
        });
        let settled = |layer, shown: &[(u32, bool)], rows: &[Met]| {
            let mut editor = editor(vec![Intervention::skip_attention(layer)]);
            for layer in layer..4 {
                let shown = if layer == 3 {
                    shown
                } else {
                    &[(0, true), (1, false)]
                };
                for at in shown {
                    let edited = editor.edit(Target::Attention, layer, *at, 1, &mut [1.0]);
                    assert!(edited.unwrap());
                }
            }
            editor.settle(rows).is_ok()
        };
        let (both, last, first) = ([(0, true), (1, false)], [(1, false)], [(0, true)]);
        for layer in [2, 3] {
            assert!(settled(layer, &both, &met()) && settled(layer, &last, &met()));
            assert!(settled(layer, &both, &all_output));
            // A row with logits was not met, or met twice.
            assert!(!settled(layer, &last, &all_output) && !settled(layer, &first, &all_output));
            assert!(!settled(layer, &[], &met()));
            assert!(!settled(layer, &[both[0], both[1], both[1]], &met()));
        }
    }

    #[test]
    fn given_rows_must_be_there_and_fit() {
        let mut states = States::new();
        states.insert(1, 0, vec![7.0]);
        let plan = vec![Intervention::given(1, Arc::new(states), PositionSet::all())];
        let mut editor = editor(plan);
        assert!(matches!(
            input(&mut editor, 1, 0, true, &mut [1.0, 2.0]),
            Err(Missed::Width { .. })
        ));
        assert!(matches!(
            input(&mut editor, 1, 1, true, &mut [1.0, 2.0]),
            Err(Missed::NotGiven { .. })
        ));
    }

    #[test]
    fn keys_are_rewritten_head_by_head_and_own_streams_can_be_held() {
        let random = Intervention::random(1, 7).on(Site::Keys);
        let mut own = States::new();
        own.insert(2, 0, vec![3.0, 3.0]);
        let mut editor = editor(vec![random]).pinned(1, Arc::new(own));
        assert!(editor.needs(Target::Keys, 1) && !editor.needs(Target::Values, 1));
        assert!(!editor.needs(Target::Input, 1) && editor.needs(Target::Input, 2));
        let mut row = [3.0, 4.0, 0.0, 0.0];
        let edited = editor.edit(Target::Keys, 1, (0, true), 2, &mut row);
        assert!(edited.unwrap());
        assert!(
            (row[0].hypot(row[1]) - 5.0).abs() < 1e-5,
            "each head keeps its norm"
        );
        assert_eq!(row[2..], [0.0, 0.0]);
        let mut state = [1.0, 2.0];
        assert!(input(&mut editor, 2, 0, true, &mut state).unwrap());
        assert_eq!(state, [3.0, 3.0]);
        let mut last = [1.0, 2.0];
        assert!(!input(&mut editor, 2, 1, false, &mut last).unwrap());
        assert_eq!(editor.settle(&met()), Ok(()));
    }
}
