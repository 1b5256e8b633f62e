//! What a pass is asked to do: the rows of its batch, what to keep, where to begin.

use std::collections::HashSet;
use std::sync::Arc;

use super::HookFault;
use super::cut::Cut;
use super::graph::Role;
use crate::intervention::{Met, States, Target};

/// One row of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The sequence it belongs to.
    pub sequence: u32,
    /// Its position there.
    pub position: u32,
    /// Its token id.
    pub token: i32,
    /// Whether it is a prior token (false for the last token of its text).
    pub prior: bool,
    /// Whether its logits were asked for.
    pub output: bool,
}

impl From<&Row> for Met {
    fn from(row: &Row) -> Self {
        Self {
            position: row.position,
            prior: row.prior,
            output: row.output,
        }
    }
}

/// What to keep of the layers of `layers`, of the rows from a position on. As many as there are
/// layers, among the inputs, is what leaves the last one: llama.cpp computes it for rows with
/// logits only.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// Which parts of layers.
    pub targets: Vec<Target>,
    /// The layers.
    pub layers: HashSet<u32>,
    /// The first position that anything is kept of. (Weights of attention are kept of all.)
    pub from: u32,
}

impl Capture {
    pub(super) fn wants(&self, target: Target, layer: u32) -> bool {
        self.targets.contains(&target) && self.layers.contains(&layer)
    }
}

/// Where a row's own computation begins when a graph is computed in part.
#[derive(Clone, Debug)]
pub struct Start {
    /// The states entering every layer in a clean run of the row's text, as far as needed.
    pub states: Arc<States>,
    /// The first layer that the row runs through on its own: it is held at its clean states up
    /// to the one entering this layer.
    pub from: u32,
    /// Freeze at this layer: from there up, the state is held at the one below it.
    pub frozen: Option<u32>,
}

impl Start {
    pub(super) fn entering(&self, layer: u32, position: u32) -> Result<&[f32], HookFault> {
        let source = self.frozen.map_or(layer, |k| layer.min(k - 1));
        let state = self.states.get(source, position);
        state.ok_or(HookFault::NoState { layer, position })
    }
}

/// A decode that computes a part of the graph.
#[derive(Clone, Debug)]
pub struct Resume {
    /// Which part.
    pub cut: Cut,
    /// What that means for each node, from [`Cut::roles`].
    pub roles: Arc<[Role]>,
    /// For each row of the batch.
    pub starts: Vec<Start>,
}

impl Resume {
    /// Whether some row is held at its clean state entering `layer`, or written whole there.
    pub(super) fn holds(&self, layer: u32) -> bool {
        self.cut.gives(layer) || self.starts.iter().any(|s| s.from >= layer)
    }
}
