//! A recorded graph with the relations by which places are found in it: through its edges, with
//! names only as a hint.

use std::collections::HashSet;

use crate::ggml as sys;

use super::anatomy::{AnatomyError, CacheSite, Site};
use super::recording::Recording;

/// A layer's nodes: what its output is computed from and its input is not.
pub(super) struct Layer {
    input: usize,
    output: usize,
    /// In ask order.
    nodes: Vec<usize>,
}

/// The recording with the relations that the search needs. Numbers are indices into
/// `graph.tensors`.
pub(super) struct View<'g> {
    graph: &'g Recording,
    n_embd: i64,
    n_rows: i64,
    pub(super) embedding: usize,
    /// Position of each node in ask order.
    order: Vec<Option<usize>>,
    consumers: Vec<Vec<usize>>,
    /// Tensors outside the graph into which rows are written: the K/V cache.
    caches: HashSet<usize>,
}

impl<'g> View<'g> {
    pub(super) fn new(graph: &'g Recording, n_embd: i64) -> Result<Self, AnatomyError> {
        if graph.nodes.is_empty() {
            return Err(AnatomyError::Silent);
        }
        let tensors = &graph.tensors;
        let embedding = graph
            .nodes
            .iter()
            .copied()
            .find(|&n| {
                let t = &tensors[n];
                t.op == sys::GGML_OP_GET_ROWS
                    && t.shape[0] == n_embd
                    && t.sources
                        .get(1)
                        .is_some_and(|&ids| tensors[ids].is_i32 && tensors[ids].is_input)
            })
            .ok_or(AnatomyError::NoTokens)?;
        let mut order = vec![None; tensors.len()];
        let mut consumers = vec![Vec::new(); tensors.len()];
        let mut caches = HashSet::new();
        for (position, &node) in graph.nodes.iter().enumerate() {
            order[node] = Some(position);
            for &source in &tensors[node].sources {
                consumers[source].push(node);
            }
            if tensors[node].op == sys::GGML_OP_SET_ROWS
                && let Some(root) = tensors[node].root
                && tensors[root].op == sys::GGML_OP_NONE
                && !tensors[root].is_input
            {
                caches.insert(root);
            }
        }
        Ok(Self {
            graph,
            n_embd,
            n_rows: tensors[embedding].shape[1],
            embedding,
            order,
            consumers,
            caches,
        })
    }

    pub(super) fn last(&self) -> usize {
        *self.graph.nodes.last().expect("checked in new")
    }

    pub(super) fn site(&self, node: usize) -> Site {
        Site {
            index: self.order[node].expect("sites are nodes"),
            name: self.graph.tensors[node].name.clone(),
            op: self.graph.tensors[node].op,
        }
    }

    fn is_state(&self, node: usize) -> bool {
        let t = &self.graph.tensors[node];
        t.is_f32 && t.shape[0] == self.n_embd && t.shape[2] == 1 && t.shape[3] == 1
    }

    pub(super) fn layer_output(&self, layer: u32) -> Option<usize> {
        let name = format!("l_out-{layer}");
        self.graph
            .nodes
            .iter()
            .rev()
            .copied()
            .find(|&n| self.graph.tensors[n].name == name && self.is_state(n))
    }

    /// Everything `node` is computed from, itself included. Cache contents are not followed:
    /// attention reads the cache tensor itself, which has no operands.
    fn ancestors(&self, node: usize) -> HashSet<usize> {
        self.ancestors_around(node, None)
    }

    fn ancestors_around(&self, node: usize, avoid: Option<usize>) -> HashSet<usize> {
        let mut seen = HashSet::new();
        let mut stack = vec![node];
        while let Some(n) = stack.pop() {
            if Some(n) != avoid && seen.insert(n) {
                stack.extend(&self.graph.tensors[n].sources);
            }
        }
        seen
    }

    pub(super) fn reaches_embedding_without(&self, node: usize, avoid: usize) -> bool {
        self.ancestors_around(node, Some(avoid))
            .contains(&self.embedding)
    }

    /// The state entering layer 0: the first node that everything in layer 0 passes through
    /// and that forks (into the residual connection and the sub-layers), checked against the
    /// first cache write, which must pass through it too.
    pub(super) fn first_input(&self, output: usize) -> Option<usize> {
        let below = self.ancestors(output);
        let input = self.graph.nodes.iter().copied().find(|&n| {
            let forks = self.consumers[n].iter().filter(|c| {
                below.contains(c) || self.writes_cache(**c) || self.feeds_only_cache(**c)
            });
            below.contains(&n)
                && self.is_state(n)
                && self.graph.tensors[n].shape[1] == self.n_rows
                && forks.count() >= 2
                && !self.reaches_embedding_without(output, n)
        })?;
        let first_write = self
            .graph
            .nodes
            .iter()
            .copied()
            .find(|&n| self.writes_cache(n));
        match first_write {
            Some(write) if self.reaches_embedding_without(write, input) => None,
            _ => Some(self.flat(input)),
        }
    }

    /// The tensor of rows of which `node` is another shape (recurrent layers split rows by
    /// sequence).
    fn flat(&self, mut node: usize) -> usize {
        while self.graph.tensors[node].op == sys::GGML_OP_RESHAPE {
            let source = self.graph.tensors[node].sources[0];
            if self.order[source].is_none() || !self.is_state(source) {
                break;
            }
            node = source;
        }
        node
    }

    fn writes_cache(&self, node: usize) -> bool {
        let t = &self.graph.tensors[node];
        t.op == sys::GGML_OP_SET_ROWS && t.root.is_some_and(|root| self.caches.contains(&root))
    }

    /// Whether some path from `node` ends in a cache write.
    fn feeds_only_cache(&self, node: usize) -> bool {
        let mut stack = vec![node];
        let mut seen = HashSet::new();
        while let Some(n) = stack.pop() {
            if self.writes_cache(n) {
                return true;
            }
            if seen.insert(n) && !self.is_state(n) {
                stack.extend(&self.consumers[n]);
            }
        }
        false
    }

    pub(super) fn layer(&self, input: usize, output: usize) -> Layer {
        let below = self.ancestors(input);
        let mut nodes: Vec<usize> = self
            .ancestors(output)
            .into_iter()
            .filter(|n| self.order[*n].is_some() && !below.contains(n))
            .collect();
        nodes.sort_by_key(|&n| self.order[n]);
        Layer {
            input,
            output,
            nodes,
        }
    }

    /// The caches that a node reads.
    fn caches_read(&self, node: usize) -> impl Iterator<Item = usize> {
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

    /// A node whose second source is the position input: the first rotation, or a look-up in a
    /// table of learned positions.
    pub(super) fn positions(&self) -> Option<usize> {
        let tensors = &self.graph.tensors;
        let ids = tensors[self.embedding].sources[1];
        self.graph.nodes.iter().copied().find(|&n| {
            let t = &tensors[n];
            let by_position = match t.op {
                sys::GGML_OP_ROPE => true,
                sys::GGML_OP_GET_ROWS => self.is_state(n) && t.shape[1] == self.n_rows,
                _ => false,
            };
            by_position
                && t.sources.get(1).is_some_and(|&p| {
                    p != ids
                        && tensors[p].is_i32
                        && tensors[p].is_input
                        && tensors[p].name == "inp_pos"
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Record;

    const WIDTH: i64 = 8;

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
    fn layer(leaks: bool) -> (Recording, usize, usize, usize) {
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
        (graph.0, input, output, attention)
    }

    #[test]
    fn attention_is_all_that_brings_anything_from_the_cache() {
        for leaks in [false, true] {
            let (graph, input, output, attention) = layer(leaks);
            let view = View::new(&graph, WIDTH).unwrap();
            assert_eq!(view.first_input(output), Some(input));
            let found = view.attention(&view.layer(input, output));
            assert_eq!(found, (!leaks).then_some(attention), "{leaks}");
        }
    }
}
