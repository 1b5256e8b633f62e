//! What a decode left in the model, found by llama.cpp's own names: a second pair of eyes that
//! shares nothing with the analysed graph, the row map and the editors.

use std::collections::BTreeMap;

use super::HookFault;
use super::names::layer_left;
use super::tensor::Tensor;

/// The states that left layers and the keys and values that went into the cache, row by row of
/// the latest micro-batch, as they stood after all rewriting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Witness {
    /// By layer, the state leaving it (`l_out-N`, or what `names.rs` has in its place).
    pub outputs: BTreeMap<u32, Vec<f32>>,
    /// By layer, the keys written to `cache_k_lN`; absent where the cache is not of `f32`.
    pub keys: BTreeMap<u32, Vec<f32>>,
    /// By layer, the values written to `cache_v_lN`; absent where the cache is not of `f32`.
    pub values: BTreeMap<u32, Vec<f32>>,
}

enum Place {
    Output(u32),
    Keys(u32),
    Values(u32),
}

fn place(node: Tensor<'_>) -> Option<Place> {
    let number = |name: &str, prefix: &str| name.strip_prefix(prefix)?.parse().ok();
    if let Some(layer) = layer_left(&node.name()) {
        return Some(Place::Output(layer));
    }
    let cache = node.written_cache()?.name();
    let keys = number(&cache, "cache_k_l").map(Place::Keys);
    keys.or_else(|| number(&cache, "cache_v_l").map(Place::Values))
}

impl Witness {
    /// Whether it wants to see the node's data.
    pub(super) fn wants(node: Tensor<'_>) -> bool {
        place(node).is_some()
    }

    /// Takes the data of a node that has been computed.
    ///
    /// # Errors
    /// [`HookFault::Layout`] for a state that is not made of rows of `f32`.
    pub(super) fn see(&mut self, node: Tensor<'_>) -> Result<(), HookFault> {
        let mut rows = Vec::new();
        match place(node) {
            Some(Place::Output(layer)) => {
                node.read_f32(&mut rows)?;
                self.outputs.insert(layer, rows);
            }
            Some(Place::Keys(layer)) => {
                self.keys
                    .extend(node.read_written().map(|rows| (layer, rows)));
            }
            Some(Place::Values(layer)) => {
                self.values
                    .extend(node.read_written().map(|rows| (layer, rows)));
            }
            None => {}
        }
        Ok(())
    }
}
