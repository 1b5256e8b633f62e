//! What requests cost, without running them.

use super::{Request, Strategy, planned};
use crate::hook::{Anatomy, CacheFill, Cut};
use crate::intervention::{Action, Target};

/// One decode: which part of the graph runs, on how many rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decode {
    /// The part of the graph.
    pub cut: Cut,
    /// Rows of the batch.
    pub rows: usize,
    /// Rows whose logits are wanted.
    pub outputs: usize,
}

impl Decode {
    /// The whole graph.
    pub fn whole(rows: usize, outputs: usize) -> Self {
        Self::from(0, rows, outputs)
    }

    /// All layers from `first` up.
    pub fn from(first: u32, rows: usize, outputs: usize) -> Self {
        Self {
            cut: Cut {
                first,
                cache: CacheFill::FromFirst,
                silent: false,
                onward: true,
            },
            rows,
            outputs,
        }
    }

    /// Products of a weight and a value, those of the logits included. What cannot be cut runs
    /// whole.
    pub fn products(&self, anatomy: &Anatomy) -> f64 {
        let edges = &anatomy.edges;
        let body = self.cut.products(anatomy);
        let body = body.unwrap_or_else(|_| edges.body_products());
        let head = edges.head_products();
        self.rows as f64 * body as f64 + self.outputs as f64 * head as f64
    }
}

/// What costs depend on besides the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How cells are computed.
    pub strategy: Strategy,
    /// Layers of the model.
    pub n_layer: u32,
    /// Rows in one decode at most.
    pub n_batch: usize,
    /// Rows computed at once.
    pub n_ubatch: usize,
    /// Sequences of the context.
    pub sequences: u32,
}

impl Shape {
    /// What requests that are handed over together cost in a model whose graph can be cut
    /// anywhere. [`super::Engine::cost`] knows the model.
    pub fn cost(&self, requests: &[Request]) -> Cost {
        match self.strategy {
            Strategy::Straightforward => Cost::one_by_one(requests, self.n_batch),
            Strategy::Planned => planned::cost::cost(requests, self),
        }
    }

    /// Texts that are continued in one batch.
    pub(super) fn tails_at_once(&self) -> usize {
        (self.n_batch / 2).max(1)
    }
}

/// What an engine computes for requests: a pure function of the requests, the model and the
/// engine's settings. Generated texts count with their longest length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The decodes, in no particular order.
    pub decodes: Vec<Decode>,
}

impl Cost {
    /// Rows times layers that run through attention and MLP, in a model of `n_layer` layers.
    pub fn layer_rows(&self, n_layer: u32) -> u64 {
        self.sum(true, n_layer)
    }

    /// Rows times layers of which only keys and values are computed.
    pub fn cache_rows(&self, n_layer: u32) -> u64 {
        self.sum(false, n_layer)
    }

    fn sum(&self, onward: bool, n_layer: u32) -> u64 {
        let of = self.decodes.iter().filter(|d| d.cut.onward == onward);
        of.map(|d| d.rows as u64 * u64::from(d.cut.layers(n_layer)))
            .sum()
    }

    /// Adds what another cost has.
    pub fn extend(&mut self, other: Self) {
        self.decodes.extend(other.decodes);
    }

    /// Rows of one cut in batches of at most `n_batch`, the last ones outputs.
    pub(super) fn push_in_batches(&mut self, decode: Decode, n_batch: usize) {
        let mut left = decode.rows;
        while left > 0 {
            let rows = left.min(n_batch);
            left -= rows;
            self.decodes.push(Decode {
                cut: decode.cut.clone(),
                rows,
                outputs: decode.outputs.saturating_sub(left).min(rows),
            });
        }
    }

    /// Requests one after another, as [`super::Straightforward`] runs them.
    pub fn one_by_one(requests: &[Request], n_batch: usize) -> Self {
        let mut cost = Self::default();
        for request in requests {
            cost.add_straightforward(request, n_batch);
        }
        cost
    }

    pub(super) fn add_straightforward(&mut self, request: &Request, n_batch: usize) {
        self.add_prompt(request, 0, n_batch);
        let mut appended = false;
        for length in request.steps() {
            // What follows a prompt that was manipulated on the way begins with it anew.
            if appended && request.from_step > 0 {
                self.add_prompt(request, 0, n_batch);
            }
            appended = true;
            for produced in 1..=length {
                if produced == request.from_step {
                    self.add_prompt(request, produced, n_batch);
                    continue;
                }
                if request.manipulate_generated {
                    let freezes = if produced < request.from_step {
                        0
                    } else {
                        cache_freezes(request)
                    };
                    for _ in 0..freezes {
                        self.decodes.push(Decode::whole(1, 0));
                    }
                }
                let rows = 1 + usize::from(request.manipulate_generated);
                self.decodes.push(Decode::whole(rows, 1));
            }
        }
    }

    /// The prompt and what has followed it, under the plan in force then: once, or where keys
    /// and values are rewritten once to see the states, once for each freeze, and once more.
    fn add_prompt(&mut self, request: &Request, produced: usize, n_batch: usize) {
        let n = request.tokens.len() + produced;
        let in_force = produced >= request.from_step;
        let passes = match in_force && request.plan.iter().any(|i| in_cache(i.target())) {
            true => 2 + cache_freezes(request),
            false => 1,
        };
        let mut cuts: Vec<usize> = request.cuts.iter().copied().filter(|c| *c < n).collect();
        cuts.sort_unstable();
        cuts.dedup();
        cuts.push(n);
        for _ in 0..passes {
            let mut start = 0;
            for &end in cuts.iter().filter(|cut| **cut > 0) {
                let outputs = usize::from(end == n);
                self.push_in_batches(Decode::whole(end - start, outputs), n_batch);
                start = end;
            }
        }
    }
}

fn in_cache(target: Target) -> bool {
    matches!(target, Target::Keys | Target::Values)
}

/// Freezes of keys or values, each of which needs a pass of its own.
fn cache_freezes(request: &Request) -> usize {
    let freezes = request.plan.iter();
    let freezes = freezes.filter(|i| matches!(i.action, Action::Freeze) && in_cache(i.target()));
    freezes.count()
}
