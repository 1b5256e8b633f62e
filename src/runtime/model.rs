//! Models: loaded from a GGUF file, or made in memory.

use std::ffi::CString;
use std::path::Path;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_sys_2 as sys;

use crate::files::{beside, lacks_space};

use super::backend::{backend, chosen};
use super::header::Header;
use super::heads::Heads;
use super::level::type_name;
use super::log::{forget_log, reason};
use super::parts::{model_name, model_parts};
use super::rpc::add_servers;
use super::tokenizer::Tokenizer;
use super::{Facts, RuntimeError, Text, Token, Unfit, Weights};

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// Layers to put on a GPU (`-ngl`); `None` is llama.cpp's default.
    pub gpu_layers: Option<u32>,
    /// The devices that layers are put on, by their names ([`super::Device`]; `none` alone: not
    /// any); `None`: all.
    pub devices: Option<Vec<String>>,
    /// Servers on other machines whose devices are added, as `host:port`.
    pub rpc: Vec<String>,
    /// Read the weights into memory instead of mapping the file.
    pub unmapped: bool,
}

/// A model with its weights.
#[derive(Debug)]
pub struct Model {
    pub(super) inner: LlamaModel,
    facts: Facts,
    heads: Heads,
    /// `None` for a model without a vocabulary.
    pub(super) tokenizer: Option<Tokenizer>,
    /// Whether weights lie in memory of their own.
    writable: bool,
    /// Whether layers may lie on devices that are not the processor.
    on_devices: bool,
}

// `LlamaModel` keeps its pointer private. It is `repr(transparent)` over it in the version of
// llama-cpp-2 that Cargo.toml pins exactly, and nothing else says so: size and alignment, asserted
// here, would fit an `Arc` too. The two functions below are the only place that relies on it; read
// `LlamaModel` and its `Ptr` again before raising the version.
const _: () = {
    assert!(size_of::<LlamaModel>() == size_of::<*mut sys::llama_model>());
    assert!(align_of::<LlamaModel>() == align_of::<*mut sys::llama_model>());
};

fn pointer_of(model: &LlamaModel) -> *mut sys::llama_model {
    // SAFETY: transparent over a non-null pointer in the exact version that is pinned (see above);
    // same size and alignment.
    unsafe { std::mem::transmute_copy(model) }
}

/// # Safety
/// `pointer` is a non-null model that nothing else frees.
unsafe fn model_of(pointer: *mut sys::llama_model) -> LlamaModel {
    // SAFETY: transparent over a non-null pointer in the exact version that is pinned (see above);
    // same size and alignment; nothing else frees the model, by the caller's promise.
    unsafe { std::mem::transmute(pointer) }
}

impl Model {
    /// Loads a GGUF file, with its other parts where it is the first of several.
    ///
    /// # Errors
    /// [`RuntimeError`] for a file that is missing, not GGUF, without weights, refused by
    /// llama.cpp, or not a decoder.
    pub fn load(path: &Path, options: &ModelOptions) -> Result<Self, RuntimeError> {
        // Before anything is loaded: llama.cpp may end the process on some of these.
        if let Some(why) = Unfit::of_file(path) {
            return Err(why);
        }
        let parts = model_parts(path)?;
        let backend = backend()?;
        add_servers(&options.rpc)?;
        let mut params = LlamaModelParams::default();
        let devices = chosen(options.devices.as_deref())?;
        if options.devices.is_some() {
            params = params
                .with_devices(&devices)
                .map_err(|error| RuntimeError::Backend(error.to_string()))?;
        }
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
        let mut model = Self::describe(inner, model_name(path));
        model.facts.weights = Weights::of_files(&parts).unwrap_or_default();
        let Facts {
            architecture,
            n_layer,
            ..
        } = &model.facts;
        model.heads = Heads::of_file(path, architecture, *n_layer);
        model.writable = options.unmapped;
        model.on_devices = options.gpu_layers != Some(0) && !devices.is_empty();
        match model.unfit() {
            None => Ok(model),
            Some(why) => Err(why.error(path.display().to_string(), &model.facts.architecture)),
        }
    }

    /// Takes over a model that llama.cpp made in memory.
    ///
    /// # Safety
    /// `pointer` is a non-null model that nothing else frees.
    pub(super) unsafe fn from_pointer(
        pointer: *mut sys::llama_model,
        name: &str,
        heads: Heads,
        on_devices: bool,
    ) -> Self {
        // SAFETY: the caller's promise.
        let inner = unsafe { model_of(pointer) };
        let mut model = Self::describe(inner, name.to_string());
        model.heads = heads;
        model.writable = true;
        model.on_devices = on_devices;
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
            guesses_splitting: meta("tokenizer.ggml.model").as_deref() == Some("gpt2")
                && meta("tokenizer.ggml.pre").is_none_or(|pre| pre.is_empty()),
            left_out_end: None,
            // SAFETY: the model is live.
            unrotated: unsafe { sys::llama_model_rope_type(pointer) } == sys::LLAMA_ROPE_TYPE_NONE,
        };
        let has_vocabulary = vocab_type != sys::LLAMA_VOCAB_TYPE_NONE;
        // SAFETY: the model is live, and its vocabulary not empty.
        let tokenizer = has_vocabulary.then(|| unsafe { Tokenizer::of(vocab) });
        let mut model = Self {
            facts,
            heads: Heads::default(),
            tokenizer,
            writable: false,
            on_devices: false,
            inner,
        };
        let end = model.tokenizer.as_ref().and_then(|t| t.behind);
        let end = end.map(|end| String::from_utf8_lossy(&model.piece(end)).into_owned());
        model.facts.left_out_end = end;
        model
    }

    /// Why it cannot be manipulated, where that is known before anything is computed.
    pub(super) fn unfit(&self) -> Option<Unfit> {
        if let Some(why) = Unfit::of(&self.facts.architecture) {
            return Some(why);
        }
        let causal = format!("{}.attention.causal", self.facts.architecture);
        // SAFETY: the model is live.
        let decodes = unsafe { sys::llama_model_has_decoder(self.pointer()) };
        // SAFETY: the model is live.
        let encodes = unsafe { sys::llama_model_has_encoder(self.pointer()) };
        let looks_ahead = self.inner.meta_val_str(&causal).is_ok_and(|v| v == "false");
        // SAFETY: the model is live.
        if unsafe { sys::llama_model_is_diffusion(self.pointer()) } {
            return Some(Unfit::Diffusion);
        }
        (!decodes || encodes || looks_ahead).then_some(Unfit::Encoder)
    }

    /// Whether weights may be changed: they lie in memory of their own, not in a mapped file.
    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether layers may lie on devices that are not the processor.
    pub fn may_be_on_devices(&self) -> bool {
        self.on_devices
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

    /// Turns text into tokens: what the tokenizer puts before every text (BOS), unless the text
    /// begins with it, and nothing behind, since texts are to be continued. Special tokens that
    /// are spelled out in markup are those tokens.
    ///
    /// # Errors
    /// [`RuntimeError::NoVocabulary`].
    pub fn tokenize(&self, text: &Text) -> Result<Vec<Token>, RuntimeError> {
        let tokenizer = self.tokenizer.as_ref().ok_or(RuntimeError::NoVocabulary)?;
        Ok(tokenizer.tokenize(&self.inner.vocab(), text))
    }

    /// How many tokens, at the beginning of those of a text, are the tokenizer's own (BOS).
    pub fn own_before(&self, tokens: &[Token]) -> usize {
        let before = self.tokenizer.as_ref().and_then(|t| t.before);
        usize::from(before.is_some_and(|before| tokens.first() == Some(&before)))
    }

    /// The bytes that a token stands for; special tokens are spelled out. Empty for a model
    /// without a vocabulary.
    pub fn piece(&self, token: Token) -> Vec<u8> {
        let known = (0..self.facts.n_vocab as i32).contains(&token.0);
        if self.tokenizer.is_none() || !known {
            return Vec::new();
        }
        self.inner.vocab().token_to_piece(token, true, None)
    }

    /// Whether a token is one that the tokenizer puts around a text by itself (BOS and the like).
    pub fn is_control(&self, token: Token) -> bool {
        self.tokenizer.is_some() && self.inner.vocab().is_control(token)
    }

    /// Whether a token ends a generation (end of text, end of turn).
    pub fn ends_generation(&self, token: Token) -> bool {
        self.tokenizer.is_some() && self.inner.vocab().is_eog(token)
    }

    /// Writes the model to a GGUF file, which is there whole or not at all.
    ///
    /// # Errors
    /// [`RuntimeError::CannotSave`] for an architecture on which llama.cpp's writer would end
    /// the process; [`RuntimeError::Save`] where nothing, or not all, could be written.
    pub fn save(&self, path: &Path) -> Result<(), RuntimeError> {
        let architecture = &self.facts.architecture;
        if NOT_SAVED.contains(&&**architecture) {
            return Err(RuntimeError::CannotSave(architecture.clone()));
        }
        let fail = |reason: String| RuntimeError::Save {
            path: path.to_path_buf(),
            reason,
        };
        if path.exists() && !path.is_file() {
            return Err(fail("it is no regular file".into()));
        }
        let part = beside(path).map_err(|e| fail(e.to_string()))?;
        let part = part.into_temp_path();
        let name = CString::new(part.as_os_str().as_encoded_bytes());
        let name = name.map_err(|e| fail(e.to_string()))?;
        forget_log();
        // SAFETY: the model is live, of an architecture that the writer knows, and the path
        // NUL-terminated.
        unsafe { sys::llama_model_save_to_file(self.pointer(), name.as_ptr()) };
        // It does not say whether it went well.
        match Header::read(&part) {
            Ok(header) if header.is_whole() => {}
            _ => {
                let why = lacks_space(&part).map_or_else(reason, |full| full.to_string());
                return Err(fail(why));
            }
        }
        part.persist(path).map_err(|e| fail(e.to_string()))
    }
}

/// Architectures that llama.cpp's writer asserts not to meet (`llama_model_saver_supports_arch`
/// of the version that is pinned).
const NOT_SAVED: [&str; 6] = ["gemma3n", "bitnet", "t5", "apertus", "step35", "clef"];
