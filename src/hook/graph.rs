//! A recorded graph's edges: what is computed from what, in-place changes included.

use std::collections::HashSet;

use crate::ggml as sys;

use super::kept::Kept;
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
    /// What layers keep besides keys and values (recurrent layers' states), if anything.
    pub kept: Option<Kept>,
    /// A node that chooses which tokens attention reads (sparse attention), by name.
    pub chooser: Option<String>,
    /// Another backend's copy that may be of several nodes, by name: which of them is read there is
    /// not known.
    pub doubtful: Option<String>,
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

impl Edges {
    /// The edges of a recording. `writes` are those to the K/V cache, by their place in ask order,
    /// with their layers.
    pub(super) fn of(graph: &Recording, writes: Vec<(usize, u32)>, kept: Option<Kept>) -> Self {
        let tensors = &graph.tensors;
        let mut order = vec![None; tensors.len()];
        for (position, &node) in graph.nodes.iter().enumerate() {
            order[node] = Some(position);
        }
        let known: HashSet<usize> = writes.iter().map(|(position, _)| *position).collect();
        // In-place operations: (the tensor changed, by which node). What is read of a recurrent
        // layer's memory has been begun at zero or moved there before. Keys and values are read
        // wherever they come from, and their writes are roots.
        let mut changes: Vec<(usize, usize)> = Vec::new();
        let mut nodes = Vec::new();
        let mut chooser = None;
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
            // Experts are chosen by a sort.
            if t.op == sys::GGML_OP_TOP_K {
                chooser.get_or_insert_with(|| t.name.clone());
            }
            nodes.push(Node {
                op: t.op,
                sources: t.sources.iter().map(|&s| order[s]).collect(),
                earlier,
                products,
            });
            if let Some(root) = t.root.filter(|_| !is_view(t.op))
                && (order[root].is_some() || !known.contains(&position))
            {
                changes.push((root, position));
            }
        }
        Self {
            nodes,
            writes,
            kept,
            chooser,
            doubtful: graph.doubtful.clone(),
        }
    }
}

/// Whether an operation only looks at memory in another way.
pub(super) fn is_view(op: sys::ggml_op) -> bool {
    matches!(
        op,
        sys::GGML_OP_VIEW | sys::GGML_OP_RESHAPE | sys::GGML_OP_PERMUTE | sys::GGML_OP_TRANSPOSE
    )
}

impl Edges {
    pub(super) fn head(&self) -> Option<usize> {
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
    pub(super) fn roles(&self, roots: Vec<usize>, given: &HashSet<usize>) -> Vec<Role> {
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
