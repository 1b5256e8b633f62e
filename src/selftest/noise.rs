//! How much a model differs from itself when the shape of its batches changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::texts::rows_of;
use super::verdict::distance;
use crate::intervention::{Editor, Intervention, Target};
use crate::runtime::{Context, ContextOptions, Model, RuntimeError, Token};

/// Copies of a text in a batch: as many sequences as the planned strategy is examined with. The
/// kernels of graphics devices differ by the number of rows, that of the output's too.
pub(super) const COPIES: u32 = 32;
/// Cells of a copy.
const CELLS: u32 = 16;

/// The same text alone and among copies of itself, in a context of its own in which nothing is
/// ever done wrong on purpose.
pub(super) struct Crowd {
    /// `None` where there is no room for so many sequences: then nothing is known.
    context: Option<Context>,
}

impl Crowd {
    pub fn new(model: &Arc<Model>, options: &ContextOptions) -> Self {
        let options = ContextOptions {
            n_ctx: COPIES * CELLS,
            n_batch: COPIES * CELLS,
            n_ubatch: COPIES * CELLS,
            n_seq_max: COPIES,
            sabotage: None,
            ..options.clone()
        };
        Self {
            context: Context::new(model.clone(), &options).ok(),
        }
    }

    /// The largest difference of a logit after the text, of at most [`CELLS`] tokens, between a
    /// run of it alone and of it among its copies; 0 where that cannot be had. (A plan on keys or
    /// values takes several runs, which are not made here.)
    pub fn noise(&mut self, tokens: &[Token], plan: &[Intervention]) -> f64 {
        let in_cache = |i: &Intervention| matches!(i.target(), Target::Keys | Target::Values);
        let Some(context) = &mut self.context else {
            return 0.0;
        };
        if plan.iter().any(in_cache) || tokens.len() > CELLS as usize {
            return 0.0;
        }
        let alone = last_logits(context, tokens, plan, 1);
        let together = last_logits(context, tokens, plan, COPIES);
        match (alone, together) {
            (Ok(alone), Ok(together)) => distance(&alone, &together),
            _ => 0.0,
        }
    }
}

/// Logits after the last of so many copies.
fn last_logits(
    context: &mut Context,
    tokens: &[Token],
    plan: &[Intervention],
    copies: u32,
) -> Result<Vec<f32>, RuntimeError> {
    let n_layer = context.model().n_layer();
    context.clear();
    let rows: Vec<_> = (0..copies).flat_map(|s| rows_of(s, tokens)).collect();
    let mut editors = HashMap::new();
    if !plan.is_empty() {
        let plan: Arc<[Intervention]> = plan.into();
        editors.extend((0..copies).map(|s| (s, Editor::new(plan.clone(), n_layer))));
    }
    context.decode(&rows, editors, None)?;
    Ok(context.logits(rows.len() - 1)?.to_vec())
}
