//! Keeps the weights of attention: what each head of a layer weighs each token's values by.

use std::collections::BTreeMap;

use super::Pass;
use crate::ggml as sys;
use crate::hook::node::Node;
use crate::hook::{Anatomy, Capture, HookFault};
use crate::intervention::Target;

/// The nodes that give the weights of the layers that are captured ([`Target::Mask`]), by index.
///
/// # Errors
/// [`HookFault::Weights`] for a layer that attends in one node (flash attention): no node gives
/// them.
pub(super) fn weighing(
    anatomy: &Anatomy,
    capture: Option<&Capture>,
) -> Result<BTreeMap<usize, u32>, HookFault> {
    let mut weighing = BTreeMap::new();
    for layer in 0..anatomy.inputs.len() as u32 {
        let wanted = capture.is_some_and(|capture| capture.wants(Target::Mask, layer));
        // What a layer does not have cannot be kept of it.
        let Some(mask) = anatomy.masks[layer as usize].as_ref().filter(|_| wanted) else {
            continue;
        };
        if mask.site.op != sys::GGML_OP_SOFT_MAX {
            return Err(HookFault::Weights(layer));
        }
        weighing.insert(mask.site.index, layer);
    }
    Ok(weighing)
}

impl Pass {
    /// Keeps the weights that `node` gives: of each row those of its heads, one head after the
    /// other, for all positions up to the last one of the row's sequence.
    ///
    /// # Errors
    /// [`HookFault`] for a node of another shape, and a cell that nothing is known of.
    pub(super) fn keep_weights(&mut self, layer: u32, node: Node<'_>) -> Result<(), HookFault> {
        let Some(mask) = self.course.anatomy.masks[layer as usize].clone() else {
            return Ok(());
        };
        let mut weights = Vec::new();
        let [cells, found, heads] = node.read_f32_blocks(&mut weights)?;
        for (n, (_, row)) in self.rows_of(*node, found)?.into_iter().enumerate() {
            let of_sequence = self.rows.iter().filter(|own| own.sequence == row.sequence);
            let seen = of_sequence.map(|own| own.position as usize + 1).max();
            let seen = seen.unwrap_or_default();
            let mut own = vec![0.0; heads * seen];
            for head in 0..heads {
                let from = (head * found + n) * cells;
                let given = weights[from..from + cells].iter().enumerate();
                for (cell, weight) in given.filter(|(_, weight)| **weight != 0.0) {
                    let known = self.observed.cells.as_ref();
                    let position = known.and_then(|known| known.position(mask.cache, cell));
                    let position = position.map(|position| position as usize);
                    let position = position.filter(|position| *position < seen);
                    let position = position.ok_or(HookFault::UnknownCell(cell))?;
                    own[head * seen + position] = *weight;
                }
            }
            let states = self.observed.states.entry(row.sequence).or_default();
            states.weights.insert(layer, row.position, own);
        }
        Ok(())
    }
}
