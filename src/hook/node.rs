//! A node of the graph that is being evaluated: a tensor that can be written to and skipped.

use std::ops::Deref;
use std::ptr::NonNull;

use crate::ggml as sys;

use super::HookFault;
use super::tensor::Tensor;

/// A node that the scheduler asks about or has computed, valid for the duration of one callback.
/// Its operands are [`Tensor`]s, which can only be read: they may be weights, in memory that is
/// mapped from a file or shared with another context.
#[derive(Clone, Copy)]
pub struct Node<'a>(Tensor<'a>);

impl<'a> Deref for Node<'a> {
    type Target = Tensor<'a>;

    fn deref(&self) -> &Tensor<'a> {
        &self.0
    }
}

/// A node whose operation was taken away, and the operation.
pub struct Skipped {
    raw: NonNull<sys::ggml_tensor>,
    op: sys::ggml_op,
}

// SAFETY: the pointer is followed by `restore` alone, which says when it may be; on which thread
// does not matter to ggml.
unsafe impl Send for Skipped {}

impl Skipped {
    /// Gives the node its operation back.
    ///
    /// # Safety
    /// The graph that the node belongs to has not been rebuilt since, and is not computing it.
    pub unsafe fn restore(self) {
        // SAFETY: the caller's promise.
        let op = unsafe { &raw mut (*self.raw.as_ptr()).op };
        // SAFETY: as above.
        unsafe { op.write(self.op) };
    }
}

impl<'a> Node<'a> {
    /// Wraps the pointer that ggml passed to the callback.
    ///
    /// # Safety
    /// As for [`Tensor::from_raw`]; besides, `raw` is null or a node of the graph that is being
    /// evaluated, and the callback runs for this evaluation as long as `'a` lasts: nothing else
    /// reads or writes the node's header or its memory meanwhile.
    pub unsafe fn from_raw(raw: *mut sys::ggml_tensor) -> Option<Self> {
        // SAFETY: the caller's promise.
        unsafe { Tensor::from_raw(raw) }.map(Self)
    }

    /// Checks that the node's memory is the graph's own. A view of a leaf (a weight, a cache, an
    /// input) is a node too, and its memory is the leaf's.
    fn check_writable(&self) -> Result<(), HookFault> {
        let mut owner = **self;
        while let Some(viewed) = owner.view_source() {
            owner = viewed;
        }
        if owner.is_leaf() {
            return Err(HookFault::Leaf(self.name()));
        }
        Ok(())
    }

    /// Makes every backend skip the node, until it is restored.
    pub fn skip(&self) -> Skipped {
        let op = self.get().op;
        // SAFETY: the node is live (rule of `from_raw`), and while the callback runs for one of
        // its evaluation's nodes, nothing else reads or writes it: the scheduler asks before it
        // computes (ggml_backend_sched_compute_splits). Only the one field is written, through the
        // raw pointer.
        let field = unsafe { &raw mut (*self.0.raw.as_ptr()).op };
        // SAFETY: as above.
        unsafe { field.write(sys::GGML_OP_NONE) };
        Skipped {
            raw: self.0.raw,
            op,
        }
    }

    /// The pointer that ggml passed.
    #[allow(dead_code, reason = "the plugin keeps no rows on devices")]
    pub(crate) fn raw(&self) -> NonNull<sys::ggml_tensor> {
        self.0.raw
    }

    /// The buffer that the node's memory lies in.
    #[allow(dead_code, reason = "the plugin keeps no rows on devices")]
    pub(crate) fn buffer(&self) -> Option<NonNull<sys::ggml_backend_buffer>> {
        NonNull::new(self.get().buffer)
    }

    /// (row width, rows) of a node into which `values`, whole rows, may be written from row `first`
    /// on.
    ///
    /// # Errors
    /// [`HookFault::Layout`], also when the rows do not fit; [`HookFault::Leaf`].
    pub(crate) fn rows_to_write(
        &self,
        first: usize,
        values: &[f32],
    ) -> Result<(usize, usize), HookFault> {
        self.check_writable()?;
        let (width, rows) = self.rows_f32()?;
        if width == 0 || !values.len().is_multiple_of(width) || first + values.len() / width > rows
        {
            return Err(HookFault::Layout {
                tensor: self.name(),
                shape: self.shape(),
            });
        }
        Ok((width, rows))
    }

    /// Writes `values`, whole rows of `width`, from row `first` on.
    ///
    /// # Errors
    /// [`HookFault::Layout`], also when the rows do not fit; [`HookFault::Leaf`].
    pub fn write_rows(&self, first: usize, values: &[f32]) -> Result<(), HookFault> {
        let (width, _) = self.rows_to_write(first, values)?;
        // SAFETY: offset + size is within the tensor (checked above against its rows), whose
        // memory may be written to (`check_writable`).
        unsafe {
            sys::ggml_backend_tensor_set(
                self.0.raw.as_ptr(),
                values.as_ptr().cast(),
                first * width * size_of::<f32>(),
                size_of_val(values),
            );
        }
        Ok(())
    }

    /// Writes row `n` of `rows` (see [`Tensor::strided_rows`]).
    ///
    /// # Errors
    /// [`HookFault::Layout`], also when the row has another width; [`HookFault::Leaf`].
    pub fn write_strided(&self, n: usize, rows: usize, row: &[f32]) -> Result<(), HookFault> {
        self.check_writable()?;
        let (width, stride) = self.strided_rows(rows)?;
        if row.len() != width || n >= rows {
            return Err(HookFault::Layout {
                tensor: self.name(),
                shape: self.shape(),
            });
        }
        // SAFETY: `strided_rows` checked that row n is `width` contiguous f32 at n * stride within
        // the tensor; `row` is that long, and the memory may be written to (`check_writable`).
        unsafe {
            sys::ggml_backend_tensor_set(
                self.0.raw.as_ptr(),
                row.as_ptr().cast(),
                n * stride,
                size_of_val(row),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::fake::Graph;

    #[test]
    fn a_view_of_a_leaf_is_not_written_to() {
        let mut graph = Graph::default();
        let weight = graph.leaf();
        let view = graph.node(sys::GGML_OP_VIEW, &[weight]);
        graph.view(view, weight);
        let deeper = graph.node(sys::GGML_OP_RESHAPE, &[view]);
        graph.view(deeper, view);
        let own = graph.node(sys::GGML_OP_ADD, &[weight, weight]);
        let of_own = graph.node(sys::GGML_OP_RESHAPE, &[own]);
        graph.view(of_own, own);
        for n in [view, deeper] {
            let node = graph.get(n);
            let leaf = |result| matches!(result, Err(HookFault::Leaf(_)));
            assert!(leaf(node.write_rows(0, &[1.0])) && leaf(node.write_strided(0, 1, &[1.0])));
        }
        // These would be written to if they had memory. That the node viewed is skipped makes it
        // no leaf.
        for n in [own, of_own] {
            let skipped = graph.get(own).skip();
            let refused = graph.get(n).write_rows(0, &[1.0]);
            assert!(matches!(refused, Err(HookFault::Layout { .. })));
            // SAFETY: the graph is as it was.
            unsafe { skipped.restore() };
            assert_eq!(graph.get(own).op(), sys::GGML_OP_ADD);
        }
    }
}
