//! Parts of layers, and the nodes that hold them.

use crate::hook::node::Node;
use crate::hook::site::Site;
use crate::hook::{HookFault, Tensor};
use crate::intervention::Target;

/// A part of a layer.
pub(super) type Place = (Target, u32);

pub(super) const TARGETS: [Target; 6] = [
    Target::Input,
    Target::Attention,
    Target::Mlp,
    Target::Heads,
    Target::Keys,
    Target::Values,
];

/// Checks that a node has the name and operation of a site.
///
/// # Errors
/// [`HookFault::GraphChanged`].
pub(super) fn recognise(site: &Site, node: Tensor<'_>) -> Result<(), HookFault> {
    if node.op() == site.op && node.is_named(&site.name) {
        return Ok(());
    }
    Err(HookFault::GraphChanged {
        index: site.index,
        expected: site.name.clone(),
        found: node.name(),
    })
}

/// Writes the marked rows back, one transfer for each contiguous run. Returns how many they are.
///
/// # Errors
/// [`HookFault`] for a node whose rows cannot be written.
pub(super) fn write_back(
    node: Node<'_>,
    buffer: &[f32],
    width: usize,
    written: &[bool],
) -> Result<usize, HookFault> {
    let mut first = 0;
    while first < written.len() {
        let run = written[first..].iter().take_while(|w| **w).count();
        if run > 0 {
            node.write_rows(first, &buffer[first * width..(first + run) * width])?;
        }
        first += run.max(1);
    }
    Ok(written.iter().filter(|w| **w).count())
}
