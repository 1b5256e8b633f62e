//! One evaluation's graph, written down as the callback was asked about its nodes.

mod copied;

use std::collections::{HashMap, HashSet};

use crate::ggml as sys;

use super::graph::is_view;
use super::tensor::Tensor;
use copied::Copied;

/// A tensor of the recorded graph: a node, or a leaf (weight, input, cache) that a node reads.
#[derive(Clone, Debug)]
pub struct Record {
    /// Name given by the graph builder; often repeated, sometimes empty.
    pub name: String,
    /// `GGML_OP_*`; `GGML_OP_NONE` for leaves.
    pub op: sys::ggml_op,
    /// Whether the elements are `f32`.
    pub is_f32: bool,
    /// Whether the elements are `i32`.
    pub is_i32: bool,
    /// Elements in each dimension, innermost first.
    pub shape: [i64; 4],
    /// Bytes from element to element in each dimension.
    pub strides: [usize; 4],
    /// Whether the tensor is marked as a graph input.
    pub is_input: bool,
    /// Operands, as indices into [`Recording::tensors`].
    pub sources: Vec<usize>,
    /// The tensor that owns the memory, for views.
    pub root: Option<usize>,
}

impl Record {
    /// Whether it is rows of one piece, without further dimensions.
    pub(super) fn is_flat(&self) -> bool {
        self.shape[2] == 1 && self.shape[3] == 1
    }

    /// Its name, or, of another backend's copy (`backend#name#n`), the name of what was copied.
    pub(super) fn original_name(&self) -> &str {
        self.name.split('#').nth(1).unwrap_or(&self.name)
    }
}

/// The nodes of one evaluation in the order in which the scheduler asked about them.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Nodes and the leaves they read.
    pub tensors: Vec<Record>,
    /// Nodes in ask order, as indices into `tensors`.
    pub nodes: Vec<usize>,
    /// A copy of a node that could not be told: what it is computed from is not known.
    pub(super) lost: Option<String>,
    /// How many such copies there are.
    n_lost: usize,
    /// A copy that may be of several nodes, which have one name and one shape.
    pub(super) doubtful: Option<String>,
    /// What each tensor of the graph stands for, known by [`Tensor::id`], copies included.
    by_id: HashMap<usize, usize>,
    /// By what each of `tensors` is known.
    ids: Vec<usize>,
    /// The names of copies with what they are of.
    copies: HashSet<(String, usize)>,
    /// Copies that are read in the part of the graph that is being asked about.
    read_here: Vec<Copied>,
}

impl Recording {
    /// Rows of a node, by its place in ask order.
    ///
    /// # Panics
    /// When there is no such node.
    #[allow(dead_code, reason = "the plugin reads no logits")]
    pub fn rows_of(&self, index: usize) -> usize {
        self.tensors[self.nodes[index]].shape[1] as usize
    }

    /// Adds a node to the latest of a decode's evaluations, or begins another with it.
    pub fn note(evaluations: &mut Vec<Self>, node: Tensor<'_>) {
        match evaluations.last_mut() {
            Some(latest) if !latest.starts_again(node) => latest.add_node(node),
            _ => {
                let mut next = Self::default();
                next.add_node(node);
                evaluations.push(next);
            }
        }
    }

    /// Adds a node. A node that starts a new evaluation (the token embedding look-up again)
    /// clears what was recorded of the one before: each micro-batch evaluates the graph anew.
    pub fn add_node(&mut self, node: Tensor<'_>) {
        if !self.nodes.is_empty() && self.starts_again(node) {
            *self = Self::default();
        }
        let index = self.intern(node);
        self.nodes.push(index);
        if is_view(node.op()) {
            self.settle(node, index);
        }
    }

    fn starts_again(&self, node: Tensor<'_>) -> bool {
        let first = &self.tensors[self.nodes[0]];
        node.op() == first.op && node.is_named(&first.name)
    }

    fn intern(&mut self, tensor: Tensor<'_>) -> usize {
        if let Some(&index) = self.by_id.get(&tensor.id()) {
            return index;
        }
        let sources = tensor
            .sources()
            .map(|source| match self.original_of_copy(source) {
                Some(original) => original,
                None => self.intern(source),
            })
            .collect();
        let mut root = tensor.view_source();
        while let Some(deeper) = root.and_then(|r| r.view_source()) {
            root = Some(deeper);
        }
        let root = root.map(|r| self.intern(r));
        let index = self.tensors.len();
        self.tensors.push(Record {
            name: tensor.name(),
            op: tensor.op(),
            is_f32: tensor.element_type() == sys::GGML_TYPE_F32,
            is_i32: tensor.element_type() == sys::GGML_TYPE_I32,
            shape: tensor.shape(),
            strides: tensor.strides(),
            is_input: tensor.is_input() || Self::is_copied_input(tensor),
            sources,
            root,
        });
        self.by_id.insert(tensor.id(), index);
        self.ids.push(tensor.id());
        index
    }
}
