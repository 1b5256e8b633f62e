//! Rows that are held at states of a clean run, where a graph is computed in part.

use super::Pass;
use super::edit::Edit;
use super::place::Place;
use crate::hook::HookFault;
use crate::intervention::Target;

impl Pass {
    /// Puts the states in place that rows are held at.
    ///
    /// # Errors
    /// [`HookFault::NoState`] for a state that is not there, or of another width.
    pub(super) fn hold(&self, edit: &mut Edit<'_>) -> Result<(), HookFault> {
        let Some(resume) = &self.resume else {
            return Ok(());
        };
        let (target, layer) = edit.place;
        for (n, (in_batch, row)) in edit.rows.iter().enumerate() {
            let start = &resume.starts[*in_batch];
            match target {
                Target::Input if edit.given || start.from >= layer => {
                    let state = start.entering(layer, row.position)?;
                    if state.len() != edit.width {
                        return Err(HookFault::NoState {
                            layer,
                            position: row.position,
                        });
                    }
                    let values = &mut edit.values[n * edit.width..(n + 1) * edit.width];
                    put(state, values, edit.kept.get_mut(n));
                    edit.written[n] = true;
                    edit.manipulated[n] = start.frozen.is_some_and(|k| layer >= k);
                }
                // It is given as zero.
                Target::Attention => {
                    edit.manipulated[n] = edit.given && layer >= start.from;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether all that happens to a state entering a layer is that some rows are written whole.
    pub(super) fn is_only_held(&self, (target, layer): Place) -> bool {
        let editors = &mut self.observed.editors.values();
        target == Target::Input
            && self.resume.is_some()
            && !editors.any(|editor| editor.needs(target, layer))
            && !(self.capture.as_ref()).is_some_and(|capture| capture.wants(target, layer))
    }

    /// Whether rows are given that are the same in several layers.
    pub(super) fn is_frozen(&self) -> bool {
        let starts = self.resume.iter().flat_map(|resume| &resume.starts);
        starts.into_iter().any(|start| start.frozen.is_some())
    }

    /// Whether the state entering a layer is that entering the layer below, and given there.
    pub(super) fn is_there_already(&self, (target, layer): Place) -> bool {
        if layer == self.n_layer() {
            return false;
        }
        let inputs = &self.course.anatomy.inputs;
        let gives = |below: &u32| self.resume.as_ref().is_some_and(|r| r.cut.gives(*below));
        let below = layer.checked_sub(1).filter(gives);
        target == Target::Input
            && below.is_some_and(|b| inputs[b as usize].index == inputs[layer as usize].index)
    }
}

/// Copies a state. `kept` is the address of the state that the values are already: those of a
/// frozen row are the same in all layers, and need no copying there.
fn put(state: &[f32], values: &mut [f32], kept: Option<&mut Option<usize>>) {
    let address = Some(state.as_ptr() as usize);
    match kept {
        Some(kept) if *kept == address => {}
        Some(kept) => {
            values.copy_from_slice(state);
            *kept = address;
        }
        None => values.copy_from_slice(state),
    }
}
