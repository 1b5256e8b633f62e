//! Follows an evaluation node by node through the graph that was recorded.

use crate::hook::HookFault;
use crate::hook::graph::{Edges, Role};
use crate::hook::node::{Node, Skipped};

/// Where an evaluation stands.
#[derive(Default)]
pub(super) struct Follower {
    /// This evaluation's nodes by ask index.
    ids: Vec<usize>,
    /// Those of them that are skipped.
    skipped: Vec<Skipped>,
}

impl Follower {
    /// The ask index of the next node.
    pub fn next(&self) -> usize {
        self.ids.len()
    }

    /// Checks that the next node is what was recorded there, operands included.
    ///
    /// # Errors
    /// [`HookFault::GraphChanged`].
    pub fn expects(&self, edges: &Edges, node: Node<'_>) -> Result<(), HookFault> {
        match self.is_recorded(edges, node) {
            true => Ok(()),
            false => Err(HookFault::GraphChanged {
                index: self.next(),
                expected: "the same operation on the same operands".into(),
                found: node.name(),
            }),
        }
    }

    /// Takes the next node, which was found to be what was recorded ([`Self::expects`]). It is
    /// skipped where its role says so.
    pub fn take(&mut self, node: Node<'_>, role: Role) {
        self.ids.push(node.id());
        if role != Role::Live {
            self.skipped.push(node.skip());
        }
    }

    fn is_recorded(&self, edges: &Edges, node: Node<'_>) -> bool {
        let Some(recorded) = edges.nodes.get(self.next()) else {
            return false;
        };
        let mut sources = node.sources();
        let same = recorded.sources.iter().all(|recorded| {
            sources.next().is_some_and(|source| match recorded {
                None => source.is_leaf(),
                // A device that breaks dependencies asks for what is not computed yet.
                Some(n) => self.ids.get(*n) == Some(&source.id()) || source.is_copy(),
            })
        });
        recorded.op == node.op() && same && sources.next().is_none()
    }

    /// The evaluation has ended.
    pub fn begin_anew(&mut self) {
        self.restore();
        self.ids.clear();
    }

    /// Gives the skipped nodes their operations back.
    pub fn restore(&mut self) {
        for node in self.skipped.drain(..) {
            // SAFETY: nodes are put on the list while their evaluation is under way, and taken
            // off at its last node, when it turns out to be another graph, or right after the
            // decode that ended early: before the graph is built anew.
            unsafe { node.restore() };
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml as sys;
    use crate::hook::Recording;
    use crate::hook::fake::Graph;

    /// A product of two leaves, and the sum of `operands`.
    fn graph(op: sys::ggml_op, operands: fn([usize; 3]) -> Vec<usize>) -> (Graph, [usize; 2]) {
        let mut graph = Graph::default();
        let (weight, input) = (graph.leaf(), graph.leaf());
        let product = graph.node(sys::GGML_OP_MUL_MAT, &[weight, input]);
        let sum = graph.node(op, &operands([weight, input, product]));
        (graph, [product, sum])
    }

    fn edges((graph, nodes): &(Graph, [usize; 2])) -> Edges {
        let mut recording = Recording::default();
        for n in nodes {
            recording.add_node(*graph.get(*n));
        }
        Edges::of(&recording, Vec::new(), None)
    }

    #[test]
    fn another_operation_or_operand_is_noticed() {
        let recorded = edges(&graph(sys::GGML_OP_ADD, |[_, i, p]| vec![p, i]));
        let follows = |other: (Graph, [usize; 2])| {
            let (graph, nodes) = &other;
            let mut follower = Follower::default();
            assert_eq!(follower.expects(&recorded, graph.get(nodes[0])), Ok(()));
            follower.take(graph.get(nodes[0]), Role::Live);
            follower.expects(&recorded, graph.get(nodes[1])).is_ok()
        };
        assert!(follows(graph(sys::GGML_OP_ADD, |[_, i, p]| vec![p, i])));
        // Which leaf it is, is not told.
        assert!(follows(graph(sys::GGML_OP_ADD, |[w, _, p]| vec![p, w])));
        assert!(!follows(graph(sys::GGML_OP_CONT, |[_, i, p]| vec![p, i])));
        assert!(!follows(graph(sys::GGML_OP_ADD, |[_, i, p]| vec![i, p])));
        assert!(!follows(graph(sys::GGML_OP_ADD, |[_, i, _]| vec![i, i])));
        assert!(!follows(graph(sys::GGML_OP_ADD, |[_, _, p]| vec![p, p])));
        assert!(!follows(graph(sys::GGML_OP_ADD, |[_, _, p]| vec![p])));
        assert!(!follows(graph(sys::GGML_OP_ADD, |[w, i, p]| vec![p, i, w])));
    }

    #[test]
    fn what_is_skipped_is_restored_when_the_follower_goes() {
        let made = graph(sys::GGML_OP_ADD, |[_, i, p]| vec![p, i]);
        let (graph, nodes) = made;
        let mut follower = Follower::default();
        for n in nodes {
            follower.take(graph.get(n), Role::Dead);
        }
        let ops = || nodes.map(|n| graph.get(n).op());
        assert_eq!(ops(), [sys::GGML_OP_NONE; 2]);
        drop(follower);
        assert_eq!(ops(), [sys::GGML_OP_MUL_MAT, sys::GGML_OP_ADD]);
    }
}
