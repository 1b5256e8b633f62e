//! Memory that layers keep from one evaluation to the next besides keys and values: the states of
//! recurrent layers.
//!
//! llama.cpp begins a sequence's state at zero, or moves states between the places of sequences,
//! in the graph itself (`build_rs`). These writes follow from no row.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::graph::is_view;
use super::view::{Layer, View};

/// Memory that outlives the evaluation and is no K/V cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// A node that writes to it, by name.
    pub name: String,
    /// The writes to it, by their place in ask order, each with the layer whose input it is
    /// computed from; `None` where it is computed from no row.
    pub writes: Vec<(usize, Option<u32>)>,
    /// Whether each layer reads and writes memory of its own alone.
    pub is_apart: bool,
}

impl Kept {
    /// The layers that write, once for each write, and whether they are apart: the same in every
    /// graph of a model.
    pub(super) fn extent(&self) -> (bool, Vec<Option<u32>>) {
        let mut layers: Vec<_> = self.writes.iter().map(|(_, layer)| *layer).collect();
        layers.sort_unstable();
        (self.is_apart, layers)
    }
}

/// What a node is computed from, back to the states between layers.
struct Behind {
    /// Nodes and leaves, the node itself included and those states left out.
    between: HashSet<usize>,
    /// The layers that are entered by the states met.
    entered: BTreeSet<u32>,
}

impl View<'_> {
    /// What layers keep besides keys and values, whose writes are `cached`; `None` where that is
    /// nothing.
    pub(super) fn kept(&self, layers: &[Layer], cached: &[(usize, u32)]) -> Option<Kept> {
        let cached: HashSet<usize> = cached.iter().map(|(position, _)| *position).collect();
        // Where layers share a state, it is the highest one's.
        let states: HashMap<usize, u32> = layers.iter().map(|l| l.input).zip(0..).collect();
        let mut found: Option<Kept> = None;
        let mut owners: HashMap<usize, u32> = HashMap::new();
        let mut reads: Vec<(u32, usize)> = Vec::new();
        let mut is_apart = true;
        for (position, &node) in self.graph.nodes.iter().enumerate() {
            let t = &self.graph.tensors[node];
            let root = t
                .root
                .filter(|_| !is_view(t.op) && !cached.contains(&position));
            let Some(root) = root.filter(|root| self.order[*root].is_none()) else {
                continue;
            };
            is_apart &= self.is_kept(root);
            let behind = self.behind(node, &states);
            let entered: Vec<u32> = behind.entered.iter().copied().collect();
            let layer = match entered[..] {
                [] => None,
                [layer] => Some(layer),
                [.., highest] => {
                    is_apart = false;
                    Some(highest)
                }
            };
            // What leads around the states between layers is no layer's.
            is_apart &= !behind.between.contains(&self.embedding);
            if let Some(layer) = layer {
                is_apart &= *owners.entry(root).or_insert(layer) == layer;
                let between = behind.between.iter();
                reads.extend(between.flat_map(|&n| self.kept_read(n)).map(|r| (layer, r)));
            }
            let first = || Kept {
                name: t.name.clone(),
                writes: Vec::new(),
                is_apart: true,
            };
            let kept = found.get_or_insert_with(first);
            kept.writes.push((position, layer));
        }
        for (number, layer) in (0..).zip(layers) {
            let nodes = layer.nodes.iter();
            reads.extend(nodes.flat_map(|&n| self.kept_read(n)).map(|r| (number, r)));
        }
        is_apart &= reads
            .iter()
            .all(|(layer, root)| owners.get(root) == Some(layer));
        found.map(|kept| Kept { is_apart, ..kept })
    }

    /// Whether a leaf is memory of this kind.
    fn is_kept(&self, root: usize) -> bool {
        self.memory.contains(&root) && !self.caches.contains(&root)
    }

    /// The memory of this kind that a node reads.
    fn kept_read(&self, node: usize) -> impl Iterator<Item = usize> {
        let tensors = &self.graph.tensors;
        let roots = tensors[node].sources.iter();
        let roots = roots.map(|&s| tensors[s].root.unwrap_or(s));
        roots.filter(|root| self.is_kept(*root))
    }

    fn behind(&self, node: usize, states: &HashMap<usize, u32>) -> Behind {
        let mut behind = Behind {
            between: HashSet::new(),
            entered: BTreeSet::new(),
        };
        let mut stack = vec![node];
        while let Some(n) = stack.pop() {
            if let Some(layer) = states.get(&n) {
                behind.entered.insert(*layer);
            } else if behind.between.insert(n) {
                stack.extend(&self.graph.tensors[n].sources);
            }
        }
        behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml as sys;
    use crate::hook::{Anatomy, CacheFill, Cut, CutError, Record, Recording, Role};

    const WIDTH: i64 = 8;
    const VOCAB: i64 = 24;

    #[derive(Default)]
    struct Graph(Recording);

    impl Graph {
        fn leaf(&mut self, is_input: bool) -> usize {
            let n = self.add(sys::GGML_OP_NONE, &[], None);
            self.0.tensors[n].is_input = is_input;
            self.0.tensors[n].is_i32 = is_input;
            n
        }

        fn add(&mut self, op: sys::ggml_op, sources: &[usize], root: Option<usize>) -> usize {
            self.0.tensors.push(Record {
                name: String::new(),
                op,
                is_f32: op != sys::GGML_OP_NONE,
                is_i32: false,
                shape: [WIDTH, 3, 1, 1],
                strides: [4, 4 * WIDTH as usize, 96, 96],
                is_input: false,
                sources: sources.to_vec(),
                root,
            });
            let n = self.0.tensors.len() - 1;
            if op != sys::GGML_OP_NONE {
                self.0.nodes.push(n);
            }
            n
        }

        fn product(&mut self, of: usize) -> usize {
            let weight = self.leaf(false);
            self.add(sys::GGML_OP_MUL_MAT, &[weight, of], None)
        }
    }

    /// Two layers, each of which begins a memory at zero, reads one, adds it to what enters, and
    /// writes the sum back: these places by layer. `reads` and `writes` say which memory.
    fn layers(reads: [usize; 2], writes: [usize; 2]) -> (Anatomy, [[usize; 3]; 2]) {
        let mut graph = Graph::default();
        let (ids, moved, table) = (graph.leaf(true), graph.leaf(true), graph.leaf(false));
        let memory = [graph.leaf(false), graph.leaf(false)];
        let mut state = graph.add(sys::GGML_OP_GET_ROWS, &[table, ids], None);
        let mut places = [[0; 3]; 2];
        for layer in 0..2 {
            let written = memory[writes[layer]];
            let zero = graph.add(sys::GGML_OP_SCALE, &[written], Some(written));
            let read = graph.add(sys::GGML_OP_GET_ROWS, &[memory[reads[layer]], moved], None);
            let product = graph.product(state);
            let sum = graph.add(sys::GGML_OP_ADD, &[product, read], None);
            let kept = graph.add(sys::GGML_OP_SCALE, &[sum], Some(written));
            state = graph.add(sys::GGML_OP_ADD, &[sum, state], None);
            graph.0.tensors[state].name = format!("l_out-{layer}");
            let place = |node: usize| graph.0.nodes.iter().position(|n| *n == node).unwrap();
            places[layer] = [zero, sum, kept].map(place);
        }
        let logits = graph.product(state);
        graph.0.tensors[logits].shape[0] = VOCAB;
        let anatomy = Anatomy::of(&graph.0, 2, WIDTH as u32, VOCAB as u32);
        (anatomy.unwrap(), places)
    }

    const ABOVE: Cut = Cut {
        first: 1,
        cache: CacheFill::FromFirst,
        silent: false,
        onward: true,
    };

    #[test]
    fn above_a_cut_states_are_written_and_all_begin_at_zero() {
        use Role::{Dead, Live};
        let (anatomy, [lower, upper]) = layers([0, 1], [0, 1]);
        let [zero, _, kept] = lower;
        let writes = [
            (zero, None),
            (kept, Some(0)),
            (upper[0], None),
            (upper[2], Some(1)),
        ];
        let found = anatomy.edges.kept.as_ref().unwrap();
        assert_eq!(found.writes, writes);
        assert!(found.is_apart);
        let roles = ABOVE.roles(&anatomy).unwrap();
        assert_eq!(lower.map(|n| roles[n]), [Live, Dead, Dead]);
        assert_eq!(upper.map(|n| roles[n]), [Live; 3]);
        // For tokens that follow, the lower layer's state would have to be known.
        for (cache, onward) in [(CacheFill::All, true), (CacheFill::FromFirst, false)] {
            let refused = Cut {
                cache,
                onward,
                ..ABOVE
            };
            let error = refused.roles(&anatomy).unwrap_err();
            assert!(matches!(error, CutError::Recurrent(_)), "{error}");
        }
    }

    /// Beginning at zero comes before what is read, though nothing that is computed leads there.
    #[test]
    fn what_is_read_has_begun_at_zero() {
        let (anatomy, [lower, _]) = layers([0, 1], [0, 1]);
        let roles = anatomy.edges.roles(vec![lower[1]], &HashSet::new());
        assert_eq!(roles[lower[0]], Role::Live);
        assert_eq!(roles[lower[2]], Role::Dead);
    }

    #[test]
    fn memory_of_two_layers_leaves_the_graph_whole() {
        // One memory for both; one read by the other layer; one that no layer writes.
        for (reads, writes) in [([0, 0], [0, 0]), ([0, 0], [0, 1]), ([0, 1], [0, 0])] {
            let (anatomy, _) = layers(reads, writes);
            let error = ABOVE.roles(&anatomy).unwrap_err();
            let stray = matches!(error, CutError::StrayWrite(_));
            assert!(stray, "{reads:?} {writes:?}: {error}");
        }
    }
}
