//! Models: loaded from a GGUF file, or made in memory.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaChatMessage, LlamaModel};
use llama_cpp_sys_2 as sys;

use super::backend::{backend, forget_log, reason};
use super::heads::Heads;
use super::quantize::{Level, type_name};
use super::weights::Weights;
use super::{RuntimeError, Token};

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// Layers to put on a GPU (`-ngl`); `None` is llama.cpp's default.
    pub gpu_layers: Option<u32>,
    /// Read the weights into memory instead of mapping the file.
    pub unmapped: bool,
}

/// What a model says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Facts {
    /// `general.architecture`.
    pub architecture: String,
    /// The file's name without its ending: what the user knows the model by.
    pub name: String,
    /// Number of layers.
    pub n_layer: u32,
    /// Width of the residual stream.
    pub n_embd: u32,
    /// Vocabulary size.
    pub n_vocab: u32,
    /// Context length of its training.
    pub n_ctx_train: u32,
    /// Quantization as the file states it, such as `Q8_0`.
    pub quantization: String,
    /// Size of all tensors in bytes.
    pub bytes: u64,
    /// Number of weights.
    pub n_params: u64,
    /// The types that they have.
    #[serde(default)]
    pub weights: Weights,
}

impl Facts {
    /// Bits that a weight takes, scales included.
    pub fn bits_per_weight(&self) -> f64 {
        8.0 * self.bytes as f64 / self.n_params.max(1) as f64
    }

    /// The quantization in a word: the level's name where it is one that midlayer makes.
    pub fn level(&self) -> String {
        let level = Level::stated(&self.quantization);
        level.map_or_else(|| self.quantization.clone(), |level| level.to_string())
    }

    /// What a reader of results should know of the file.
    pub fn notices(&self) -> Vec<String> {
        self.weights
            .notices(&self.name, Level::stated(&self.quantization))
    }
}

/// A model with its weights.
#[derive(Debug)]
pub struct Model {
    inner: LlamaModel,
    facts: Facts,
    heads: Heads,
    has_vocabulary: bool,
    /// Whether weights lie in memory of their own.
    writable: bool,
}

// `LlamaModel` is `repr(transparent)` over its pointer and keeps that pointer private; the two
// functions below are the only place that relies on it.
const _: () = {
    assert!(size_of::<LlamaModel>() == size_of::<*mut sys::llama_model>());
    assert!(align_of::<LlamaModel>() == align_of::<*mut sys::llama_model>());
};

fn pointer_of(model: &LlamaModel) -> *mut sys::llama_model {
    // SAFETY: same size and alignment (asserted above), transparent over a non-null pointer.
    unsafe { std::mem::transmute_copy(model) }
}

/// # Safety
/// `pointer` is a non-null model that nothing else frees.
unsafe fn model_of(pointer: *mut sys::llama_model) -> LlamaModel {
    // SAFETY: same size and alignment (asserted above), transparent over a non-null pointer.
    unsafe { std::mem::transmute(pointer) }
}

impl Model {
    /// Loads a GGUF file.
    ///
    /// # Errors
    /// [`RuntimeError`] for a file that is missing, not GGUF, without weights, refused by
    /// llama.cpp, or not a decoder.
    pub fn load(path: &Path, options: &ModelOptions) -> Result<Self, RuntimeError> {
        check_header(path)?;
        let backend = backend()?;
        let mut params = LlamaModelParams::default();
        if let Some(layers) = options.gpu_layers {
            params = params.with_n_gpu_layers(layers);
        }
        if options.unmapped {
            params = params.with_use_mmap(false);
        }
        forget_log();
        let inner =
            LlamaModel::load_from_file(backend, path, &params).map_err(|_| RuntimeError::Load {
                path: path.to_path_buf(),
                reason: reason(),
            })?;
        let file_name = path
            .file_stem()
            .map(|s| s.to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut model = Self::describe(inner, file_name);
        model.facts.weights = Weights::of_file(path).unwrap_or_default();
        let Facts {
            architecture,
            n_layer,
            ..
        } = &model.facts;
        model.heads = Heads::of_file(path, architecture, *n_layer);
        model.writable = options.unmapped;
        if model.is_encoder() {
            return Err(RuntimeError::Encoder {
                path: path.to_path_buf(),
                architecture: model.facts.architecture.clone(),
            });
        }
        Ok(model)
    }

    /// Takes over a model that llama.cpp made in memory.
    ///
    /// # Safety
    /// `pointer` is a non-null model that nothing else frees.
    pub(super) unsafe fn from_pointer(
        pointer: *mut sys::llama_model,
        name: &str,
        heads: Heads,
    ) -> Self {
        // SAFETY: the caller's promise.
        let inner = unsafe { model_of(pointer) };
        let mut model = Self::describe(inner, name.to_string());
        model.heads = heads;
        model.writable = true;
        model
    }

    fn describe(inner: LlamaModel, name: String) -> Self {
        let pointer = pointer_of(&inner);
        let meta = |key: &str| inner.meta_val_str(key).ok();
        // SAFETY: the model is live.
        let ftype = unsafe { sys::llama_model_ftype(pointer) };
        // SAFETY: the model is live.
        let vocab = unsafe { sys::llama_model_get_vocab(pointer) };
        // SAFETY: a model always has a vocabulary object, if only an empty one.
        let vocab_type = unsafe { sys::llama_vocab_type(vocab) };
        // SAFETY: as above.
        let n_vocab = unsafe { sys::llama_vocab_n_tokens(vocab) };
        // SAFETY: the model is live. (llama-cpp-2's own call panics on a length above 2^31.)
        let n_ctx_train = unsafe { sys::llama_model_n_ctx_train(pointer) };
        let facts = Facts {
            architecture: meta("general.architecture").unwrap_or_default(),
            name,
            n_layer: inner.n_layer(),
            n_embd: inner.n_embd().unsigned_abs(),
            n_vocab: n_vocab.unsigned_abs(),
            n_ctx_train: n_ctx_train as u32,
            quantization: type_name(ftype),
            bytes: inner.size(),
            n_params: inner.n_params(),
            weights: Weights::default(),
        };
        Self {
            facts,
            heads: Heads::default(),
            has_vocabulary: vocab_type != sys::LLAMA_VOCAB_TYPE_NONE,
            writable: false,
            inner,
        }
    }

    fn is_encoder(&self) -> bool {
        let causal = format!("{}.attention.causal", self.facts.architecture);
        // SAFETY: the model is live.
        let decodes = unsafe { sys::llama_model_has_decoder(self.pointer()) };
        // SAFETY: the model is live.
        let encodes = unsafe { sys::llama_model_has_encoder(self.pointer()) };
        let looks_ahead = self.inner.meta_val_str(&causal).is_ok_and(|v| v == "false");
        !decodes || encodes || looks_ahead
    }

    /// Whether weights may be changed: they lie in memory of their own, not in a mapped file.
    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether layers keep a state that is no cache of keys and values (recurrent models, and
    /// hybrids of such layers and attention).
    pub fn has_recurrence(&self) -> bool {
        let model = self.pointer();
        // SAFETY: the model is live.
        let recurrent = unsafe { sys::llama_model_is_recurrent(model) };
        // SAFETY: the model is live.
        recurrent || unsafe { sys::llama_model_is_hybrid(model) }
    }

    /// Whether layers choose between experts, as the model's metadata say.
    pub fn has_experts(&self) -> bool {
        let key = format!("{}.expert_count", self.facts.architecture);
        let count = self.inner.meta_val_str(&key).ok();
        count.is_some_and(|n| n.parse().is_ok_and(|n: u32| n > 1))
    }

    /// Whether some layers attend through a sliding window.
    pub fn has_window(&self) -> bool {
        // SAFETY: the model is live.
        unsafe { sys::llama_model_n_swa(self.pointer()) > 0 }
    }

    /// How many sequences a context can hold at most: llama.cpp's limit, halved where each
    /// needs a second one to keep its cells.
    pub fn max_sequences(&self) -> u32 {
        if self.has_window() { 128 } else { 256 }
    }

    pub(super) fn pointer(&self) -> *mut sys::llama_model {
        pointer_of(&self.inner)
    }

    /// What the model says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The heads of keys and values, as the metadata state them.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// Number of layers.
    pub fn n_layer(&self) -> u32 {
        self.facts.n_layer
    }

    /// Turns text into tokens, with the special tokens (BOS) that the model expects, and special
    /// tokens spelled out in the text recognised, as llama.cpp's own tools do.
    ///
    /// # Errors
    /// [`RuntimeError::NoVocabulary`].
    pub fn tokenize(&self, text: &str) -> Result<Vec<Token>, RuntimeError> {
        if !self.has_vocabulary {
            return Err(RuntimeError::NoVocabulary);
        }
        Ok(self.inner.vocab().tokenize(text.as_bytes(), true, true))
    }

    /// The bytes that a token stands for; special tokens are spelled out. Empty for a model
    /// without a vocabulary.
    pub fn piece(&self, token: Token) -> Vec<u8> {
        let known = (0..self.facts.n_vocab as i32).contains(&token.0);
        if !self.has_vocabulary || !known {
            return Vec::new();
        }
        self.inner.vocab().token_to_piece(token, true, None)
    }

    /// Whether a token is one that the tokenizer puts around a text by itself (BOS and the like).
    pub fn is_control(&self, token: Token) -> bool {
        self.has_vocabulary && self.inner.vocab().is_control(token)
    }

    /// Whether a token ends a generation (end of text, end of turn).
    pub fn ends_generation(&self, token: Token) -> bool {
        self.has_vocabulary && self.inner.vocab().is_eog(token)
    }

    /// The model's own chat template around a user's message, up to where the answer begins.
    ///
    /// # Errors
    /// [`RuntimeError::NoChatTemplate`].
    pub fn chat(&self, message: &str) -> Result<String, RuntimeError> {
        let fail = |reason: String| RuntimeError::NoChatTemplate(reason);
        let template = self
            .inner
            .chat_template(None)
            .map_err(|_| fail("the file holds none".into()))?;
        let message = LlamaChatMessage::new("user".into(), message.into())
            .map_err(|e| fail(e.to_string()))?;
        self.inner
            .apply_chat_template(&template, &[message], true)
            .map_err(|e| fail(e.to_string()))
    }

    /// Writes the model to a GGUF file.
    ///
    /// # Errors
    /// [`RuntimeError::Synthetic`] for a path that cannot be passed to llama.cpp.
    pub fn save(&self, path: &Path) -> Result<(), RuntimeError> {
        let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|e| RuntimeError::Synthetic(e.to_string()))?;
        // SAFETY: the model is live and the path NUL-terminated.
        unsafe { sys::llama_model_save_to_file(self.pointer(), name.as_ptr()) };
        Ok(())
    }
}

/// The first 24 bytes of a GGUF file: magic, version, number of tensors, number of keys.
fn check_header(path: &Path) -> Result<(), RuntimeError> {
    let unreadable = |source: std::io::Error| RuntimeError::UnreadableModel {
        path: path.to_path_buf(),
        source,
    };
    if !path.exists() {
        return Err(RuntimeError::NoSuchModel(path.to_path_buf()));
    }
    let mut header = Vec::new();
    File::open(path)
        .map_err(unreadable)?
        .take(24)
        .read_to_end(&mut header)
        .map_err(unreadable)?;
    let path: PathBuf = path.to_path_buf();
    if !header.starts_with(b"GGUF") {
        return Err(RuntimeError::NotGguf(path));
    }
    if header.len() < 24 {
        return Err(RuntimeError::Load {
            path,
            reason: "the file is truncated within its header".into(),
        });
    }
    if header[8..16] == [0; 8] {
        return Err(RuntimeError::VocabularyOnly(path));
    }
    Ok(())
}
