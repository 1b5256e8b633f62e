//! What can go wrong between here and llama.cpp.

use std::path::PathBuf;

use super::{ChatError, RpcError, Unfit};
use crate::hook::{AnatomyError, CutError, HookFault};

/// An error of the runtime. Messages name the option to change where there is one.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum RuntimeError {
    #[error("model file {0} does not exist (`model`)")]
    NoSuchModel(PathBuf),
    #[error("cannot read model file {path} (`model`): {source}")]
    UnreadableModel {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{0} is not a GGUF file: it does not begin with the bytes GGUF (`model`)")]
    NotGguf(PathBuf),
    #[error("{0} holds a vocabulary only, no weights: give a full model (`model`)")]
    VocabularyOnly(PathBuf),
    #[error(
        "{path} is a part of a model in several files: give the first of them, {first} (`model`)"
    )]
    NotFirstPart { path: PathBuf, first: PathBuf },
    #[error(
        "{path} is part of a model in several files, which find each other by their names: its own must end in {suffix} (`model`)"
    )]
    PartName { path: PathBuf, suffix: String },
    #[error(
        "{path} is the first of {count} parts of a model, and {missing} is not there (`model`)"
    )]
    PartMissing {
        path: PathBuf,
        count: u64,
        missing: PathBuf,
    },
    #[error("{path} could not be loaded (`model`): {reason}")]
    Load { path: PathBuf, reason: String },
    #[error("{model} is {} ({architecture}): {} (`model`)", .why.what(), .why.why())]
    Unfit {
        model: String,
        architecture: String,
        why: Unfit,
    },
    #[error("the model's weights are mapped from its file, so they cannot be changed")]
    Mapped,
    #[error("memory does not suffice for the model a second time")]
    NoRoom,
    #[error(
        "the output weights in layer {0} go by another name than usual, or cannot be made zero in part"
    )]
    NotSilenced(u32),
    #[error("llama.cpp could not start: {0}")]
    Backend(String),
    #[error("there is no device {name}; there are: {there} (`device`)")]
    NoDevice { name: String, there: String },
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error("the model has no vocabulary, so text cannot be turned into tokens; give token ids")]
    NoVocabulary,
    #[error(transparent)]
    Chat(#[from] ChatError),
    #[error(
        "the context could not be made with n_ctx {n_ctx}: {reason} (`n_ctx`, `cache_k`, `cache_v`, `flash_attention`)"
    )]
    Context { n_ctx: u32, reason: String },
    #[error(
        "a quantized V cache needs flash attention: set `flash_attention` on, or `cache_v` f16"
    )]
    QuantizedV,
    #[error(
        "{tokens} tokens do not fit the context of {n_ctx}: shorten the prompt or raise `n_ctx`"
    )]
    TooLong { tokens: usize, n_ctx: u32 },
    #[error(
        "{tokens} tokens do not fit the model's {positions} positions, which it has learned one by one: shorten the prompt"
    )]
    TooFewPositions { tokens: usize, positions: u32 },
    #[error("{rows} rows in one batch, at most {n_batch} are allowed: raise `n_batch`")]
    BatchTooLarge { rows: usize, n_batch: u32 },
    #[error("there is no sequence {sequence} in a context made for {n_seq_max}")]
    Sequence { sequence: u32, n_seq_max: u32 },
    #[error("there is no position {position} in a context of {n_ctx}")]
    Position { position: u32, n_ctx: u32 },
    #[error("sequence {0} has cells of its own at positions that it should share with another")]
    Occupied(u32),
    #[error("cells are shared within one stream only, and this context keeps sequences apart")]
    SeparateStreams,
    #[error("token {token} is not in the vocabulary of {n_vocab}")]
    Token { token: i32, n_vocab: u32 },
    #[error("an empty batch cannot be decoded")]
    EmptyBatch,
    #[error("llama.cpp found no room in the K/V cache of {n_ctx} cells: raise `n_ctx`")]
    CacheFull { n_ctx: u32 },
    #[error(
        "the K/V cache no longer holds the first {end} positions of a text that were to be shared"
    )]
    CellsLost { end: u32 },
    #[error("llama.cpp could not decode the batch (code {code}): {reason}")]
    Decode { code: i32, reason: String },
    #[error(
        "the model's logits are not numbers ({0}) on this prompt: the file is damaged, or overflows with these settings (`model`, `cache_k`, `cache_v`, `flash_attention`)"
    )]
    NotNumbers(&'static str),
    #[error("no logits were computed for row {0}")]
    NoLogits(usize),
    #[error(
        "this model's memory cannot drop its newest position (recurrent state), so text cannot be continued under manipulation"
    )]
    CannotRewind,
    #[error("manipulation failed: {0}")]
    Hook(#[from] HookFault),
    #[error("this model cannot be manipulated: {0}")]
    Anatomy(#[from] AnatomyError),
    #[error("the graph cannot be computed in part: {0}")]
    Cut(#[from] CutError),
    #[error("stopped")]
    Stopped,
    #[error("this context was made without a callback")]
    NoCallback,
    #[error("{path} could not be quantized to {level}: {reason}")]
    Quantize {
        path: PathBuf,
        level: String,
        reason: String,
    },
    #[error("llama.cpp cannot write models of the architecture {0}")]
    CannotSave(String),
    #[error("the model could not be written to {path}: {reason}")]
    Save { path: PathBuf, reason: String },
    #[error("the synthetic model could not be made: {0}")]
    Synthetic(String),
}
