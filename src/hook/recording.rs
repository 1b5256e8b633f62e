//! One evaluation's graph, written down as the callback was asked about its nodes.

use std::collections::{HashMap, HashSet};

use crate::ggml as sys;

use super::content::copied_from;
use super::tensor::Tensor;

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
    /// A copy that may be of several nodes, which have one name and one shape.
    pub(super) doubtful: Option<String>,
    /// What each tensor of the graph stands for, known by [`Tensor::id`], copies included.
    by_id: HashMap<usize, usize>,
    /// By what each of `tensors` is known.
    ids: Vec<usize>,
    /// The names of copies with what they are of.
    copies: HashSet<(String, usize)>,
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

    /// Whether this is another backend's copy of an input of the graph. Of what no node computes,
    /// only weights and caches are read besides inputs; those of llama.cpp's have a dot or
    /// `cache_` in their names, and what has no name of its own (`leaf_N`) is no input.
    fn is_copied_input(tensor: Tensor<'_>) -> bool {
        let name = tensor.name();
        let original = name.split('#').nth(1).unwrap_or_default();
        let other = ["cache_", "leaf_", "node_"];
        let is_other = original.is_empty() || other.iter().any(|p| original.starts_with(p));
        tensor.is_copy() && !is_other && !original.contains('.')
    }

    /// Between backends the scheduler replaces a source by a copy named `backend#name#n`, one for
    /// all that the backend computes (ggml_backend_sched_split_graph). Names repeat, within a layer
    /// too: the edge continues at the node of that name that has the copy's layout, has no such
    /// copy yet, and holds what the copy holds.
    fn original_of_copy(&mut self, source: Tensor<'_>) -> Option<usize> {
        if source.op() != sys::GGML_OP_NONE || self.by_id.contains_key(&source.id()) {
            return None;
        }
        let name = source.name();
        let original = name.split('#').nth(1)?;
        let nodes = self.nodes.iter().rev().copied();
        let mut named = nodes
            .filter(|&n| self.tensors[n].name == original)
            .peekable();
        named.peek()?;
        let layout = (source.shape(), source.strides());
        let alike = |&n: &usize| (self.tensors[n].shape, self.tensors[n].strides) == layout;
        let mut alike: Vec<usize> = named.filter(alike).collect();
        let Some(&latest) = alike.first() else {
            self.lost.get_or_insert(name);
            return None;
        };
        alike.retain(|&n| !self.copies.contains(&(name.clone(), n)));
        let found = self.told(source, &alike).unwrap_or_else(|| {
            self.doubtful.get_or_insert(name.clone());
            latest
        });
        self.copies.insert((name, found));
        // When it is read again its original may be overwritten.
        self.by_id.insert(source.id(), found);
        Some(found)
    }

    /// Which of several nodes, the latest first, a copy is of.
    ///
    /// A part of the graph that one backend computes begins with copies of all that it reads. When
    /// its nodes are asked about, the originals are still there: they lie on another backend,
    /// which has not gone on.
    fn told(&self, copy: Tensor<'_>, alike: &[usize]) -> Option<usize> {
        if let [only] = alike {
            return Some(*only);
        }
        let tensor = |&n: &usize| {
            let raw = std::ptr::with_exposed_provenance_mut(self.ids[n]);
            // SAFETY: the tensors of a recording are those of one evaluation's graph, which stands
            // as long as its nodes are asked about.
            unsafe { Tensor::from_raw(raw) }
        };
        let tensors: Option<Vec<_>> = alike.iter().map(tensor).collect();
        copied_from(copy, &tensors?).map(|at| alike[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::fake::Graph;

    /// A layer gives several tensors one name. Another backend's copy is of the one of its shape.
    #[test]
    fn a_copy_is_of_the_latest_node_of_its_name_and_shape() {
        let mut graph = Graph::default();
        let input = graph.leaf();
        let flat = graph.node(sys::GGML_OP_MUL_MAT, &[input]);
        let heads = graph.node(sys::GGML_OP_RESHAPE, &[flat]);
        graph.shape(flat, [8, 3, 1, 1]);
        graph.shape(heads, [4, 2, 3, 1]);
        for node in [flat, heads] {
            graph.name(node, "Qcur-3");
        }
        let mut copy = |shape| {
            let copy = graph.leaf();
            graph.name(copy, "CPU#Qcur-3#0");
            graph.shape(copy, shape);
            graph.node(sys::GGML_OP_CONT, &[copy])
        };
        let readers = [[8, 3, 1, 1], [4, 2, 3, 1], [2, 4, 3, 1]].map(&mut copy);
        let record = |reader| {
            let mut recording = Recording::default();
            for node in [flat, heads, reader] {
                recording.add_node(*graph.get(node));
            }
            let sources = recording.tensors[recording.nodes[2]].sources.clone();
            let read = recording.nodes.iter().position(|n| *n == sources[0]);
            assert_eq!(recording.doubtful, None);
            (read, recording.lost)
        };
        assert_eq!(record(readers[0]), (Some(0), None));
        assert_eq!(record(readers[1]), (Some(1), None));
        assert_eq!(record(readers[2]), (None, Some("CPU#Qcur-3#0".into())));
    }

    /// Nodes of one name, each followed by another backend's copy and what reads that. Without
    /// memory nothing else tells which of them it is.
    #[test]
    fn a_copy_is_of_no_node_that_was_copied_before() {
        let mut graph = Graph::default();
        let start = graph.node(sys::GGML_OP_GET_ROWS, &[]);
        let mut made = |op, name| {
            let input = graph.leaf();
            let node = graph.node(op, &[input]);
            graph.name(node, name);
            let copy = graph.leaf();
            graph.name(copy, "CPU#state#0");
            (node, copy)
        };
        let [first, second, third] = [(); 3].map(|()| made(sys::GGML_OP_ADD, "state"));
        let mut reader = |copy| graph.node(sys::GGML_OP_CONT, &[copy]);
        let readers = [first.1, second.1, third.1, first.1].map(&mut reader);
        let read = |nodes: &[usize]| {
            let mut recording = Recording::default();
            recording.add_node(*graph.get(start));
            for node in nodes {
                recording.add_node(*graph.get(*node));
            }
            let of = |reader: &usize| {
                let at = nodes.iter().position(|node| node == reader)?;
                let source = recording.tensors[recording.nodes[at + 1]].sources[0];
                let source = recording.nodes.iter().position(|n| *n == source)?;
                Some(nodes[source - 1])
            };
            let found: Vec<_> = readers.iter().filter_map(of).collect();
            (found, recording.doubtful.is_some())
        };
        let in_turn = [first.0, readers[0], second.0, readers[1], readers[3]];
        assert_eq!(read(&in_turn), (vec![first.0, second.0, first.0], false));
        // Of two that were not copied it may be either: no part of the graph is left out.
        let both = [first.0, readers[0], second.0, third.0, readers[1]];
        assert_eq!(read(&both), (vec![first.0, third.0], true));
    }
}
