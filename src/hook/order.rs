//! The same graph in another order: a device may order a graph's nodes by the batch's shape
//! (`ggml_backend_graph_optimize`).

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::ggml as sys;

use super::graph::is_view;
use super::recording::Recording;

/// Why a graph is not another in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// It has other nodes.
    Nodes,
    /// It has the same, and computes something else in this order.
    Order,
}

/// The places in `recorded` of the nodes of `found`, both in ask order: they are the same nodes
/// by name, operation and operands, however many rows each has.
///
/// # Errors
/// [`Other`] unless every node of the one is a node of the other, is asked about after all that it
/// is computed from, and reads and writes memory that changes in the order in which it did.
pub(super) fn places(recorded: &Recording, found: &Recording) -> Result<Vec<usize>, Other> {
    if recorded.nodes.len() != found.nodes.len() || found.lost.is_some() {
        return Err(Other::Nodes);
    }
    let marks = marks(recorded);
    let mut alike: HashMap<u64, VecDeque<usize>> = HashMap::new();
    for (place, &node) in recorded.nodes.iter().enumerate() {
        alike.entry(marks[node]).or_default().push_back(place);
    }
    let marks = self::marks(found);
    let mut places = Vec::new();
    for &node in &found.nodes {
        let place = alike.get_mut(&marks[node]).and_then(VecDeque::pop_front);
        places.push(place.ok_or(Other::Nodes)?);
    }
    if !is_same(recorded, found, &places) {
        return Err(Other::Nodes);
    }
    match comes_after_operands(found) && keeps_memory(recorded, &places) {
        true => Ok(places),
        false => Err(Other::Order),
    }
}

/// Whether every node of a graph comes after all that it is computed from, and every cache is
/// written before anything reads it.
pub(super) fn is_ordered(graph: &Recording) -> bool {
    let mut read = HashSet::new();
    let nodes = graph.nodes.iter().map(|n| &graph.tensors[*n]);
    comes_after_operands(graph)
        && nodes.filter(|node| !is_view(node.op)).all(|node| {
            let written = node.root.filter(|_| node.op == sys::GGML_OP_SET_ROWS);
            let in_time = written.is_none_or(|root| !read.contains(&root));
            let sources = node.sources.iter();
            read.extend(sources.map(|&s| graph.tensors[s].root.unwrap_or(s)));
            in_time
        })
}

fn comes_after_operands(graph: &Recording) -> bool {
    let asked = asked(graph);
    graph.nodes.iter().enumerate().all(|(at, &node)| {
        let mut sources = graph.tensors[node].sources.iter();
        sources.all(|&source| asked[source].is_none_or(|asked| asked < at))
    })
}

fn mark(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// What each tensor is: by what it is computed from, and by what is computed from it. Nodes that
/// have one mark stand for each other.
fn marks(graph: &Recording) -> Vec<u64> {
    let mut from: Vec<u64> = Vec::new();
    let mut readers: Vec<Vec<(usize, usize)>> = vec![Vec::new(); graph.tensors.len()];
    // What a tensor is computed from stands before it.
    for (n, t) in graph.tensors.iter().enumerate() {
        let sources: Vec<u64> = t.sources.iter().map(|s| from[*s]).collect();
        let root = t.root.map(|root| from[root]);
        let kind = (t.op, t.is_f32, t.is_i32, t.is_input);
        from.push(mark((name(graph, n), kind, sources, root)));
        for (operand, &source) in t.sources.iter().enumerate() {
            readers[source].push((operand, n));
        }
    }
    let mut marks = from.clone();
    for n in (0..marks.len()).rev() {
        let readers = readers[n]
            .iter()
            .map(|(operand, by)| (*operand, marks[*by]));
        let mut readers: Vec<_> = readers.collect();
        readers.sort_unstable();
        marks[n] = mark((from[n], readers));
    }
    marks
}

/// A leaf may be another backend's copy in one order and not in the other.
fn name(graph: &Recording, tensor: usize) -> &str {
    let t = &graph.tensors[tensor];
    match t.op {
        sys::GGML_OP_NONE => t.original_name(),
        _ => &t.name,
    }
}

/// The ask index of each tensor that is a node.
fn asked(graph: &Recording) -> Vec<Option<usize>> {
    let mut asked = vec![None; graph.tensors.len()];
    for (place, &node) in graph.nodes.iter().enumerate() {
        asked[node] = Some(place);
    }
    asked
}

/// Whether each node is, by its name, operation and operands, the one at its place.
fn is_same(recorded: &Recording, found: &Recording, places: &[usize]) -> bool {
    let (asked_then, asked_now) = (asked(recorded), asked(found));
    places.iter().zip(&found.nodes).all(|(&place, &node)| {
        let now = &found.tensors[node];
        let then = &recorded.tensors[recorded.nodes[place]];
        let mut operands = now.sources.iter().zip(&then.sources);
        now.op == then.op
            && now.name == then.name
            && now.sources.len() == then.sources.len()
            && operands.all(|(&now, &then)| match (asked_now[now], asked_then[then]) {
                (Some(now), Some(then)) => places[now] == then,
                (None, None) => name(found, now) == name(recorded, then),
                _ => false,
            })
    })
}

/// Whether memory that a node changes is read and changed in the recorded order: no edge of the
/// graph says that a cache is read after it was written.
fn keeps_memory(recorded: &Recording, places: &[usize]) -> bool {
    let mut now = vec![0; places.len()];
    for (at, &place) in places.iter().enumerate() {
        now[place] = at;
    }
    // Of each memory the latest place, in the other order, of what changes it and of what
    // touches it at all.
    let mut changed: HashMap<usize, usize> = HashMap::new();
    let mut touched: HashMap<usize, usize> = HashMap::new();
    let nodes = recorded.nodes.iter().map(|n| &recorded.tensors[*n]);
    for (node, &at) in nodes.zip(&now).filter(|(node, _)| !is_view(node.op)) {
        for &source in &node.sources {
            let read = recorded.tensors[source].root.unwrap_or(source);
            if changed.get(&read).is_some_and(|before| *before > at) {
                return false;
            }
            let latest = touched.entry(read).or_default();
            *latest = at.max(*latest);
        }
        if let Some(root) = node.root {
            if touched.get(&root).is_some_and(|before| *before > at) {
                return false;
            }
            for latest in [&mut changed, &mut touched] {
                let latest = latest.entry(root).or_default();
                *latest = at.max(*latest);
            }
        }
    }
    true
}

impl Recording {
    /// The same nodes with their rows as they were recorded, in the order of `places`.
    pub(super) fn in_order(&self, places: &[usize]) -> Self {
        let mut other = self.clone();
        let nodes = places.iter().map(|place| self.nodes[*place]);
        other.nodes = nodes.collect();
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::fake::Graph;

    /// Which nodes there are, in the order in which they are made.
    const INPUT: usize = 0;
    const GATE: usize = 1;
    const UP: usize = 2;
    const GATED: usize = 3;
    const WRITE: usize = 4;
    const LOOK: usize = 5;
    const READ: usize = 6;

    /// A gate and what it lets through, by weights of one name, and a cache that the product is
    /// written to and that is read; each of as many rows.
    fn recorded(rows: i64, order: [usize; 7], swapped: bool) -> Recording {
        let mut graph = Graph::default();
        let [table, gate, up, ids, cache] = [(); 5].map(|()| graph.leaf());
        let input = graph.node(sys::GGML_OP_GET_ROWS, &[table, ids]);
        let by_gate = graph.node(sys::GGML_OP_MUL_MAT, &[gate, input]);
        let by_up = graph.node(sys::GGML_OP_MUL_MAT, &[up, input]);
        let operands = if swapped {
            [by_up, by_gate]
        } else {
            [by_gate, by_up]
        };
        let gated = graph.node(sys::GGML_OP_GLU, &operands);
        let write = graph.node(sys::GGML_OP_SET_ROWS, &[gated, ids]);
        graph.view(write, cache);
        let look = graph.node(sys::GGML_OP_VIEW, &[cache]);
        graph.view(look, cache);
        let read = graph.node(sys::GGML_OP_ADD, &[look, gated]);
        let nodes = [input, by_gate, by_up, gated, write, look, read];
        for node in nodes {
            graph.shape(node, [4, rows, 1, 1]);
        }
        graph.name(gate, "blk.0.ffn_gate.weight");
        graph.name(up, "blk.0.ffn_up.weight");
        graph.name(by_gate, "product");
        graph.name(by_up, "product");
        let mut recording = Recording::default();
        for n in order {
            recording.add_node(*graph.get(nodes[n]));
        }
        recording
    }

    const MADE: [usize; 7] = [INPUT, GATE, UP, GATED, WRITE, LOOK, READ];

    fn found(order: [usize; 7]) -> Result<Vec<usize>, Other> {
        places(&recorded(3, MADE, false), &recorded(7, order, false))
    }

    #[test]
    fn nodes_are_known_again_in_another_order() {
        assert_eq!(found(MADE), Ok((0..7).collect()));
        // Nodes of one name and operation are told by what reads them, and as what.
        let other = [INPUT, UP, GATE, GATED, LOOK, WRITE, READ];
        assert_eq!(found(other), Ok(other.to_vec()));
        let recording = recorded(3, MADE, false).in_order(&other);
        let rows = |index| recording.rows_of(index);
        assert_eq!((0..7).map(rows).collect::<Vec<_>>(), [3; 7]);
        let same = places(&recording, &recorded(7, other, false));
        assert_eq!(same, Ok((0..7).collect()));
    }

    #[test]
    fn an_order_that_gives_something_else_is_none() {
        // The cache is read before it is written; the product is gated before it is there.
        for order in [
            [INPUT, GATE, UP, GATED, LOOK, READ, WRITE],
            [INPUT, GATE, GATED, UP, WRITE, LOOK, READ],
        ] {
            assert_eq!(found(order), Err(Other::Order));
            assert!(!is_ordered(&recorded(7, order, false)));
        }
        assert!(is_ordered(&recorded(7, MADE, false)));
        let other = |graph| places(&recorded(3, MADE, false), &graph);
        assert_eq!(other(recorded(7, MADE, true)), Err(Other::Nodes));
        let mut named = recorded(7, MADE, false);
        named.tensors[named.nodes[UP]].name = "other".into();
        assert_eq!(other(named), Err(Other::Nodes));
        let mut less = recorded(7, MADE, false);
        less.nodes.pop();
        assert_eq!(other(less), Err(Other::Nodes));
    }
}
