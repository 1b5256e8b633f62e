//! How much a variant computes, before it does.

use super::prepared::cells_for;
use super::seen::tails;
use super::{Treatment, Variant};
use crate::engine::Strategy;
use crate::intervention::{Action, Site};
use crate::runtime::Facts;
use crate::tasks::{Item, TaskName};

/// An amount of computation. Generated texts count with their longest length, so it is what a
/// sweep takes at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Effort {
    /// Items.
    pub items: usize,
    /// Results: items times cells.
    pub results: usize,
    /// Rows times layers that run in large batches.
    pub prefill: f64,
    /// Rows times layers of which only keys and values are projected.
    pub cache: f64,
    /// Rows times layers that run a token at a time.
    pub decode: f64,
}

impl Effort {
    /// The sum of two efforts.
    pub fn and(self, other: Self) -> Self {
        Self {
            items: self.items + other.items,
            results: self.results + other.results,
            prefill: self.prefill + other.prefill,
            cache: self.cache + other.cache,
            decode: self.decode + other.decode,
        }
    }
}

/// What a row that runs a token at a time costs in rows of large batches.
const DECODE: f64 = 2.0;
/// What a row of which only keys and values are projected costs.
const CACHE: f64 = 0.1;

impl Effort {
    /// The work in rows times layers of large batches: a number of the plan, the same on every
    /// machine.
    pub fn work(&self) -> f64 {
        self.prefill + CACHE * self.cache + DECODE * self.decode
    }
}

/// What items that run together compute under one of the task's cells.
pub(super) fn effort_of(variant: &Variant, task: TaskName, items: &[Item], cell: usize) -> Effort {
    let mut effort = Effort::default();
    for (item, own) in owned(variant, items) {
        for (_, cell) in cells_for(item, &variant.grid, task, cell..cell + 1) {
            effort.results += 1;
            add(&mut effort, variant, item, own, cell.treatment, cell.layer);
        }
    }
    effort
}

/// What their clean runs take up to the first logits.
pub(super) fn clean_effort(variant: &Variant, items: &[Item]) -> Effort {
    let rows = owned(variant, items).map(|(_, own)| own).sum::<f64>();
    Effort {
        prefill: rows * f64::from(variant.spec.model.facts.n_layer),
        ..Effort::default()
    }
}

/// Items with the rows that each computes: what the texts begin with in common is computed once
/// for all of them.
fn owned<'i>(variant: &Variant, items: &'i [Item]) -> impl Iterator<Item = (&'i Item, f64)> {
    let planned = variant.spec.strategy == Strategy::Planned;
    let shared = if planned { common(items) as f64 } else { 0.0 };
    let each = shared / items.len() as f64;
    let own = move |item: &Item| item.prompt.tokens.len() as f64 - shared + each;
    items.iter().map(move |item| (item, own(item)))
}

fn add(
    effort: &mut Effort,
    variant: &Variant,
    item: &Item,
    own: f64,
    treatment: Treatment,
    layer: u32,
) {
    let spec = &variant.spec;
    let n_layer = f64::from(spec.model.facts.n_layer);
    let above = n_layer - f64::from(layer);
    let n = item.prompt.tokens.len() as f64;
    let swap = item.swap.as_ref().filter(|_| treatment.has_donor());
    let (forced, ending) = tails(item, swap);
    let forced: usize = forced.iter().map(Vec::len).sum();
    let steps = (forced + ending.map_or(0, |e| e.max_tokens)) as f64;
    let in_cache = spec.sites.iter().any(|site| *site != Site::Residual);
    let whole = spec.strategy == Strategy::Straightforward || spec.from_step > 0;
    let mut rows = 2.0;
    match treatment {
        Treatment::Clean => {
            effort.prefill += n_layer * if whole { n } else { own };
            rows = 1.0;
        }
        Treatment::CleanAgain => {
            effort.prefill += n_layer * if whole { n } else { 1.0 };
            rows = 1.0;
        }
        // The text is run once to see its keys and values and once with them rewritten.
        Treatment::Manipulated(_) if in_cache => effort.prefill += 2.0 * n * n_layer,
        Treatment::Manipulated(_) if whole => effort.prefill += n * n_layer,
        Treatment::Manipulated(kind) => match kind.action(0, None) {
            Action::SkipAttention => {
                effort.decode += above;
                rows = 1.0;
            }
            Action::Freeze if kind.manipulation().is_upward() => {
                effort.cache += own * above;
                effort.decode += above;
                rows = 1.1;
            }
            _ if kind.has_donor() => {
                let moves = item.swap.iter().flat_map(|swap| &swap.moves);
                let first = moves.map(|(_, to)| *to).min().unwrap_or(0);
                effort.prefill += above * (n - f64::from(first));
            }
            _ => effort.prefill += above * own,
        },
    }
    effort.decode += rows * steps * n_layer;
}

/// How many tokens all prompts begin with.
fn common(items: &[Item]) -> usize {
    let [first, rest @ ..] = items else { return 0 };
    let shared = rest.iter().map(|item| {
        let pairs = item.prompt.tokens.iter().zip(&first.prompt.tokens);
        pairs.take_while(|(a, b)| a == b).count()
    });
    shared.min().unwrap_or(0)
}

/// Weights that one row meets in one layer, embeddings and the output matrix left out. (Of
/// experts all are counted: an upper bound.)
pub fn layer_weights(facts: &Facts) -> f64 {
    let vocabulary = f64::from(facts.n_vocab) * f64::from(facts.n_embd);
    let body = (facts.n_params as f64 - vocabulary).max(0.0);
    body / f64::from(facts.n_layer.max(1))
}
