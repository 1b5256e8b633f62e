//! How much a model differs from itself when the shape of its batches changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::agreement::rows_of;
use super::examined::distance;
use crate::engine::EngineError;
use crate::intervention::{Editor, Intervention, Target};
use crate::runtime::{Context, ContextOptions, Model, Token};

/// Copies of a text in a batch: as many sequences as the planned strategy is examined with. The
/// kernels of graphics devices differ by the number of rows, that of the output's too.
pub(super) const COPIES: u32 = 32;
/// Cells of a copy.
const CELLS: u32 = 16;

/// The same text alone and among copies of itself, in a context of its own in which nothing is
/// ever done wrong on purpose.
pub(super) struct Crowd {
    context: Context,
}

impl Crowd {
    pub fn new(model: Arc<Model>, options: &ContextOptions) -> Result<Self, EngineError> {
        let options = ContextOptions {
            n_ctx: COPIES * CELLS,
            n_batch: COPIES * CELLS,
            n_ubatch: COPIES * CELLS,
            n_seq_max: COPIES,
            sabotage: None,
            ..options.clone()
        };
        Ok(Self {
            context: Context::new(model, &options)?,
        })
    }

    /// The largest difference of a logit after the text, of at most [`CELLS`] tokens, between a
    /// run of it alone and of it among its copies. A plan on keys or values takes several runs,
    /// which are not made here: nothing is known of it.
    pub fn noise(&mut self, tokens: &[Token], plan: &[Intervention]) -> Result<f64, EngineError> {
        let in_cache = |i: &Intervention| matches!(i.target(), Target::Keys | Target::Values);
        if plan.iter().any(in_cache) || tokens.len() > CELLS as usize {
            return Ok(0.0);
        }
        let alone = self.last(tokens, plan, 1)?;
        let together = self.last(tokens, plan, COPIES)?;
        Ok(distance(&alone, &together))
    }

    /// Logits after the last of so many copies.
    fn last(
        &mut self,
        tokens: &[Token],
        plan: &[Intervention],
        copies: u32,
    ) -> Result<Vec<f32>, EngineError> {
        let n_layer = self.context.model().n_layer();
        self.context.clear();
        let rows: Vec<_> = (0..copies).flat_map(|s| rows_of(s, tokens)).collect();
        let mut editors = HashMap::new();
        if !plan.is_empty() {
            let plan: Arc<[Intervention]> = plan.into();
            editors.extend((0..copies).map(|s| (s, Editor::new(plan.clone(), n_layer))));
        }
        self.context.decode(&rows, editors, None)?;
        Ok(self.context.logits(rows.len() - 1)?.to_vec())
    }
}
