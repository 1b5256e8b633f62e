//! Tiny random models made in memory: any architecture, no file, milliseconds to make.
//!
//! They answer nothing, but every identity that a manipulation must satisfy holds for them as
//! it does for a real model, so they are what the tests of each architecture run on. Tensors
//! that an architecture may do without are made all the same (a bias here, a scale there), so
//! graphs have a few nodes more than those of most files.
//!
//! [`Shape`] is the other kind: llama's architecture alone, of any size, written to a file, to
//! measure what a model of that size costs.

mod architectures;
mod file;
mod metadata;
mod recipe;
mod recipes;
mod shape;
mod weights;

use llama_cpp_sys_2 as sys;

pub use architectures::Architecture;
pub use file::{ShapeError, Told, Written};
use metadata::{Metadata, WIDTH};
pub use shape::Shape;
use weights::{Filling, fill};

use super::backend::{backend, chosen};
use super::log::{forget_log, reason};
use super::{Heads, Model, RuntimeError};

/// Whether a synthetic model can read text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// 96 token ids that stand for nothing.
    None,
    /// One token for each byte, so any text can be read.
    Bytes,
    /// The same, and one token for each two small letters, for an emoji (U+1F999) and for an accent
    /// (U+0301): another reading of the same texts.
    Pairs,
}

/// A recipe for a synthetic model: the same recipe gives the same weights.
#[derive(Clone, Copy, Debug)]
pub struct Synthetic {
    /// Architecture.
    pub architecture: Architecture,
    /// Seed of the weights.
    pub seed: u64,
    /// Number of layers.
    pub n_layer: u32,
    /// Layers above these that predict further tokens (multi-token prediction). They are no layers
    /// of the model: llama.cpp counts them apart, and what it computes passes them by.
    pub predictors: u32,
    /// Number of attention heads, even; how many share a head of K and V, the architecture says.
    pub n_head: u32,
    /// Context length, which is also the size of a table of learned positions.
    pub n_ctx: u32,
    /// Vocabulary.
    pub vocabulary: Vocabulary,
    /// Whether the model's metadata say that tokens see only earlier ones.
    pub causal: bool,
    /// The layer from which attention adds nothing: its output projections' weights and biases
    /// are zero from there up.
    pub silent_from: Option<u32>,
    /// Layers to put on a GPU; `None` is llama.cpp's default.
    pub gpu_layers: Option<u32>,
}

const IDS: u32 = 96;
/// `<unk>`, `<s>`, `</s>`, 256 bytes, one ordinary token.
const BYTE_IDS: u32 = 3 + 256 + 1;
/// Two small letters of 26, an emoji, an accent.
const PAIR_IDS: u32 = 26 * 26 + 2;

impl Synthetic {
    /// Four layers of width 64, context 64, token ids only.
    pub fn new(architecture: Architecture) -> Self {
        Self {
            architecture,
            seed: 1,
            n_layer: 4,
            predictors: 0,
            n_head: 4,
            n_ctx: 64,
            vocabulary: Vocabulary::None,
            causal: true,
            silent_from: None,
            gpu_layers: None,
        }
    }

    /// Makes the model.
    ///
    /// # Errors
    /// [`RuntimeError::Synthetic`] when llama.cpp refuses it.
    pub fn build(&self) -> Result<Model, RuntimeError> {
        backend()?;
        let metadata = Metadata::new(self.architecture.llama_cpp_name());
        self.describe(&metadata);
        // SAFETY: no arguments, returns a plain struct.
        let mut params = unsafe { sys::llama_model_default_params() };
        if let Some(layers) = self.gpu_layers {
            params.n_gpu_layers = layers as i32;
        }
        // What is not loaded has no place in a model that no file describes.
        params.load_mtp = self.predictors > 0;
        let filling = Filling {
            seed: self.seed,
            silent_from: self.silent_from,
            architecture: self.architecture,
        };
        let on_devices = self.gpu_layers != Some(0) && !chosen(None)?.is_empty();
        forget_log();
        // SAFETY: the metadata outlives the call; `fill` matches the callback's type, never
        // unwinds, and its user data is a filling that outlives the call.
        let raw = unsafe {
            sys::llama_model_init_from_user(
                metadata.raw,
                Some(fill),
                (&raw const filling).cast_mut().cast(),
                params,
            )
        };
        if raw.is_null() {
            return Err(RuntimeError::Synthetic(reason()));
        }
        let name = format!("synthetic-{}", self.architecture);
        let architecture = self.architecture.llama_cpp_name();
        // SAFETY: the metadata are live.
        let heads = unsafe { Heads::of(metadata.raw, architecture, self.n_layer) };
        // SAFETY: not null, and nothing else frees it.
        Ok(unsafe { Model::from_pointer(raw, &name, heads, on_devices) })
    }

    fn describe(&self, m: &Metadata) {
        let recipe = self.architecture.recipe();
        m.string("general.architecture", self.architecture.llama_cpp_name());
        m.string("general.name", &format!("synthetic-{}", self.architecture));
        m.u32("context_length", self.n_ctx);
        m.u32("embedding_length", WIDTH);
        m.u32("block_count", self.blocks());
        if self.predictors > 0 {
            m.u32("nextn_predict_layers", self.predictors);
        }
        m.u32("feed_forward_length", 2 * WIDTH);
        m.f32(recipe.epsilon, 1e-5);
        match self.vocabulary {
            Vocabulary::None => {
                m.string("tokenizer.ggml.model", "none");
                m.u32("vocab_size", IDS);
            }
            Vocabulary::Bytes => {
                m.byte_vocabulary(false);
                m.u32("vocab_size", BYTE_IDS);
            }
            Vocabulary::Pairs => {
                m.byte_vocabulary(true);
                m.u32("vocab_size", BYTE_IDS + PAIR_IDS);
            }
        }
        if !self.causal {
            m.bool("attention.causal", false);
        }
        self.describe_heads(m, recipe.heads);
        for (key, value) in recipe.pairs() {
            m.set(key, *value, self.blocks());
        }
    }

    /// Layers and predictors.
    fn blocks(&self) -> u32 {
        self.n_layer + self.predictors
    }

    fn describe_heads(&self, m: &Metadata, heads: recipe::Heads) {
        let key = "attention.head_count_kv";
        match heads {
            recipe::Heads::None => return m.u32("attention.head_count", 0),
            recipe::Heads::Paired => m.u32(key, self.n_head / 2),
            recipe::Heads::Own => m.u32(key, self.n_head),
            recipe::Heads::Single => m.u32(key, 1),
            recipe::Heads::PairedInOdd => {
                let of = |layer| layer % 2 * (self.n_head / 2);
                let by_layer: Vec<u32> = (0..self.blocks()).map(of).collect();
                m.numbers(key, &by_layer);
            }
        }
        m.u32("attention.head_count", self.n_head);
    }
}
