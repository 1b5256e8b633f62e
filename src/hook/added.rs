//! What a layer adds to the residual stream: its MLP, and the heads of its attention.

use std::collections::HashSet;

use crate::ggml as sys;

use super::site::{HeadSite, NoMlp};
use super::view::{Layer, View};

impl View<'_> {
    /// What the MLP of a layer adds to the residual stream: what is added to it that has an
    /// activation in it and is computed row by row, from the stream and weights alone. Where
    /// several such things are added one by one, none of them is the MLP.
    pub(super) fn mlp(&self, layer: &Layer) -> Result<usize, NoMlp> {
        let stream = self.stream(layer);
        let mut found = Vec::new();
        for &sum in layer.nodes.iter().filter(|node| stream.contains(node)) {
            let t = &self.graph.tensors[sum];
            if t.op == sys::GGML_OP_ADD {
                let added = t.sources.iter().filter(|s| !stream.contains(s));
                added.for_each(|&n| self.rows_by_themselves(n, &stream, &mut found));
            }
        }
        match found[..] {
            [mlp] if self.is_state(mlp) && self.is_read_once(mlp) => Ok(mlp),
            [] => Err(NoMlp::None),
            _ => Err(NoMlp::Unclear),
        }
    }

    /// The nodes of a layer that are the residual stream on its way through: its input, and what
    /// comes of it by additions and changes of scale and shape.
    fn stream(&self, layer: &Layer) -> HashSet<usize> {
        let mut stream = HashSet::from([layer.input]);
        for &node in &layer.nodes {
            let t = &self.graph.tensors[node];
            let carries = match t.op {
                sys::GGML_OP_ADD => true,
                sys::GGML_OP_MUL => t.sources.iter().any(|s| self.order[*s].is_none()),
                sys::GGML_OP_GET_ROWS => stream.contains(&t.sources[0]),
                sys::GGML_OP_SCALE
                | sys::GGML_OP_CONT
                | sys::GGML_OP_RESHAPE
                | sys::GGML_OP_VIEW => true,
                _ => false,
            };
            if carries && t.sources.iter().any(|s| stream.contains(s)) {
                stream.insert(node);
            }
        }
        stream
    }

    /// Of what is added to the residual stream, and of its own summands where rows mix in some of
    /// them (attention and MLP in parallel may be added to each other first), what has an
    /// activation and keeps rows apart.
    fn rows_by_themselves(&self, node: usize, stream: &HashSet<usize>, found: &mut Vec<usize>) {
        if self.order[node].is_none() || stream.contains(&node) {
            return;
        }
        let own = self.computed_between(node, stream);
        let tensors = &self.graph.tensors;
        if own.iter().any(|&n| self.reads_memory(n)) {
            if tensors[node].op == sys::GGML_OP_ADD {
                let summands = tensors[node].sources.iter();
                summands.for_each(|&n| self.rows_by_themselves(n, stream, found));
            }
            return;
        }
        let activates =
            |n: &usize| [sys::GGML_OP_UNARY, sys::GGML_OP_GLU].contains(&tensors[*n].op);
        if own.iter().any(activates) {
            found.push(node);
        }
    }

    /// The nodes that `node` is computed from, itself included, back to the residual stream.
    fn computed_between(&self, node: usize, stream: &HashSet<usize>) -> HashSet<usize> {
        let mut seen = HashSet::new();
        let mut stack = vec![node];
        while let Some(n) = stack.pop() {
            if self.order[n].is_some() && !stream.contains(&n) && seen.insert(n) {
                stack.extend(&self.graph.tensors[n].sources);
            }
        }
        seen
    }

    /// Whether a node reads memory that outlives the evaluation and is written in it: a cache, or
    /// the state of a recurrent layer.
    fn reads_memory(&self, node: usize) -> bool {
        let tensors = &self.graph.tensors;
        let mut roots = tensors[node].sources.iter();
        roots.any(|&s| self.memory.contains(&tensors[s].root.unwrap_or(s)))
    }

    /// Whether one node alone reads a node, so that what it is rewritten with goes nowhere else.
    fn is_read_once(&self, node: usize) -> bool {
        let mut readers = self.consumers[node].clone();
        readers.retain(|reader| self.wanted.contains(reader));
        readers.dedup();
        readers.len() == 1
    }

    /// The rows that the output projection of an attention reads, given what that attention adds
    /// to the residual stream.
    pub(super) fn heads(&self, attention: usize) -> Option<HeadSite> {
        let mut node = attention;
        let rows = loop {
            let t = &self.graph.tensors[node];
            let first = *t.sources.first()?;
            node = match t.op {
                sys::GGML_OP_MUL_MAT if self.is_weight(first) => break t.sources[1],
                // A bias, a norm's weight: the other operand is a leaf.
                sys::GGML_OP_ADD | sys::GGML_OP_MUL => {
                    let mut nodes = t.sources.iter().filter(|s| self.order[**s].is_some());
                    let node = *nodes.next()?;
                    if nodes.next().is_some() {
                        return None;
                    }
                    node
                }
                sys::GGML_OP_SCALE
                | sys::GGML_OP_NORM
                | sys::GGML_OP_RMS_NORM
                | sys::GGML_OP_GET_ROWS
                | sys::GGML_OP_CONT
                | sys::GGML_OP_RESHAPE => first,
                _ => return None,
            };
        };
        let t = &self.graph.tensors[rows];
        let holds = t.is_f32 && t.is_flat() && t.strides[0] == 4;
        if !holds || self.order[rows].is_none() || !self.is_read_once(rows) {
            return None;
        }
        let width = t.shape[0];
        let head = self.width_of_head(rows, width)?;
        Some(HeadSite {
            site: self.site(rows),
            head: usize::try_from(head).ok()?,
            n: usize::try_from(width / head).ok()?,
        })
    }

    fn is_weight(&self, tensor: usize) -> bool {
        let t = &self.graph.tensors[tensor];
        self.order[tensor].is_none() && !t.is_input && !self.memory.contains(&tensor)
    }

    /// How wide a head is in rows of `width` values, by what they were made of: the nearest tensor
    /// of a row for each head of each token.
    fn width_of_head(&self, rows: usize, width: i64) -> Option<i64> {
        let mut node = rows;
        loop {
            let t = &self.graph.tensors[node];
            let [a, b, c, d] = t.shape;
            if c == self.n_rows && d == 1 && a * b == width {
                return Some(a);
            }
            // Latent attention unpacks each head's values with a dimension of one before it.
            if d == self.n_rows && b == 1 && a * c == width {
                return Some(a);
            }
            let first = *t.sources.first()?;
            node = match t.op {
                sys::GGML_OP_RESHAPE
                | sys::GGML_OP_CONT
                | sys::GGML_OP_VIEW
                | sys::GGML_OP_PERMUTE
                | sys::GGML_OP_GET_ROWS
                | sys::GGML_OP_NORM
                | sys::GGML_OP_RMS_NORM
                | sys::GGML_OP_SCALE => first,
                // The rotation of a quantized cache, undone.
                sys::GGML_OP_MUL_MAT if self.graph.tensors[first].is_input => t.sources[1],
                // A gate, or a norm's weight: what the heads gathered is what comes from a cache.
                sys::GGML_OP_MUL => {
                    let gathers = |s: &&usize| !self.ancestors(**s).is_disjoint(&self.caches);
                    let mut from = t.sources.iter().filter(gathers);
                    *from.next().filter(|_| t.sources.len() == 2)?
                }
                _ => return None,
            };
        }
    }
}
