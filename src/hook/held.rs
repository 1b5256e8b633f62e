//! Rows that are kept where a graph is computed.

use super::HookFault;
use super::node::Node;

/// Rows in the memory of the device that computes a graph. Under `freeze` the same rows enter many
/// layers: they are sent there once, and copied there from then on.
///
/// Rows are told by the address of the state that they are a copy of, so what is kept means
/// something as long as these states live.
pub trait Held: Send {
    /// What is kept means nothing any more.
    fn forget(&mut self);

    /// Makes the rows of `node` those of `values`, whole rows one after the other. `sources` has for
    /// each row at which address the state lies that it is a copy of; a row without is sent. Returns
    /// how many rows were sent, or nothing where the node was not written to: its memory is the
    /// host's, or the device has none left.
    ///
    /// # Errors
    /// [`HookFault::Layout`], also when the rows are others than the node's; [`HookFault::Leaf`].
    fn put(
        &mut self,
        node: Node<'_>,
        values: &[f32],
        sources: &[Option<usize>],
    ) -> Result<Option<usize>, HookFault>;
}
