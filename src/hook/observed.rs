//! What a pass has to tell afterwards.

use std::collections::HashMap;
use std::sync::Arc;

use super::anatomy::Anatomy;
use super::held::Held;
use super::mask::Cells;
use crate::intervention::{Editor, States, Target};

/// What was kept, after rewriting.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    /// States entering layers.
    pub inputs: States,
    /// What attention adds to the residual stream. In the last layer llama.cpp computes it for
    /// rows with logits only.
    pub attention: States,
    /// What MLPs add to the residual stream; in the last layer of rows with logits only.
    pub mlps: States,
    /// What attention's output projection reads, all heads of a layer in a row.
    pub heads: States,
    /// Keys, all heads of a layer in a row.
    pub keys: States,
    /// Values, all heads of a layer in a row.
    pub values: States,
    /// Weights of attention: a row for each token, of each head in turn those of all positions.
    pub weights: States,
}

impl Captured {
    /// What is kept of a target; of masks what attention makes of them, its weights.
    pub fn of(&self, target: Target) -> &States {
        match target {
            Target::Input => &self.inputs,
            Target::Attention => &self.attention,
            Target::Mask => &self.weights,
            Target::Mlp => &self.mlps,
            Target::Heads => &self.heads,
            Target::Keys => &self.keys,
            Target::Values => &self.values,
        }
    }

    /// See [`Self::of`].
    pub(super) fn of_mut(&mut self, target: Target) -> &mut States {
        match target {
            Target::Input => &mut self.inputs,
            Target::Attention => &mut self.attention,
            Target::Mask => &mut self.weights,
            Target::Mlp => &mut self.mlps,
            Target::Heads => &mut self.heads,
            Target::Keys => &mut self.keys,
            Target::Values => &mut self.values,
        }
    }

    /// Takes over another's states.
    pub fn extend(&mut self, other: Self) {
        self.inputs.extend(other.inputs);
        self.attention.extend(other.attention);
        self.mlps.extend(other.mlps);
        self.heads.extend(other.heads);
        self.keys.extend(other.keys);
        self.values.extend(other.values);
        self.weights.extend(other.weights);
    }
}

/// A tensor and how many of its rows were written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    /// The tensor's name in the graph.
    pub tensor: String,
    /// Rows written.
    pub rows: usize,
}

impl Touched {
    /// Adds what another decode touched.
    pub fn add(into: &mut Vec<Touched>, more: &[Touched]) {
        for touched in more {
            match into.iter_mut().find(|t| t.tensor == touched.tensor) {
                Some(known) => known.rows += touched.rows,
                None => into.push(touched.clone()),
            }
        }
    }
}

/// What passed between the host and the memory that a graph is computed in, rows of states, of what
/// layers add, and of keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How often computing was stopped for a node.
    pub stops: u64,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

impl Traffic {
    /// Adds what passed in another decode.
    pub fn add(&mut self, more: Self) {
        self.stops += more.stops;
        self.read += more.read;
        self.written += more.written;
    }

    /// What has passed since there was so much.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            stops: self.stops - before.stops,
            read: self.read - before.read,
            written: self.written - before.written,
        }
    }
}

/// What a pass has to tell afterwards.
#[derive(Default)]
pub struct Observed {
    /// Editors, by sequence, with what they saved.
    pub editors: HashMap<u32, Editor>,
    /// Captured states, by sequence.
    pub states: HashMap<u32, Captured>,
    /// Tensors in which rows were manipulated, by sequence.
    pub touched: HashMap<u32, Vec<Touched>>,
    /// Which token is in which cell, where that is followed.
    pub cells: Option<Cells>,
    /// What passed between the host and the graph's memory.
    pub traffic: Traffic,
    /// Rows kept where the graph is computed, for the next pass.
    pub(crate) held: Option<Box<dyn Held>>,
    /// The graph that was met last.
    pub(crate) met: Option<Arc<Anatomy>>,
}
