//! Finds, in a recorded graph, where each layer's input and each layer's attention contribution
//! are, and proves it on the recording.

use crate::ggml as sys;

use super::cut::Edges;
use super::recording::Recording;
use super::view::{Layer, View};

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
    /// Whether a layer's keys and values are kept as one (latent attention), or in a way that
    /// could not be told apart: it has neither of the two sites then.
    pub joined: Vec<bool>,
    /// For each layer that reads keys and values of a lower one, that layer.
    pub borrows: Vec<Option<u32>>,
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
        let writes = view.cache_writes(&inputs);
        let layers: Vec<Layer> = inputs
            .iter()
            .zip(&outputs)
            .map(|(&input, &output)| view.layer(input, output))
            .collect();
        let attention = layers
            .iter()
            .map(|layer| view.attention(layer).map(|n| view.site(n)))
            .collect();
        let borrows = (0..)
            .zip(&layers)
            .map(|(number, layer)| view.lowest_read(layer, &writes).filter(|w| *w < number))
            .collect();
        let mut keys = Vec::new();
        let mut values = Vec::new();
        let mut joined = Vec::new();
        for layer in 0..n_layer {
            let written = writes.iter().filter(|(_, of)| *of == layer);
            let written: Vec<usize> = written.map(|(position, _)| *position).collect();
            let sites = view.cache_sites(&written);
            joined.push(sites.is_none() && !written.is_empty());
            let (key, value) = sites.unzip();
            keys.push(key);
            values.push(value);
        }
        Ok(Self {
            n_nodes: graph.nodes.len(),
            tokens: view.site(view.embedding),
            positions: view.positions().map(|n| view.site(n)),
            inputs: inputs.iter().map(|n| view.site(*n)).collect(),
            attention,
            keys,
            values,
            joined,
            borrows,
            edges: Edges::of(graph, writes),
        })
    }

    /// A layer from `layer` up that reads keys and values of one below `layer`, and the latter:
    /// what happens to the states entering `layer` does not reach all that later tokens read.
    pub fn reads_below(&self, layer: u32) -> Option<(u32, u32)> {
        (0..)
            .zip(&self.borrows)
            .filter_map(|(reader, writer)| Some((reader, (*writer)?)))
            .find(|(reader, writer)| *reader >= layer && *writer < layer)
    }

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
