//! Computing a part of a graph: which of its nodes are needed once some of them are given.
//!
//! Which nodes are dead follows from the recorded edges alone, with the outputs and every write
//! to the K/V cache and to recurrent layers' states as roots; names and order say nothing about
//! it.

use std::collections::HashSet;

use super::anatomy::Anatomy;
use super::graph::Role;
use crate::intervention::Target;

/// Why a graph is computed whole.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CutError {
    /// Which layer memory belongs to could not be told, see `kept.rs`.
    #[error(
        "node '{0}' writes to memory that is no K/V cache and not one layer's alone, so no part of the graph can be left out"
    )]
    StrayWrite(String),
    /// Layers keep a state that the cut would leave out.
    #[error(
        "node '{0}' writes to memory that is no K/V cache (recurrent state), which cannot begin in the middle: tokens that follow need the states of all layers, so no part of the graph can be left out"
    )]
    Recurrent(String),
    /// Attention chooses the tokens that it reads.
    #[error(
        "node '{0}' chooses which tokens attention reads (sparse attention), among all that are in the cache, so no part of the graph can be left out"
    )]
    Chooses(String),
    /// See `recording.rs`.
    #[error(
        "several nodes could be what '{0}' copies between devices, so no part of the graph can be left out"
    )]
    Doubtful(String),
    /// Keys and values of a layer are wanted that reads another's.
    #[error("layer {0} keeps no keys and values of its own, so they cannot be computed alone")]
    NoCache(u32),
    /// Attention would read keys and values that the cut leaves out.
    #[error("layer {reader} reads the keys and values of layer {writer}, which lies below the cut")]
    Borrowed {
        /// A layer that is computed.
        reader: u32,
        /// A layer that is not.
        writer: u32,
    },
    /// Attention is to be given as zero where it was not found.
    #[error("layer {0} has no attention contribution that could be found")]
    NoAttention(u32),
    /// The head is to be computed alone where something else reaches the logits.
    #[error(
        "in this architecture's graph something leads around the state that leaves the last layer, so what the head makes of a state alone cannot be told (`lens`)"
    )]
    NoHead,
}

/// Which part of a graph is computed, in terms of layers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    /// The layers below this one are left out, the state entering it is given. As many as there
    /// are layers leaves the head alone.
    pub first: u32,
    /// How the cache is filled.
    pub cache: CacheFill,
    /// Whether attention adds nothing in any of the layers computed: it is not computed then.
    pub silent: bool,
    /// Whether the layers from `first` up are computed at all, up to the logits. If not, their
    /// inputs are given too, and keys and values are all that is made of them.
    pub onward: bool,
}

/// Which layers' keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CacheFill {
    /// None: no later token will read them.
    None,
    /// Those from the first layer computed up; lower ones are not read any more.
    FromFirst,
    /// All. The states entering lower layers are given, so that theirs are projections only.
    All,
}

impl Cut {
    /// The head of a model of `n_layer` layers alone: its final norm and its output projection.
    pub fn head(n_layer: u32) -> Self {
        Self {
            first: n_layer,
            cache: CacheFill::None,
            silent: false,
            onward: true,
        }
    }

    /// The layers whose input is given for every row.
    pub fn gives(&self, layer: u32) -> bool {
        match (self.onward, self.cache) {
            (true, CacheFill::All) => layer <= self.first,
            (true, _) => layer == self.first,
            (false, CacheFill::All) => true,
            (false, _) => layer >= self.first,
        }
    }

    /// In how many of `n_layer` layers something is computed for each row.
    pub fn layers(&self, n_layer: u32) -> u32 {
        match (self.onward, self.cache) {
            (false, CacheFill::All) => n_layer,
            _ => n_layer - self.first,
        }
    }

    fn fills(&self, layer: u32) -> bool {
        match self.cache {
            CacheFill::None => false,
            CacheFill::FromFirst => layer >= self.first,
            CacheFill::All => true,
        }
    }

    /// The role of each node of a graph under the cut.
    ///
    /// # Errors
    /// [`CutError`] where the graph has to be computed whole.
    pub fn roles(&self, anatomy: &Anatomy) -> Result<Vec<Role>, CutError> {
        let edges = &anatomy.edges;
        let n_layer = anatomy.inputs.len() as u32;
        if self.first == n_layer {
            // No later token reads anything of a run of the head alone.
            let output = anatomy.output.as_ref().ok_or(CutError::NoHead)?;
            let given = HashSet::from([output.index]);
            return Ok(edges.roles(vec![anatomy.logits.index], &given));
        }
        let kept = match &edges.kept {
            None => &[][..],
            Some(kept) if !kept.is_apart => return Err(CutError::StrayWrite(kept.name.clone())),
            Some(kept) if !self.can_recur() => return Err(CutError::Recurrent(kept.name.clone())),
            Some(kept) => &kept.writes,
        };
        if let Some(name) = &edges.chooser {
            return Err(CutError::Chooses(name.clone()));
        }
        if let Some(name) = &edges.doubtful {
            return Err(CutError::Doubtful(name.clone()));
        }
        if self.onward
            && !self.silent
            && let Some((reader, writer)) = anatomy.reads_below(self.first)
        {
            return Err(CutError::Borrowed { reader, writer });
        }
        let mut given = HashSet::new();
        for layer in (0..n_layer).filter(|l| self.gives(*l)) {
            given.insert(anatomy.inputs[layer as usize].index);
        }
        if self.silent {
            let layers = self.first..n_layer;
            for layer in layers.filter(|l| !anatomy.is_without(Target::Attention, *l)) {
                let site = anatomy.attention[layer as usize].as_ref();
                given.insert(site.ok_or(CutError::NoAttention(layer))?.index);
            }
        }
        let mut stack = Vec::new();
        if self.onward {
            stack.push(anatomy.logits.index);
        }
        for layer in (0..n_layer).filter(|l| self.fills(*l)) {
            let writes = edges.writes.iter().filter(|(_, of)| *of == layer);
            let before = stack.len();
            stack.extend(writes.map(|(node, _)| *node));
            let has_any = !anatomy.is_without(Target::Keys, layer);
            if stack.len() == before && has_any && !self.onward {
                return Err(CutError::NoCache(layer));
            }
        }
        // Where states begin at zero and are moved, all layers' do: other sequences' may be among
        // them, and llama.cpp moves each once.
        let kept = kept
            .iter()
            .filter(|(_, of)| of.is_none_or(|of| of >= self.first));
        stack.extend(kept.map(|(node, _)| *node));
        Ok(edges.roles(stack, &given))
    }

    /// Whether layers that keep a state can be computed so: all of what is above the cut, on rows
    /// that begin with a sequence's first, for no later token. States of the layers left out are
    /// no sequence's then.
    fn can_recur(&self) -> bool {
        self.onward && !self.silent && self.cache == CacheFill::FromFirst
    }

    /// Products of a weight and a value that the cut costs for each row, the head with the
    /// vocabulary left out: it runs for rows with logits only, see `graph.rs`.
    /// What attention computes without weights is not counted.
    ///
    /// # Errors
    /// [`CutError`] where the graph has to be computed whole.
    pub fn products(&self, anatomy: &Anatomy) -> Result<u64, CutError> {
        let roles = self.roles(anatomy)?;
        let nodes = &anatomy.edges.nodes;
        let live = (0..nodes.len()).filter(|n| roles[*n] == Role::Live);
        let head = anatomy.edges.head();
        let body = live.filter(|n| Some(*n) != head);
        Ok(body.map(|n| nodes[n].products).sum())
    }
}
