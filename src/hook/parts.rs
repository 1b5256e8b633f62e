//! What is within a layer: its attention, its keys and values.

use std::collections::HashSet;

use crate::ggml as sys;

use super::site::CacheSite;
use super::view::{Layer, View};

impl View<'_> {
    /// The caches that a node reads.
    pub(super) fn caches_read(&self, node: usize) -> impl Iterator<Item = usize> {
        let tensors = &self.graph.tensors;
        let roots = tensors[node].sources.iter();
        let roots = roots.map(|&s| tensors[s].root.unwrap_or(s));
        roots.filter(|root| self.caches.contains(root))
    }

    /// What attention adds to the residual stream in a layer: the operand of the first addition
    /// in which something computed from the cache meets something computed from the layer's
    /// input alone. Nothing else may bring anything from the cache to the layer's output.
    pub(super) fn attention(&self, layer: &Layer) -> Option<usize> {
        let mut from_cache: HashSet<usize> = HashSet::new();
        for &node in &layer.nodes {
            let t = &self.graph.tensors[node];
            let reads = self.caches_read(node).next().is_some();
            if reads || t.sources.iter().any(|s| from_cache.contains(s)) {
                from_cache.insert(node);
            }
            if t.op != sys::GGML_OP_ADD || !self.is_state(node) || t.sources.len() != 2 {
                continue;
            }
            let (a, b) = (t.sources[0], t.sources[1]);
            let (attention, other) = match (from_cache.contains(&a), from_cache.contains(&b)) {
                (true, false) => (a, b),
                (false, true) => (b, a),
                _ => continue,
            };
            // A bias is a leaf; the residual and a parallel MLP come from the layer's input.
            if self.is_state(attention) && self.ancestors(other).contains(&layer.input) {
                let around = self.ancestors_around(layer.output, Some(attention));
                let reads = |n: &&usize| self.caches_read(**n).next().is_some();
                let leaks = layer.nodes.iter().filter(reads).any(|n| around.contains(n));
                return (!leaks).then_some(attention);
            }
        }
        None
    }

    /// Whether what a node writes to a cache reaches the logits.
    pub(super) fn is_read(&self, write: usize) -> bool {
        let cache = self.graph.tensors[write].root;
        cache.is_some_and(|cache| self.wanted.contains(&cache))
    }

    /// Whether a layer reads any cache.
    pub(super) fn reads_cache(&self, layer: &Layer) -> bool {
        let mut nodes = layer.nodes.iter();
        nodes.any(|&n| self.caches_read(n).next().is_some())
    }

    /// The lowest layer whose keys and values a layer reads.
    pub(super) fn lowest_read(&self, layer: &Layer, writes: &[(usize, u32)]) -> Option<u32> {
        let root = |position: usize| self.graph.tensors[self.graph.nodes[position]].root;
        let read: HashSet<usize> = layer
            .nodes
            .iter()
            .flat_map(|&n| self.caches_read(n))
            .collect();
        let written = writes
            .iter()
            .filter(|(position, _)| root(*position).is_some_and(|r| read.contains(&r)));
        written.map(|(_, layer)| *layer).min()
    }

    /// The writes to the cache, each with the highest layer whose input it is computed from.
    pub(super) fn cache_writes(&self, inputs: &[usize]) -> Vec<(usize, u32)> {
        let nodes = self.graph.nodes.iter().enumerate();
        nodes
            .filter(|(_, write)| self.writes_cache(**write))
            .filter_map(|(position, write)| {
                let from = self.ancestors(self.graph.tensors[*write].sources[0]);
                let layer = inputs.iter().rposition(|input| from.contains(input))?;
                Some((position, layer as u32))
            })
            .collect()
    }

    /// Where the keys and the values of a layer can be rewritten, which makes these writes to
    /// the cache; which of the two a write is, the name of the cache tells. `None` where there
    /// are not just these two.
    pub(super) fn cache_sites(&self, writes: &[usize]) -> Option<(CacheSite, CacheSite)> {
        let &[a, b] = writes else { return None };
        let of = |position: usize, mark: &str| {
            let write = &self.graph.tensors[self.graph.nodes[position]];
            let root = write.root.expect("writes_cache saw it");
            let named = self.graph.tensors[root].name.contains(mark);
            named.then(|| self.before_cache(write.sources[0])).flatten()
        };
        let pair = |k, v| Some((of(k, "_k_")?, of(v, "_v_")?));
        pair(a, b).or_else(|| pair(b, a))
    }

    /// Goes back from what is written to a cache to the node that computed it: through changes
    /// of shape, and through the rotation (a product with an input of the graph) by which
    /// llama.cpp spreads values before it quantizes them. The furthest node on the way whose
    /// rows are in one piece each is the one to rewrite.
    fn before_cache(&self, written: usize) -> Option<CacheSite> {
        let elements = |n: usize| self.graph.tensors[n].shape.iter().product::<i64>();
        let mut head = None;
        let mut found = None;
        let mut node = written;
        loop {
            let t = &self.graph.tensors[node];
            // Rows are two at least, so that a row's heads are never one row's width.
            if t.shape[2] == self.n_rows && t.shape[3] == 1 {
                head = Some(t.shape[0] as usize);
            }
            if self.order[node].is_some() && self.holds_rows(node) {
                found = Some(node);
            }
            node = match t.op {
                sys::GGML_OP_RESHAPE | sys::GGML_OP_CONT | sys::GGML_OP_PAD => t.sources[0],
                sys::GGML_OP_VIEW if elements(node) == elements(t.sources[0]) => t.sources[0],
                sys::GGML_OP_MUL_MAT if self.graph.tensors[t.sources[0]].is_input => {
                    found = None;
                    t.sources[1]
                }
                _ => break,
            };
        }
        Some(CacheSite {
            site: self.site(found?),
            head: head?,
        })
    }

    /// Whether a tensor has a row for each token, each in one piece
    /// ([`super::Tensor::strided_rows`]).
    fn holds_rows(&self, node: usize) -> bool {
        let t = &self.graph.tensors[node];
        let flat = t.shape[2] == 1 && t.shape[1] == self.n_rows;
        let by_head = t.shape[2] == self.n_rows && t.strides[1] == 4 * t.shape[0] as usize;
        t.is_f32 && t.strides[0] == 4 && t.shape[3] == 1 && (flat || by_head)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::hook::{Anatomy, AnatomyError, Cut, CutError, Record, Recording, Role};

    pub(in crate::hook) const WIDTH: i64 = 8;
    pub(in crate::hook) const VOCAB: i64 = 24;

    /// A graph under construction.
    #[derive(Default)]
    struct Graph(Recording);

    impl Graph {
        fn add(&mut self, op: sys::ggml_op, sources: &[usize], root: Option<usize>) -> usize {
            let leaf = op == sys::GGML_OP_NONE;
            self.0.tensors.push(Record {
                name: String::new(),
                op,
                is_f32: !leaf,
                is_i32: leaf,
                shape: [WIDTH, 3, 1, 1],
                strides: [4, 4 * WIDTH as usize, 96, 96],
                is_input: leaf && sources.is_empty() && root.is_none(),
                sources: sources.to_vec(),
                root,
            });
            let index = self.0.tensors.len() - 1;
            if !leaf {
                self.0.nodes.push(index);
            }
            index
        }

        fn weight(&mut self) -> usize {
            let index = self.add(sys::GGML_OP_NONE, &[], None);
            self.0.tensors[index].is_input = false;
            index
        }
    }

    /// One layer: keys are kept, attention reads them, and what it gives is added to the
    /// residual stream, as is what an MLP gives; `leaks` lets something of the cache into the
    /// MLP as well.
    pub(in crate::hook) fn layer(leaks: bool) -> (Recording, usize, usize, usize) {
        let mut graph = Graph::default();
        let (ids, table) = (graph.add(sys::GGML_OP_NONE, &[], None), graph.weight());
        let input = graph.add(sys::GGML_OP_GET_ROWS, &[table, ids], None);
        let (weight, cache) = (graph.weight(), graph.weight());
        let key = graph.add(sys::GGML_OP_MUL_MAT, &[weight, input], None);
        graph.add(sys::GGML_OP_SET_ROWS, &[key, ids], Some(cache));
        let kept = graph.add(sys::GGML_OP_VIEW, &[cache], Some(cache));
        let heads = graph.add(sys::GGML_OP_MUL_MAT, &[kept, input], None);
        let bias = graph.weight();
        let attention = graph.add(sys::GGML_OP_ADD, &[heads, bias], None);
        let sum = graph.add(sys::GGML_OP_ADD, &[attention, input], None);
        let again = if leaks { kept } else { weight };
        let mlp = graph.add(sys::GGML_OP_MUL_MAT, &[again, sum], None);
        let output = graph.add(sys::GGML_OP_ADD, &[mlp, sum], None);
        let logits = graph.add(sys::GGML_OP_MUL_MAT, &[weight, output], None);
        graph.0.tensors[logits].shape[0] = VOCAB;
        (graph.0, input, output, attention)
    }

    fn view(graph: &Recording) -> Result<View<'_>, AnatomyError> {
        View::new(graph, WIDTH as u32, VOCAB as u32)
    }

    /// A device may compute another result after them (Metal with what qwen35 has beside its head).
    #[test]
    fn the_logits_are_the_one_row_of_logits_that_nothing_reads() {
        let logits = |edit: fn(&mut Graph, usize, usize)| {
            let (recording, _, output, _) = layer(false);
            let logits = *recording.nodes.last().unwrap();
            let mut graph = Graph(recording);
            edit(&mut graph, output, logits);
            view(&graph.0).map(|view| view.logits == logits)
        };
        assert_eq!(logits(|_, _, _| ()), Ok(true));
        let after = logits(|graph, output, _| {
            graph.add(sys::GGML_OP_MUL_MAT, &[output, output], None);
        });
        assert_eq!(after, Ok(true));
        let refused = |edit| {
            let error = logits(edit).unwrap_err();
            assert!(matches!(error, AnatomyError::NoLogits { .. }));
            assert!(error.to_string().contains("24 logits"), "{error}");
        };
        // Something that is made of them; two of them; none.
        refused(|graph, _, logits| {
            graph.add(sys::GGML_OP_MUL_MAT, &[logits, logits], None);
        });
        refused(|graph, output, _| {
            let second = graph.add(sys::GGML_OP_MUL_MAT, &[output, output], None);
            graph.0.tensors[second].shape[0] = VOCAB;
        });
        refused(|graph, _, logits| graph.0.tensors[logits].shape[0] = WIDTH);
    }

    /// A state that goes by another name than usual is believed where its layer reads weights of
    /// its own alone.
    #[test]
    fn unusual_names_are_proved() {
        let of = |name: &str, weight: &str| {
            let (mut graph, input, output, _) = layer(false);
            graph.tensors[output].name = name.into();
            let key = graph
                .nodes
                .iter()
                .find(|n| graph.tensors[**n].sources.contains(&input));
            let read = graph.tensors[*key.unwrap()].sources[0];
            graph.tensors[read].name = weight.into();
            Anatomy::of(&graph, 1, WIDTH as u32, VOCAB as u32).err()
        };
        let missing = Some(AnatomyError::NoLayerOutput(0));
        for name in ["nemotron_h_block_out-0", "ffn_residual-0", "attn_norm_in-1"] {
            assert_eq!(of(name, "blk.0.attn_k.weight"), None, "{name}");
            assert_eq!(of(name, "blk.1.attn_k.weight"), missing, "{name}");
        }
        assert_eq!(of("attn_norm_in-0", "blk.0.attn_k.weight"), missing);
    }

    /// What leaves the last layer is all that the head reads, unless something leads around it.
    #[test]
    fn the_head_is_a_part_of_its_own() {
        let head = |around: fn(usize, usize, usize) -> [usize; 2]| {
            let (mut graph, input, output, _) = layer(false);
            graph.tensors[output].name = "l_out-0".into();
            let kept = graph.tensors.iter().position(|t| t.op == sys::GGML_OP_VIEW);
            let logits = *graph.nodes.last().unwrap();
            let state = graph.tensors[output].clone();
            // What the head multiplies is the sum of two.
            graph.tensors.push(Record {
                name: String::new(),
                op: sys::GGML_OP_ADD,
                sources: around(input, output, kept.unwrap()).to_vec(),
                ..state
            });
            let sum = graph.tensors.len() - 1;
            graph.nodes.insert(graph.nodes.len() - 1, sum);
            graph.tensors[logits].sources[1] = sum;
            let anatomy = Anatomy::of(&graph, 1, WIDTH as u32, VOCAB as u32).unwrap();
            let roles = Cut::head(1).roles(&anatomy);
            roles.map(|roles| roles.iter().filter(|r| **r == Role::Live).count())
        };
        // The sum and the product.
        assert_eq!(head(|_, output, _| [output, output]), Ok(2));
        assert_eq!(
            head(|input, output, _| [output, input]),
            Err(CutError::NoHead)
        );
        assert_eq!(
            head(|_, output, kept| [output, kept]),
            Err(CutError::NoHead)
        );
    }

    #[test]
    fn one_row_is_not_enough() {
        let (mut graph, ..) = layer(false);
        for tensor in &mut graph.tensors {
            tensor.shape[1] = 1;
        }
        assert_eq!(view(&graph).err(), Some(AnatomyError::OneRow));
    }

    #[test]
    fn attention_is_all_that_brings_anything_from_the_cache() {
        for leaks in [false, true] {
            let (graph, input, output, attention) = layer(leaks);
            let view = view(&graph).unwrap();
            assert_eq!(view.first_input(output), Some(input));
            let found = view.attention(&view.layer(input, output));
            assert_eq!(found, (!leaks).then_some(attention), "{leaks}");
        }
    }
}
