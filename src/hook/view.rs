//! A recorded graph with the relations by which places are found in it: through its edges, with
//! names only as a hint.

use std::collections::HashSet;

use crate::ggml as sys;

use super::graph::is_view;
use super::names::{LAST, USUAL, layer_entered, layer_left};
use super::recording::{Record, Recording};
use super::site::{AnatomyError, Site};

/// A layer's nodes: what its output is computed from and its input is not.
pub(super) struct Layer {
    pub(super) input: usize,
    pub(super) output: usize,
    /// In ask order.
    pub(super) nodes: Vec<usize>,
}

/// The recording with the relations that the search needs. Numbers are indices into
/// `graph.tensors`.
pub(super) struct View<'g> {
    pub(super) graph: &'g Recording,
    /// The one row of logits for each token asked for that no node reads.
    pub(super) logits: usize,
    n_embd: i64,
    pub(super) n_rows: i64,
    pub(super) embedding: usize,
    /// Position of each node in ask order.
    pub(super) order: Vec<Option<usize>>,
    pub(super) consumers: Vec<Vec<usize>>,
    /// Tensors outside the graph into which rows are written: the K/V cache.
    pub(super) caches: HashSet<usize>,
    /// Tensors outside the graph that nodes write to: caches, and the states of recurrent layers.
    pub(super) memory: HashSet<usize>,
    /// Everything that the logits are computed from.
    pub(super) wanted: HashSet<usize>,
}

impl<'g> View<'g> {
    pub(super) fn new(
        graph: &'g Recording,
        n_embd: u32,
        n_vocab: u32,
    ) -> Result<Self, AnatomyError> {
        if let Some(copy) = &graph.lost {
            return Err(AnatomyError::LostCopy(copy.clone()));
        }
        let n_embd = i64::from(n_embd);
        let last = graph.nodes.last().ok_or(AnatomyError::Silent)?;
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
        let n_rows = tensors[embedding].shape[1];
        if n_rows < 2 {
            return Err(AnatomyError::OneRow);
        }
        let mut order = vec![None; tensors.len()];
        let mut consumers = vec![Vec::new(); tensors.len()];
        let (mut caches, mut memory) = (HashSet::new(), HashSet::new());
        for (position, &node) in graph.nodes.iter().enumerate() {
            order[node] = Some(position);
            for &source in &tensors[node].sources {
                consumers[source].push(node);
            }
            if let Some(root) = tensors[node].root
                && !is_view(tensors[node].op)
                && tensors[root].op == sys::GGML_OP_NONE
                && !tensors[root].is_input
            {
                memory.insert(root);
                if tensors[node].op == sys::GGML_OP_SET_ROWS {
                    caches.insert(root);
                }
            }
        }
        // Not what comes last: a device may put other results of the graph behind them.
        let is_logits = |n: &usize| {
            let t = &tensors[*n];
            let is_kept = t.root.is_some_and(|root| memory.contains(&root));
            let is_row = t.is_f32 && t.is_flat() && t.shape[0] == i64::from(n_vocab);
            is_row && !is_kept && consumers[*n].is_empty()
        };
        let mut found = graph.nodes.iter().copied().filter(is_logits);
        let (Some(logits), None) = (found.next(), found.next()) else {
            return Err(AnatomyError::NoLogits {
                name: tensors[*last].name.clone(),
                shape: tensors[*last].shape,
                n_vocab,
            });
        };
        let mut view = Self {
            graph,
            logits,
            n_embd,
            n_rows,
            embedding,
            order,
            consumers,
            caches,
            memory,
            wanted: HashSet::new(),
        };
        view.wanted = view.ancestors(logits);
        Ok(view)
    }

    pub(super) fn site(&self, node: usize) -> Site {
        Site {
            index: self.order[node].expect("sites are nodes"),
            name: self.graph.tensors[node].name.clone(),
            op: self.graph.tensors[node].op,
        }
    }

    pub(super) fn is_state(&self, node: usize) -> bool {
        let t = &self.graph.tensors[node];
        t.is_f32 && t.shape[0] == self.n_embd && t.is_flat()
    }

    /// For each layer the state that enters it, and for each the state that leaves it.
    ///
    /// llama.cpp leaves a layer out of the graph that has neither attention nor MLP (DeciLM).
    /// What leaves such a layer is what enters it, which is taken for granted only where it is
    /// proved: nothing that the logits are computed from reads a weight or a cache of that
    /// layer, and of every other layer something does. A state that goes by an unusual name is
    /// believed only where its layer reads no weight and no cache of another one.
    pub(super) fn states(&self, n_layer: u32) -> Result<(Vec<usize>, Vec<usize>), AnatomyError> {
        let named: Vec<Option<usize>> = (0..n_layer)
            .map(|l| self.layer_output(l, l + 1 == n_layer))
            .collect();
        if let Some(missing) = named.iter().position(Option::is_none) {
            let computed = self.layers_computed();
            let mut layers = (0..).zip(&named);
            if !layers.all(|(layer, output)| output.is_some() == computed.contains(&layer)) {
                return Err(AnatomyError::NoLayerOutput(missing as u32));
            }
        }
        let lowest = *named
            .iter()
            .flatten()
            .next()
            .ok_or(AnatomyError::NoLayerOutput(0))?;
        let first = self.first_input(lowest).ok_or(AnatomyError::NoFirstInput)?;
        let mut inputs = vec![first];
        for output in named {
            inputs.push(output.unwrap_or(inputs[inputs.len() - 1]));
        }
        let outputs = inputs[1..].to_vec();
        inputs.pop();
        for (layer, &output) in (0..).zip(&outputs) {
            let usual = self.graph.tensors[output].name.starts_with(USUAL);
            if !usual && self.reads_of_others(layer, inputs[layer as usize], output) {
                return Err(AnatomyError::NoLayerOutput(layer));
            }
        }
        Ok((inputs, outputs))
    }

    /// Whether anything between two states reads a weight or a cache that another layer's name
    /// is on.
    fn reads_of_others(&self, layer: u32, input: usize, output: usize) -> bool {
        let nodes = self.layer(input, output).nodes;
        let mut read = nodes.iter().flat_map(|&n| &self.graph.tensors[n].sources);
        read.any(|&source| {
            let of = layer_of_leaf(&self.graph.tensors[source]);
            self.order[source].is_none() && of.is_some_and(|of| of != layer)
        })
    }

    /// The layers of which the logits need a weight or a cache, by these tensors' names.
    fn layers_computed(&self) -> HashSet<u32> {
        let leaves = self.wanted.iter().filter(|&&n| self.order[n].is_none());
        leaves
            .filter_map(|&leaf| layer_of_leaf(&self.graph.tensors[leaf]))
            .collect()
    }

    fn layer_output(&self, layer: u32, is_last: bool) -> Option<usize> {
        let named = |fits: &dyn Fn(&str) -> bool| {
            let mut nodes = self.graph.nodes.iter().rev().copied();
            nodes.find(|&n| fits(&self.graph.tensors[n].name) && self.is_state(n))
        };
        // The last of several (Nemotron-H calls what an MLP adds l_out, too).
        let left = named(&|name| layer_left(name) == Some(layer));
        left.or_else(|| {
            named(&|name| is_last && layer_entered(name) == Some(layer))?;
            named(&|name| name == LAST)
        })
    }

    /// Everything `node` is computed from, itself included. Cache contents are not followed:
    /// attention reads the cache tensor itself, which has no operands.
    pub(super) fn ancestors(&self, node: usize) -> HashSet<usize> {
        self.ancestors_around(node, None)
    }

    pub(super) fn ancestors_around(&self, node: usize, avoid: Option<usize>) -> HashSet<usize> {
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

    /// Whether the logits are computed from `output` without anything leading around it: no other
    /// way from the embeddings, and nothing that is read from a cache.
    pub(super) fn is_all_of_head(&self, output: usize) -> bool {
        let around = self.ancestors_around(self.logits, Some(output));
        !around.contains(&self.embedding) && around.is_disjoint(&self.caches)
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

    pub(super) fn writes_cache(&self, node: usize) -> bool {
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

    /// Rows of the table of learned positions in which `node`, of [`Self::positions`], looks up;
    /// `None` where it rotates.
    pub(super) fn learned_positions(&self, node: usize) -> Option<u32> {
        let t = &self.graph.tensors[node];
        let table = &self.graph.tensors[t.sources[0]];
        let rows = u32::try_from(table.shape[1]).unwrap_or(u32::MAX);
        (t.op == sys::GGML_OP_GET_ROWS).then_some(rows)
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
                        && tensors[p].original_name() == "inp_pos"
                })
        })
    }
}

/// The layer that a weight (`blk.N.`) or a cache (`cache_k_lN`) belongs to, by its name.
fn layer_of_leaf(leaf: &Record) -> Option<u32> {
    let name = leaf.original_name();
    if let Some(rest) = name.strip_prefix("blk.") {
        return rest.split_once('.')?.0.parse().ok();
    }
    let cache = name.strip_prefix("cache_")?;
    cache.rsplit_once("_l")?.1.parse().ok()
}
