//! Finds, in a recorded graph, where each layer's input and each layer's attention contribution
//! are, and proves it on the recording.

use super::HookFault;
use super::graph::Edges;
use super::mask::MaskSite;
use super::recording::Recording;
use super::site::{AnatomyError, CacheSite, HeadSite, NoMlp, Site};
use super::view::{Layer, View};
use crate::intervention::{Intervention, Target};

/// The places of a model's graph that interventions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anatomy {
    /// Nodes of one evaluation.
    pub n_nodes: usize,
    /// The look-up of token embeddings: its second source holds the token ids row by row.
    pub tokens: Site,
    /// A node whose second source holds the positions row by row, where the model uses any.
    pub positions: Option<Site>,
    /// How many positions there are, where the model has learned a state for each.
    pub learned_positions: Option<u32>,
    /// The last node: a row of logits for each token asked for.
    pub logits: Site,
    /// For each layer, the state that enters it. Where llama.cpp leaves a layer out of the graph
    /// (it has neither attention nor MLP), this one and the next share a state.
    pub inputs: Vec<Site>,
    /// The state that leaves the last layer, where the logits are computed from it alone: what is
    /// above it is the model's head. It counts as the state entering the layer after the last.
    /// `None` where something leads around it.
    pub output: Option<Site>,
    /// For each layer, what its attention sub-layer adds to the residual stream; `None` for a
    /// layer that reads no K/V cache, and where it could not be found.
    pub attention: Vec<Option<Site>>,
    /// For each layer, the rows that its attention's output projection reads; `None` where it has
    /// no attention, and where they could not be found.
    pub heads: Vec<Option<HeadSite>>,
    /// For each layer, what its MLP adds to the residual stream, or why there is none.
    pub mlps: Vec<Result<Site, NoMlp>>,
    /// For each layer, where its attention takes its mask from.
    pub masks: Vec<Option<MaskSite>>,
    /// For each layer, whether it reads a K/V cache, be it another layer's. Layers that do not
    /// have no attention (recurrent layers, layers of an MLP alone).
    pub reads_cache: Vec<bool>,
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

impl Anatomy {
    /// Analyses the recording of a model with `n_layer` layers of width `n_embd`, and logits
    /// over `n_vocab` tokens.
    ///
    /// # Errors
    /// [`AnatomyError`] says which part of the residual stream is missing.
    pub fn of(
        graph: &Recording,
        n_layer: u32,
        n_embd: u32,
        n_vocab: u32,
    ) -> Result<Self, AnatomyError> {
        let view = View::new(graph, n_embd, n_vocab)?;
        let (inputs, outputs) = view.states(n_layer)?;
        for (layer, &input) in inputs.iter().enumerate() {
            if view.reaches_embedding_without(view.logits, input) {
                return Err(AnatomyError::Bypassed(layer as u32));
            }
        }
        let output = outputs
            .last()
            .filter(|output| view.is_all_of_head(**output));
        let writes = view.cache_writes(&inputs);
        let layers: Vec<Layer> = inputs
            .iter()
            .zip(&outputs)
            .map(|(&input, &output)| view.layer(input, output))
            .collect();
        let attention: Vec<Option<usize>> = layers.iter().map(|l| view.attention(l)).collect();
        let heads = attention.iter().map(|n| view.heads((*n)?)).collect();
        let mlps = layers.iter().map(|layer| view.mlp(layer));
        let mlps = mlps.map(|mlp| mlp.map(|n| view.site(n))).collect();
        let masks = layers.iter().map(|layer| view.mask(layer, &writes));
        let masks = masks.collect();
        let borrows = (0..)
            .zip(&layers)
            .map(|(number, layer)| view.lowest_read(layer, &writes).filter(|w| *w < number))
            .collect();
        let kept = view.kept(&layers, &writes);
        let mut keys = Vec::new();
        let mut values = Vec::new();
        let mut joined = Vec::new();
        for layer in 0..n_layer {
            // What is kept and never read (DeciLM: attention in a layer without an MLP) is left
            // out of the logits, and so no place to rewrite.
            let read = |position: usize| view.is_read(graph.nodes[position]);
            let written = writes.iter().filter(|(p, of)| *of == layer && read(*p));
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
            logits: view.site(view.logits),
            learned_positions: view.positions().and_then(|n| view.learned_positions(n)),
            inputs: inputs.iter().map(|n| view.site(*n)).collect(),
            output: output.map(|n| view.site(*n)),
            attention: attention.iter().map(|n| Some(view.site((*n)?))).collect(),
            heads,
            mlps,
            masks,
            reads_cache: layers.iter().map(|l| view.reads_cache(l)).collect(),
            keys,
            values,
            joined,
            borrows,
            edges: Edges::of(graph, writes, kept),
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

    /// Whether a layer has nothing of the kind, so that an intervention on several layers passes
    /// it over: no attention to skip, no keys and values to rewrite. A layer whose attention, MLP
    /// or cache was not found has not nothing.
    pub fn is_without(&self, target: Target, layer: u32) -> bool {
        match target {
            Target::Input => false,
            Target::Mlp => self.mlps[layer as usize] == Err(NoMlp::None),
            Target::Attention | Target::Heads | Target::Mask | Target::Keys | Target::Values => {
                !self.reads_cache[layer as usize]
            }
        }
    }

    /// Where the target of a layer is.
    pub(super) fn site(&self, target: Target, layer: u32) -> Result<&Site, HookFault> {
        let cache = |what| {
            let site = self.cache_site(target, layer).map(|cache| &cache.site);
            site.ok_or(match self.joined[layer as usize] {
                true => HookFault::Joined(layer, what),
                false => HookFault::NoCache(layer, what),
            })
        };
        match target {
            Target::Input => match self.inputs.get(layer as usize) {
                Some(site) => Ok(site),
                None => self.output.as_ref().ok_or(HookFault::NoHead),
            },
            Target::Attention => {
                let site = self.attention[layer as usize].as_ref();
                site.ok_or(HookFault::NoAttention(layer))
            }
            Target::Mlp => {
                let site = self.mlps[layer as usize].as_ref();
                site.map_err(|why| HookFault::NoMlp(layer, *why))
            }
            Target::Heads => {
                let heads = self.heads[layer as usize].as_ref();
                heads
                    .map(|heads| &heads.site)
                    .ok_or(match self.attention[layer as usize] {
                        Some(_) => HookFault::NoHeads(layer),
                        None => HookFault::NoAttention(layer),
                    })
            }
            Target::Mask => {
                let mask = self.masks[layer as usize].as_ref();
                mask.map(|mask| &mask.site).ok_or(HookFault::NoMask(layer))
            }
            Target::Keys => cache("keys"),
            Target::Values => cache("values"),
        }
    }

    /// Where keys or values are; `None` for the other parts of a layer.
    pub(super) fn cache_site(&self, target: Target, layer: u32) -> Option<&CacheSite> {
        let sites = match target {
            Target::Keys => &self.keys,
            Target::Values => &self.values,
            Target::Input | Target::Attention | Target::Mlp | Target::Heads | Target::Mask => {
                return None;
            }
        };
        sites[layer as usize].as_ref()
    }

    /// The most heads that a layer has; 0 where none were found.
    pub fn most_heads(&self) -> u32 {
        let heads = self.heads.iter().flatten().map(|heads| heads.n as u32);
        heads.max().unwrap_or(0)
    }

    /// How many values of a row belong together, where rows are made of heads.
    pub(super) fn width_of_head(&self, target: Target, layer: u32) -> Option<usize> {
        match target {
            Target::Heads => self.heads[layer as usize].as_ref().map(|heads| heads.head),
            _ => self.cache_site(target, layer).map(|cache| cache.head),
        }
    }

    /// Checks that the graph has a place for an intervention: at its first layer, and above it
    /// in every layer of its span that has anything of the kind ([`Self::is_without`]).
    ///
    /// # Errors
    /// [`HookFault::NoAttention`], [`HookFault::NoMlp`], [`HookFault::NoHeads`],
    /// [`HookFault::HeadCount`], [`HookFault::Unread`], [`HookFault::NoMask`],
    /// [`HookFault::NoCache`], [`HookFault::Joined`] or [`HookFault::Borrowed`].
    pub fn admits(&self, intervention: &Intervention) -> Result<(), HookFault> {
        let (target, first) = (intervention.target(), intervention.layers.first);
        if target == Target::Input {
            return match self.reads_below(first) {
                None => Ok(()),
                Some((reader, writer)) => Err(HookFault::Borrowed {
                    layer: first,
                    reader,
                    writer,
                }),
            };
        }
        let n_layer = self.inputs.len() as u32;
        let layers = (0..n_layer).filter(|l| intervention.layers.contains(*l));
        for layer in layers.filter(|l| *l == first || !self.is_without(target, *l)) {
            self.site(target, layer)?;
            let heads = self.heads[layer as usize].as_ref();
            if let Some((chosen, heads)) = intervention.some_heads().zip(heads)
                && let Some(head) = chosen.highest().filter(|head| *head >= heads.n)
            {
                return Err(HookFault::HeadCount {
                    layer,
                    head,
                    n: heads.n,
                });
            }
        }
        // A prior token's part of the last layer's sums leads to its own logits alone.
        if target.is_added() && !intervention.action.touches_last() && first + 1 == n_layer {
            return Err(HookFault::Unread(first));
        }
        Ok(())
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
        shift(&mut self.heads);
        shift(&mut self.mlps);
        shift(&mut self.masks);
        shift(&mut self.keys);
        shift(&mut self.values);
    }
}
