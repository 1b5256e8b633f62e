//! Places in a recorded graph, and what it means where one is missing.

use crate::ggml as sys;

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

/// Where rows made of heads can be rewritten, one head after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadSite {
    /// The node that holds them, which attention's output projection reads.
    pub site: Site,
    /// Values of one head.
    pub head: usize,
    /// How many heads there are.
    pub n: usize,
}

/// Why a layer has no MLP.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoMlp {
    /// It adds nothing of the kind.
    #[error(
        "nothing that it adds to the residual stream is computed token by token with an activation (recurrent layers mix tokens in all that they add)"
    )]
    None,
    /// There is more than one, or it is not in one piece.
    #[error("what its MLP adds to the residual stream could not be told apart in this graph")]
    Unclear,
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
    /// The logits cannot be told: none, or several.
    #[error(
        "not one node of this architecture's graph, or more than one, is a row of {n_vocab} logits for each token asked for and read by nothing else; the graph ends in node '{name}' of shape {shape:?}"
    )]
    NoLogits {
        /// The last node's name.
        name: String,
        /// Its shape, innermost first.
        shape: [i64; 4],
        /// Size of the vocabulary.
        n_vocab: u32,
    },
    /// Logits are computed of other tokens than those asked for.
    #[error(
        "this architecture's graph computes the logits of {found} tokens where those of {asked} were asked for, and llama.cpp would give those of the first ones in their place"
    )]
    OtherLogits {
        /// Rows of logits.
        found: usize,
        /// Tokens asked for.
        asked: usize,
    },
    /// A copy between backends of nobody knows what.
    #[error(
        "in this graph '{0}' copies a node that has another shape than every node of that name, so what it is computed from is not known"
    )]
    LostCopy(String),
    /// The graph was recorded of one row.
    #[error(
        "the graph was recorded of a single row, in which a head cannot be told from a row: let a micro-batch hold two rows at least (n_ubatch, n_batch)"
    )]
    OneRow,
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
