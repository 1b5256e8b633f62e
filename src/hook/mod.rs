//! How a manipulation happens inside the graph: ggml's eval callback, the search for the right
//! nodes, and the map from tensor rows to tokens. Talks to ggml tensors only.

mod added;
mod anatomy;
mod asked;
mod callback;
mod content;
mod cut;
#[cfg(test)]
mod fake;
mod graph;
mod held;
mod kept;
mod known;
mod mask;
mod names;
mod node;
mod observed;
mod order;
mod parts;
mod pass;
mod recording;
mod sabotage;
mod site;
mod tensor;
mod view;
mod witness;

pub use anatomy::Anatomy;
pub use asked::{Capture, Resume, Row, Start};
pub(crate) use callback::{Silenced, Slot, trampoline};
pub use cut::{CacheFill, Cut, CutError};
pub(crate) use graph::Role;
pub(crate) use held::Held;
pub use kept::Kept;
pub(crate) use known::{Graphs, Size};
pub(crate) use mask::Cells;
#[allow(unused_imports, reason = "the plugin counts layers")]
pub(crate) use names::{layer_left, layer_named};
pub use observed::{Captured, Observed, Touched, Traffic};
pub(crate) use pass::Pass;
pub use sabotage::Sabotage;
pub use site::{AnatomyError, NoMlp};
pub(crate) use tensor::Tensor;
pub(crate) use witness::Witness;

#[allow(
    unused_imports,
    reason = "the plugin records graphs and shows nodes itself"
)]
pub(crate) use {
    node::Node,
    recording::{Record, Recording},
};

use crate::intervention::Missed;

/// What went wrong inside the callback. llama.cpp reports success all the same, so the decode
/// wrapper asks for this after every decode.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum HookFault {
    /// The graph is none of those that were analysed; record it anew.
    #[error("the graph changed: node {index} is '{found}', '{expected}' was recorded")]
    GraphChanged {
        /// Index in ask order.
        index: usize,
        /// Name recorded.
        expected: String,
        /// Name found.
        found: String,
    },
    /// A tensor that should hold rows of `f32` does not.
    #[error(
        "tensor '{tensor}' of shape {shape:?} is not made of rows of f32 that can be rewritten"
    )]
    Layout {
        /// The tensor's name.
        tensor: String,
        /// Its shape, innermost first.
        shape: [i64; 4],
    },
    /// A node's memory is not the graph's own.
    #[error("tensor '{0}' is a view of a weight, an input or a cache, so it is not written to")]
    Leaf(String),
    /// The graph's own input could not be read, so the order of rows is not known.
    #[error(
        "the {0}s of the micro-batch cannot be read from the graph's own input, so it is not known which row is which token"
    )]
    NotProved(&'static str),
    /// A tensor has neither a row for each token nor one for each output.
    #[error("tensor '{tensor}' has {found} rows, the micro-batch {rows} with {outputs} outputs")]
    RowCount {
        /// The tensor's name.
        tensor: String,
        /// Rows of the tensor.
        found: usize,
        /// Tokens in the micro-batch.
        rows: usize,
        /// Tokens whose logits were asked for.
        outputs: usize,
    },
    /// llama.cpp put the rows in another order than the batch.
    #[error("row {row} of the micro-batch holds {what} {found}, the batch has {expected} there")]
    RowOrder {
        /// The row within the micro-batch.
        row: usize,
        /// What was compared: `token` or `position`.
        what: &'static str,
        /// The value in the graph's own input.
        found: i32,
        /// The value in the batch.
        expected: i32,
    },
    /// Fewer or more rows went through the graph than the batch holds.
    #[error("{found} rows went through the graph, the batch holds {expected}")]
    RowTotal {
        /// Rows seen.
        found: usize,
        /// Rows of the batch.
        expected: usize,
    },
    /// The layer has no attention contribution that could be found.
    #[error(
        "layer {0} has no attention, or none that could be told apart in this architecture's graph"
    )]
    NoAttention(u32),
    /// The layer has no MLP contribution that could be found.
    #[error("layer {0} has no MLP: {1}")]
    NoMlp(u32, NoMlp),
    /// The layer's heads could not be found.
    #[error(
        "the heads of layer {0} could not be told apart in this architecture's graph: what its attention adds is not one product with a weight"
    )]
    NoHeads(u32),
    /// The layer has fewer heads.
    #[error("layer {layer} has {n} heads, numbered from 0, so there is no head {head} (`site`)")]
    HeadCount {
        /// The layer.
        layer: u32,
        /// The head asked for.
        head: usize,
        /// How many there are.
        n: usize,
    },
    /// What the last layer adds of a prior token is read by nothing.
    #[error(
        "layer {0} is the last one, and what it adds to a prior token's state is read by no later token, so rewriting it would change nothing"
    )]
    Unread(u32),
    /// The layer has no mask that could be found.
    #[error(
        "layer {0} has no attention, or none whose mask could be told apart in this architecture's graph, so hide cannot work there"
    )]
    NoMask(u32),
    /// No node of the graph gives the weights of the layer's attention.
    #[error(
        "layer {0} attends in one node, which gives no weights: run without flash attention (`flash_attention`)"
    )]
    Weights(u32),
    /// A mask is not what it was.
    #[error("'{0}' has no mask of attention that can be read and written")]
    Mask(String),
    /// The mask lets a token see a cell that was not seen being written.
    #[error("it is not known which token is in cell {0} of the cache, which attention sees")]
    UnknownCell(usize),
    /// The layer keeps no keys or values that could be found.
    #[error(
        "layer {0} keeps no {1} in a cache of its own (it has no attention, or reads another layer's cache), so they cannot be rewritten there"
    )]
    NoCache(u32, &'static str),
    /// The layer's keys and values are one and the same rows, or not all that it keeps.
    #[error(
        "layer {0} does not keep keys and values apart and alone (latent attention keeps them as one, an index of tokens comes to them), so its {1} cannot be rewritten"
    )]
    Joined(u32, &'static str),
    /// Later tokens read what a lower layer left.
    #[error(
        "layer {reader} reads the keys and values of layer {writer}, so rewriting the states that enter layer {layer} does not reach all that later tokens read; choose layer {writer} or a lower one"
    )]
    Borrowed {
        /// The layer whose states were to be rewritten.
        layer: u32,
        /// A layer at or above it.
        reader: u32,
        /// A layer below it.
        writer: u32,
    },
    /// Something leads around the state that leaves the last layer.
    #[error("{}", CutError::NoHead)]
    NoHead,
    /// A row should begin in the middle of the model, and the state to begin with is not known.
    #[error(
        "no state of the model's width is known of position {position} entering layer {layer}, so computing cannot begin there"
    )]
    NoState {
        /// The layer.
        layer: u32,
        /// The position.
        position: u32,
    },
    /// An intervention did not find what it needed.
    #[error("{0}")]
    Missed(String),
    /// Code called from the callback panicked.
    #[error("a row function panicked: {0}")]
    Panicked(String),
}

impl From<Missed> for HookFault {
    fn from(missed: Missed) -> Self {
        HookFault::Missed(missed.to_string())
    }
}
