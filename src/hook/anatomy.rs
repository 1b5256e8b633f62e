//! Finds, in a recorded graph, where each layer's input and each layer's attention contribution
//! are: through the graph's edges, with names only as a hint, and proved on the recording.

use std::collections::HashSet;

use crate::ggml as sys;

use super::cut::Edges;
use super::recording::Recording;

/// Where a node stands in the ask order of an evaluation, with enough to recognise it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Index in ask order.
    pub index: usize,
    /// The node's name when it was recorded.
    pub name: String,
    /// The node's operation when it was recorded.
    pub op: sys::ggml_op,
}

/// Where rows on their way into a cache can be rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSite {
    /// The node that holds them, before the rotation that quantized caches apply.
    pub site: Site,
    /// Values of one head.
    pub head: usize,
}

/// The places of a model's graph that interventions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anatomy {
    /// Nodes of one evaluation.
    pub n_nodes: usize,
    /// The look-up of token embeddings: its second source holds the token ids row by row.
    pub tokens: Site,
    /// A node whose second source holds the positions row by row, where the model uses any.
    pub positions: Option<Site>,
    /// For each layer, the state that enters it.
    pub inputs: Vec<Site>,
    /// For each layer, what its attention sub-layer adds to the residual stream; `None` for a
    /// layer that reads no K/V cache (recurrent layers).
    pub attention: Vec<Option<Site>>,
    /// For each layer, its keys; `None` for a layer that keeps none (recurrent layers, and
    /// layers that read another layer's).
    pub keys: Vec<Option<CacheSite>>,
    /// For each layer, its values.
    pub values: Vec<Option<CacheSite>>,
    /// What is computed from what.
    pub edges: Edges,
}

/// A graph whose residual stream could not be found.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AnatomyError {
    /// No node was recorded at all.
    #[error("llama.cpp evaluated no graph: the callback never fired")]
    Silent,
    /// The look-up of token embeddings is not where it should be.
    #[error("this architecture's graph has no token embedding look-up that could be recognised")]
    NoTokens,
    /// A layer's output is not in the graph under its name.
    #[error("this architecture's graph has no node l_out-{0}, the state leaving layer {0}")]
    NoLayerOutput(u32),
    /// The input of the first layer was not found.
    #[error("the state entering layer 0 could not be told apart in this architecture's graph")]
    NoFirstInput,
    /// A path leads around the state entering a layer.
    #[error(
        "in this architecture's graph a path leads around the state entering layer {0}, so rewriting it would not reach everything above"
    )]
    Bypassed(u32),
}

impl Anatomy {
    /// Analyses the recording of a model with `n_layer` layers of width `n_embd`.
    ///
    /// # Errors
    /// [`AnatomyError`] says which part of the residual stream is missing.
    pub fn of(graph: &Recording, n_layer: u32, n_embd: u32) -> Result<Self, AnatomyError> {
        let view = View::new(graph, i64::from(n_embd))?;
        let outputs: Vec<usize> = (0..n_layer)
            .map(|l| view.layer_output(l).ok_or(AnatomyError::NoLayerOutput(l)))
            .collect::<Result<_, _>>()?;
        let first = view
            .first_input(outputs[0])
            .ok_or(AnatomyError::NoFirstInput)?;
        let inputs: Vec<usize> = std::iter::once(first)
            .chain(outputs[..outputs.len() - 1].iter().copied())
            .collect();
        for (layer, &input) in inputs.iter().enumerate() {
            if view.reaches_embedding_without(view.last(), input) {
                return Err(AnatomyError::Bypassed(layer as u32));
            }
        }
        let (keys, values) = view.cache_sites(&inputs);
        let attention = inputs
            .iter()
            .zip(&outputs)
            .map(|(&input, &output)| view.attention(input, output).map(|n| view.site(n)))
            .collect();
        Ok(Self {
            n_nodes: graph.nodes.len(),
            tokens: view.site(view.embedding),
            positions: view.positions().map(|n| view.site(n)),
            inputs: inputs.iter().map(|n| view.site(*n)).collect(),
            attention,
            keys,
            values,
            edges: Edges::of(graph, view.cache_writes(&inputs)),
        })
    }
}

impl Anatomy {
    /// Takes every layer for the one below it ([`super::Sabotage::LayerOffByOne`]).
    pub(crate) fn mistake_layers(&mut self) {
        fn shift<T: Clone>(sites: &mut Vec<T>) {
            let last = sites.last().cloned();
            sites.extend(last);
            sites.remove(0);
        }
        shift(&mut self.inputs);
        shift(&mut self.attention);
        shift(&mut self.keys);
        shift(&mut self.values);
    }
}

/// The recording with the relations that the search needs. Numbers are indices into
/// `graph.tensors`.
struct View<'g> {
    graph: &'g Recording,
    n_embd: i64,
    n_rows: i64,
    embedding: usize,
    /// Position of each node in ask order.
    order: Vec<Option<usize>>,
    consumers: Vec<Vec<usize>>,
    /// Tensors outside the graph into which rows are written: the K/V cache.
    caches: HashSet<usize>,
}

impl<'g> View<'g> {
    fn new(graph: &'g Recording, n_embd: i64) -> Result<Self, AnatomyError> {
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

    fn last(&self) -> usize {
        *self.graph.nodes.last().expect("checked in new")
    }

    fn site(&self, node: usize) -> Site {
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

    fn layer_output(&self, layer: u32) -> Option<usize> {
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

    fn reaches_embedding_without(&self, node: usize, avoid: usize) -> bool {
        self.ancestors_around(node, Some(avoid))
            .contains(&self.embedding)
    }

    /// The state entering layer 0: the first node that everything in layer 0 passes through
    /// and that forks (into the residual connection and the sub-layers), checked against the
    /// first cache write, which must pass through it too.
    fn first_input(&self, output: usize) -> Option<usize> {
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
            _ => Some(input),
        }
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

    /// What attention adds to the residual stream between `input` and `output`: the operand of
    /// the first addition in which something computed from the cache meets something computed
    /// from the layer's input alone.
    fn attention(&self, input: usize, output: usize) -> Option<usize> {
        let below = self.ancestors(input);
        let within: HashSet<usize> = self
            .ancestors(output)
            .into_iter()
            .filter(|n| !below.contains(n))
            .collect();
        let mut from_cache: HashSet<usize> = HashSet::new();
        let mut nodes: Vec<usize> = within
            .iter()
            .copied()
            .filter(|&n| self.order[n].is_some())
            .collect();
        nodes.sort_by_key(|&n| self.order[n]);
        for &node in &nodes {
            let t = &self.graph.tensors[node];
            let reads_cache = t.sources.iter().any(|&s| {
                let root = self.graph.tensors[s].root.unwrap_or(s);
                self.caches.contains(&root)
            });
            if reads_cache || t.sources.iter().any(|s| from_cache.contains(s)) {
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
            if self.is_state(attention) && self.ancestors(other).contains(&input) {
                return Some(attention);
            }
        }
        None
    }

    /// The writes to the cache, each with the highest layer whose input it is computed from.
    fn cache_writes(&self, inputs: &[usize]) -> Vec<(usize, u32)> {
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

    /// For each layer, where its keys and its values can be rewritten; which of the two a write
    /// is, the name of the cache tells.
    #[allow(clippy::type_complexity)] // a pair of lists by layer
    fn cache_sites(&self, inputs: &[usize]) -> (Vec<Option<CacheSite>>, Vec<Option<CacheSite>>) {
        let mut keys = vec![None; inputs.len()];
        let mut values = vec![None; inputs.len()];
        for (position, layer) in self.cache_writes(inputs) {
            let write = &self.graph.tensors[self.graph.nodes[position]];
            let Some(found) = self.before_cache(write.sources[0]) else {
                continue;
            };
            let root = write.root.expect("writes_cache saw it");
            let cache = &self.graph.tensors[root].name;
            if cache.contains("_k_") {
                keys[layer as usize] = Some(found);
            } else if cache.contains("_v_") {
                values[layer as usize] = Some(found);
            }
        }
        (keys, values)
    }

    /// Goes back from what is written to a cache to the node that computed it: through changes
    /// of shape, and through the rotation (a product with an input of the graph) by which
    /// llama.cpp spreads values before it quantizes them.
    fn before_cache(&self, written: usize) -> Option<CacheSite> {
        let elements = |n: usize| self.graph.tensors[n].shape.iter().product::<i64>();
        let mut head = None;
        let mut node = written;
        loop {
            let t = &self.graph.tensors[node];
            if t.shape[2] == self.n_rows && t.shape[3] == 1 {
                head = Some(t.shape[0] as usize);
            }
            node = match t.op {
                sys::GGML_OP_RESHAPE | sys::GGML_OP_CONT | sys::GGML_OP_PAD => t.sources[0],
                sys::GGML_OP_VIEW if elements(node) == elements(t.sources[0]) => t.sources[0],
                sys::GGML_OP_MUL_MAT if self.graph.tensors[t.sources[0]].is_input => t.sources[1],
                _ => break,
            };
        }
        self.order[node]?;
        Some(CacheSite {
            site: self.site(node),
            head: head?,
        })
    }

    /// A node whose second source is the position input: the first rotation, or a look-up in a
    /// table of learned positions.
    fn positions(&self) -> Option<usize> {
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
