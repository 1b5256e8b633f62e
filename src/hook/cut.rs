//! Computing a part of a graph: which of its nodes are needed once some of them are given.
//!
//! Which nodes are dead follows from the recorded edges alone, with the outputs and every write
//! to the K/V cache as roots; names and order say nothing about it.

use std::collections::HashSet;

use crate::ggml as sys;

use super::anatomy::Anatomy;
use super::recording::Recording;

/// A node of the recorded graph and what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The operation.
    pub op: sys::ggml_op,
    /// Operand by operand, the ask index of the node that makes it; `None` for leaves.
    pub sources: Vec<Option<usize>>,
    /// Nodes that change an operand in place before this one reads it.
    earlier: Vec<usize>,
    /// Products of a weight and a value that one row costs here.
    pub products: u64,
}

/// A recorded graph's edges. Nodes are known by their place in ask order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Writes to the K/V cache, each with the layer whose input it is computed from.
    pub writes: Vec<(usize, u32)>,
    /// A write to memory that outlives the evaluation and is no K/V cache (the state of a
    /// recurrent layer), by name: whether that memory may be left as it is, is not known.
    pub stray: Option<String>,
}

/// Why a graph is computed whole.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CutError {
    /// See [`Edges::stray`].
    #[error(
        "node '{0}' writes to memory that is no K/V cache (recurrent state), so no part of the graph can be left out"
    )]
    StrayWrite(String),
    /// Keys and values of a layer are wanted that has none.
    #[error("layer {0} keeps no keys and values of its own, so they cannot be computed alone")]
    NoCache(u32),
    /// Attention would read keys and values that the cut leaves out.
    #[error("layer {reader} reads the keys and values of layer {writer}, which lies below the cut")]
    Borrowed {
        /// A layer that is computed.
        reader: u32,
        /// A layer that is not.
        writer: u32,
    },
    /// Attention is to be given as zero where it was not found.
    #[error("layer {0} has no attention contribution that could be found")]
    NoAttention(u32),
}

impl Edges {
    /// The edges of a recording. `cache_writes` are positions in ask order with their layers.
    pub(super) fn of(graph: &Recording, writes: Vec<(usize, u32)>) -> Self {
        let tensors = &graph.tensors;
        let mut order = vec![None; tensors.len()];
        for (position, &node) in graph.nodes.iter().enumerate() {
            order[node] = Some(position);
        }
        let known: HashSet<usize> = writes.iter().map(|(position, _)| *position).collect();
        // In-place operations: (the tensor changed, by which node).
        let mut changes: Vec<(usize, usize)> = Vec::new();
        let mut nodes = Vec::new();
        let mut stray = None;
        for (position, &index) in graph.nodes.iter().enumerate() {
            let t = &tensors[index];
            let roots: Vec<usize> = t
                .sources
                .iter()
                .map(|&s| tensors[s].root.unwrap_or(s))
                .collect();
            let earlier = changes
                .iter()
                .filter(|(changed, _)| roots.contains(changed))
                .map(|(_, by)| *by)
                .collect();
            // A weight stands first in a product; experts are chosen, so that one row meets
            // only as many as the product has columns.
            let products = match (t.op, t.sources.first().map(|&s| &tensors[s])) {
                (sys::GGML_OP_MUL_MAT, Some(w)) if w.op == sys::GGML_OP_NONE && !w.is_input => {
                    (w.shape[0] * w.shape[1]) as u64
                }
                (sys::GGML_OP_MUL_MAT_ID, Some(w)) => (w.shape[0] * w.shape[1] * t.shape[1]) as u64,
                _ => 0,
            };
            nodes.push(Node {
                op: t.op,
                sources: t.sources.iter().map(|&s| order[s]).collect(),
                earlier,
                products,
            });
            if let Some(root) = t.root.filter(|_| !is_view(t.op)) {
                if order[root].is_some() {
                    changes.push((root, position));
                } else if !known.contains(&position) {
                    stray.get_or_insert_with(|| t.name.clone());
                }
            }
        }
        Self {
            nodes,
            writes,
            stray,
        }
    }
}

fn is_view(op: sys::ggml_op) -> bool {
    matches!(
        op,
        sys::GGML_OP_VIEW | sys::GGML_OP_RESHAPE | sys::GGML_OP_PERMUTE | sys::GGML_OP_TRANSPOSE
    )
}

/// Which part of a graph is computed, in terms of layers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    /// The layers below this one are left out, the state entering it is given.
    pub first: u32,
    /// How the cache is filled.
    pub cache: CacheFill,
    /// Whether attention adds nothing in any of the layers computed: it is not computed then.
    pub silent: bool,
    /// Whether the layers from `first` up are computed at all, up to the logits. If not, their
    /// inputs are given too, and keys and values are all that is made of them.
    pub onward: bool,
}

impl Edges {
    fn head(&self) -> Option<usize> {
        self.nodes.iter().rposition(|node| node.products > 0)
    }

    /// Products of a weight and a value in the last layer of all, which turns a state into
    /// logits over the vocabulary.
    pub fn head_products(&self) -> u64 {
        self.head().map_or(0, |n| self.nodes[n].products)
    }

    /// Products of a weight and a value that a row costs in the whole graph but for the last of
    /// all, see [`Edges::head_products`].
    pub fn body_products(&self) -> u64 {
        self.nodes.iter().map(|node| node.products).sum::<u64>() - self.head_products()
    }

    /// The role of each node where those of `roots` are wanted and those of `given` known.
    fn roles(&self, roots: Vec<usize>, given: &HashSet<usize>) -> Vec<Role> {
        let mut stack = roots;
        let mut roles = vec![Role::Dead; self.nodes.len()];
        while let Some(node) = stack.pop() {
            if roles[node] != Role::Dead {
                continue;
            }
            if given.contains(&node) {
                roles[node] = Role::Given;
                continue;
            }
            roles[node] = Role::Live;
            let node = &self.nodes[node];
            stack.extend(node.sources.iter().flatten());
            stack.extend(&node.earlier);
        }
        roles
    }
}

/// Which layers' keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CacheFill {
    /// None: no later token will read them.
    None,
    /// Those from the first layer computed up; lower ones are not read any more.
    FromFirst,
    /// All. The states entering lower layers are given, so that theirs are projections only.
    All,
}

/// What happens to a node under a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is computed.
    Live,
    /// It is skipped.
    Dead,
    /// It is skipped and its rows are written instead.
    Given,
}

impl Cut {
    /// The layers whose input is given for every row.
    pub fn gives(&self, layer: u32) -> bool {
        match (self.onward, self.cache) {
            (true, CacheFill::All) => layer <= self.first,
            (true, _) => layer == self.first,
            (false, CacheFill::All) => true,
            (false, _) => layer >= self.first,
        }
    }

    /// In how many of `n_layer` layers something is computed for each row.
    pub fn layers(&self, n_layer: u32) -> u32 {
        match (self.onward, self.cache) {
            (false, CacheFill::All) => n_layer,
            _ => n_layer - self.first,
        }
    }

    fn fills(&self, layer: u32) -> bool {
        match self.cache {
            CacheFill::None => false,
            CacheFill::FromFirst => layer >= self.first,
            CacheFill::All => true,
        }
    }

    /// The role of each node of a graph under the cut.
    ///
    /// # Errors
    /// [`CutError`] where the graph has to be computed whole.
    pub fn roles(&self, anatomy: &Anatomy) -> Result<Vec<Role>, CutError> {
        let edges = &anatomy.edges;
        if let Some(name) = &edges.stray {
            return Err(CutError::StrayWrite(name.clone()));
        }
        if self.onward
            && !self.silent
            && let Some((reader, writer)) = anatomy.reads_below(self.first)
        {
            return Err(CutError::Borrowed { reader, writer });
        }
        let n_layer = anatomy.inputs.len() as u32;
        let mut given = HashSet::new();
        for layer in (0..n_layer).filter(|l| self.gives(*l)) {
            given.insert(anatomy.inputs[layer as usize].index);
        }
        if self.silent {
            for layer in self.first..n_layer {
                let site = anatomy.attention[layer as usize].as_ref();
                given.insert(site.ok_or(CutError::NoAttention(layer))?.index);
            }
        }
        let mut stack = Vec::new();
        if self.onward {
            stack.extend(edges.nodes.len().checked_sub(1));
        }
        for layer in (0..n_layer).filter(|l| self.fills(*l)) {
            let writes = edges.writes.iter().filter(|(_, of)| *of == layer);
            let before = stack.len();
            stack.extend(writes.map(|(node, _)| *node));
            if stack.len() == before && !self.onward {
                return Err(CutError::NoCache(layer));
            }
        }
        Ok(edges.roles(stack, &given))
    }

    /// Products of a weight and a value that the cut costs for each row, the head with the
    /// vocabulary left out: it runs for rows with logits only, see [`Edges::head_products`].
    /// What attention computes without weights is not counted.
    ///
    /// # Errors
    /// [`CutError`] where the graph has to be computed whole.
    pub fn products(&self, anatomy: &Anatomy) -> Result<u64, CutError> {
        let roles = self.roles(anatomy)?;
        let nodes = &anatomy.edges.nodes;
        let live = (0..nodes.len()).filter(|n| roles[*n] == Role::Live);
        let head = anatomy.edges.head();
        let body = live.filter(|n| Some(*n) != head);
        Ok(body.map(|n| nodes[n].products).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(sources: &[usize], earlier: &[usize]) -> Node {
        Node {
            op: sys::GGML_OP_ADD,
            sources: sources.iter().map(|n| Some(*n)).collect(),
            earlier: earlier.to_vec(),
            products: 0,
        }
    }

    #[test]
    fn what_only_feeds_the_given_is_dead_and_in_place_changes_are_not() {
        use Role::{Dead, Given, Live};
        let edges = Edges {
            nodes: vec![
                node(&[], &[]),
                node(&[0], &[]),
                // Changes node 1 in place; node 4 reads node 1 afterwards.
                node(&[1], &[]),
                node(&[0], &[]),
                node(&[1, 3], &[2]),
            ],
            ..Edges::default()
        };
        let all = edges.roles(vec![4], &HashSet::new());
        assert_eq!(all, [Live; 5]);
        let part = edges.roles(vec![4], &HashSet::from([1, 3]));
        assert_eq!(part, [Dead, Given, Live, Given, Live]);
        let other = edges.roles(vec![3], &HashSet::new());
        assert_eq!(other, [Live, Dead, Dead, Live, Dead]);
    }
}
