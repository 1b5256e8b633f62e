//! The mask of attention: which cells of the cache a row sees, and whose position is in which.
//!
//! llama.cpp makes one mask for all layers that read the same kind of cache, an input of the
//! graph: a row for each token of the micro-batch, a value for each cell, `-inf` where the token
//! does not see the cell. Which cell each token is written to is an input as well.

use std::collections::HashMap;

use crate::ggml as sys;

use super::HookFault;
use super::site::Site;
use super::tensor::Tensor;
use super::view::{Layer, View};

/// Where a layer's attention takes its mask from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskSite {
    /// The node that attends.
    pub site: Site,
    /// Which of its operands is the mask.
    pub operand: usize,
    /// A write to the cache that is read, by its index: it says which cell each row goes to.
    pub cells: usize,
    /// The layer of that write. Caches whose rows go to the same cells have that of the lowest
    /// of their layers here, whatever the order of nodes.
    pub cache: u32,
}

/// The position of the token in each cell, as far as it was seen being written.
#[derive(Clone, Debug, Default)]
pub struct Cells(HashMap<u32, Vec<Option<u32>>>);

impl Cells {
    /// Notes that the token at a position is written to a cell. `cache` is [`MaskSite::cache`].
    pub(super) fn put(&mut self, cache: u32, cell: usize, position: u32) {
        let cells = self.0.entry(cache).or_default();
        if cells.len() <= cell {
            cells.resize(cell + 1, None);
        }
        cells[cell] = Some(position);
    }

    pub(super) fn position(&self, cache: u32, cell: usize) -> Option<u32> {
        *self.0.get(&cache)?.get(cell)?
    }
}

/// The rows of a mask, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    /// Bytes of a row.
    stride: usize,
    /// Cells of a row.
    cells: usize,
    is_half: bool,
}

/// `-inf` of half and single precision.
const HALF: [u8; 2] = 0xFC00u16.to_le_bytes();
const SINGLE: [u8; 4] = f32::NEG_INFINITY.to_le_bytes();

impl Rows {
    /// Reads the first `n` rows of a mask.
    pub fn read(mask: Tensor<'_>, n: usize) -> Option<Self> {
        let is_half = mask.element_type() == sys::GGML_TYPE_F16;
        let (shape, strides) = (mask.shape(), mask.strides());
        let cells = shape[0] as usize;
        let size = if is_half { HALF.len() } else { SINGLE.len() };
        let fits = (is_half || mask.element_type() == sys::GGML_TYPE_F32)
            && strides[0] == size
            && strides[1] == size * cells
            && shape[1] as usize >= n
            && shape[2] == 1
            && shape[3] == 1;
        let bytes = fits.then(|| mask.read_bytes(n * strides[1])).flatten()?;
        Some(Self {
            bytes,
            stride: strides[1],
            cells,
            is_half,
        })
    }

    /// Hides the cells of a row whose positions `hidden` names. `position` says which token a
    /// cell holds.
    ///
    /// # Errors
    /// [`HookFault::UnknownCell`] for a cell that is seen and of which nothing is known.
    pub fn hide(
        &mut self,
        row: usize,
        position: impl Fn(usize) -> Option<u32>,
        hidden: impl Fn(u32) -> bool,
    ) -> Result<(), HookFault> {
        let nothing: &[u8] = if self.is_half { &HALF } else { &SINGLE };
        let row = &mut self.bytes[row * self.stride..][..self.cells * nothing.len()];
        for (cell, value) in row.chunks_exact_mut(nothing.len()).enumerate() {
            if *value == *nothing {
                continue;
            }
            let position = position(cell).ok_or(HookFault::UnknownCell(cell))?;
            if hidden(position) {
                value.copy_from_slice(nothing);
            }
        }
        Ok(())
    }

    /// Writes the rows back.
    pub fn write(&self, mask: Tensor<'_>) -> Result<(), HookFault> {
        mask.write_input(&self.bytes)
    }
}

impl View<'_> {
    /// Where the attention of a layer takes its mask from; `None` where it is not all that brings
    /// anything from the cache to the layer's output, and where there are several.
    pub(super) fn mask(&self, layer: &Layer, writes: &[(usize, u32)]) -> Option<MaskSite> {
        let tensors = &self.graph.tensors;
        let mask_of = |node: usize| {
            let operand = match tensors[node].op {
                sys::GGML_OP_FLASH_ATTN_EXT => 3,
                sys::GGML_OP_SOFT_MAX => 1,
                _ => return None,
            };
            let mask = &tensors[*tensors[node].sources.get(operand)?];
            let is_mask = mask.is_input && mask.shape[1] >= self.n_rows && mask.shape[0] > 1;
            is_mask.then_some((node, operand))
        };
        let mut masked = layer.nodes.iter().filter_map(|n| mask_of(*n));
        let (attends, operand) = masked.next()?;
        if masked.next().is_some() {
            return None;
        }
        let around = self.ancestors_around(layer.output, Some(self.weighs(attends)?));
        let reads = |node: &usize| self.caches_read(*node).next().is_some();
        if layer
            .nodes
            .iter()
            .filter(|n| reads(n))
            .any(|n| around.contains(n))
        {
            return None;
        }
        let read: Vec<usize> = layer
            .nodes
            .iter()
            .flat_map(|n| self.caches_read(*n))
            .collect();
        let write_of = |position: usize| &tensors[self.graph.nodes[position]];
        let keys = |(position, _): &&(usize, u32)| {
            let root = write_of(*position).root;
            root.is_some_and(|r| read.contains(&r) && tensors[r].name.contains("_k_"))
        };
        let lowest = |(position, layer): &&(usize, u32)| {
            let root = write_of(*position).root;
            (*layer, root.map(|root| &tensors[root].name))
        };
        let (own, _) = writes.iter().filter(keys).min_by_key(lowest)?;
        let cells = *write_of(*own).sources.get(1)?;
        let same =
            |(position, _): &&(usize, u32)| write_of(*position).sources.get(1) == Some(&cells);
        let (cells, cache) = *writes.iter().filter(same).min_by_key(lowest)?;
        Some(MaskSite {
            site: self.site(attends),
            operand,
            cells,
            cache,
        })
    }

    /// The node that weighs values by what a node makes of the mask: that node itself, or, where
    /// it gives the weights, the product that follows.
    fn weighs(&self, attends: usize) -> Option<usize> {
        let mut node = attends;
        while self.graph.tensors[node].op != sys::GGML_OP_FLASH_ATTN_EXT
            && self.graph.tensors[node].op != sys::GGML_OP_MUL_MAT
        {
            let [only] = self.consumers[node][..] else {
                return None;
            };
            node = only;
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(is_half: bool, values: &[f32]) -> Rows {
        let bytes = values
            .iter()
            .flat_map(|value| match (is_half, value.is_finite()) {
                (true, true) => vec![0, 0],
                (true, false) => HALF.to_vec(),
                (false, _) => value.to_le_bytes().to_vec(),
            });
        let size = if is_half { 2 } else { 4 };
        Rows {
            bytes: bytes.collect(),
            stride: 3 * size,
            cells: 3,
            is_half,
        }
    }

    #[test]
    fn cells_are_hidden_by_the_position_of_their_token() {
        let (seen, not) = (0.0, f32::NEG_INFINITY);
        let mut cells = Cells::default();
        // Not in the order of their positions, and one that nothing is known of.
        for (cell, position) in [(0, 1), (1, 0)] {
            cells.put(7, cell, position);
        }
        for is_half in [true, false] {
            let mut mask = rows(is_half, &[seen, seen, not, seen, seen, not]);
            let known = |cell| cells.position(7, cell);
            mask.hide(1, known, |position| position == 0).unwrap();
            assert_eq!(mask, rows(is_half, &[seen, seen, not, seen, not, not]));
            let mut mask = rows(is_half, &[seen, seen, seen]);
            let unknown = mask.hide(0, known, |_| false);
            assert_eq!(unknown, Err(HookFault::UnknownCell(2)));
        }
        assert_eq!(cells.position(6, 0), None, "of another cache");
    }
}
