//! Tiny random models made in memory: any architecture, no file, milliseconds to make.
//!
//! They answer nothing, but every identity that a manipulation must satisfy holds for them as
//! it does for a real model, so they are what the tests of each architecture run on.

use std::ffi::{CStr, CString, c_void};

use llama_cpp_sys_2 as sys;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::backend::{backend, forget_log, reason};
use super::{Model, RuntimeError};

/// An architecture that a synthetic model can have, one for each structural variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Pre-norm, RMS norms, rotary positions.
    Llama,
    /// As llama, with four experts in place of each MLP, two of them chosen for a token.
    LlamaExperts,
    /// As llama, with biases on Q, K, V.
    Qwen2,
    /// Norms before and after each sub-layer, alternating sliding windows, scaled embeddings.
    Gemma3,
    /// Layer norms, learned positions.
    Gpt2,
    /// Attention and MLP in parallel.
    Phi2,
    /// No norm before attention, norms after.
    Olmo2,
    /// Recurrent: no K/V cache at all.
    Mamba,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Architecture; 8] = [
        Architecture::Llama,
        Architecture::LlamaExperts,
        Architecture::Qwen2,
        Architecture::Gemma3,
        Architecture::Gpt2,
        Architecture::Phi2,
        Architecture::Olmo2,
        Architecture::Mamba,
    ];

    /// llama.cpp's name.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Llama | Architecture::LlamaExperts => "llama",
            Architecture::Qwen2 => "qwen2",
            Architecture::Gemma3 => "gemma3",
            Architecture::Gpt2 => "gpt2",
            Architecture::Phi2 => "phi2",
            Architecture::Olmo2 => "olmo2",
            Architecture::Mamba => "mamba",
        }
    }

    /// What it stands for.
    pub fn describe(self) -> &'static str {
        match self {
            Architecture::Llama => "pre-norm",
            _ => "",
        }
    }

    fn has_attention(self) -> bool {
        self != Architecture::Mamba
    }

    fn has_layer_norm(self) -> bool {
        matches!(self, Architecture::Gpt2 | Architecture::Phi2)
    }
}

/// Whether a synthetic model can read text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// 96 token ids that stand for nothing.
    None,
    /// One token for each byte, so any text can be read.
    Bytes,
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
    /// Number of attention heads, even; two share a head of K and V.
    pub n_head: u32,
    /// Context length, which is also the size of a table of learned positions.
    pub n_ctx: u32,
    /// Vocabulary.
    pub vocabulary: Vocabulary,
    /// Whether the model's metadata say that tokens see only earlier ones.
    pub causal: bool,
}

const WIDTH: u32 = 64;
const IDS: u32 = 96;
/// `<unk>`, `<s>`, `</s>`, 256 bytes, one ordinary token.
const BYTE_IDS: u32 = 3 + 256 + 1;

impl Synthetic {
    /// Four layers of width 64, context 64, token ids only.
    pub fn new(architecture: Architecture) -> Self {
        Self {
            architecture,
            seed: 1,
            n_layer: 4,
            n_head: 4,
            n_ctx: 64,
            vocabulary: Vocabulary::None,
            causal: true,
        }
    }

    /// Makes the model.
    ///
    /// # Errors
    /// [`RuntimeError::Synthetic`] when llama.cpp refuses it.
    pub fn build(&self) -> Result<Model, RuntimeError> {
        backend()?;
        let metadata = Metadata::new(self.architecture.name());
        self.describe(&metadata);
        // SAFETY: no arguments, returns a plain struct.
        let params = unsafe { sys::llama_model_default_params() };
        let seed = self.seed;
        forget_log();
        // SAFETY: the metadata outlives the call; `fill` matches the callback's type, never
        // unwinds, and its user data is a u64 that outlives the call.
        let raw = unsafe {
            sys::llama_model_init_from_user(
                metadata.raw,
                Some(fill),
                (&raw const seed).cast_mut().cast(),
                params,
            )
        };
        if raw.is_null() {
            return Err(RuntimeError::Synthetic(reason()));
        }
        let name = format!("synthetic-{}", self.architecture.name());
        // SAFETY: not null, and nothing else frees it.
        Ok(unsafe { Model::from_pointer(raw, &name) })
    }

    fn describe(&self, m: &Metadata) {
        let arch = self.architecture;
        m.string("general.architecture", arch.name());
        m.string("general.name", &format!("synthetic-{}", arch.name()));
        m.u32("context_length", self.n_ctx);
        m.u32("embedding_length", WIDTH);
        m.u32("block_count", self.n_layer);
        match self.vocabulary {
            Vocabulary::None => {
                m.string("tokenizer.ggml.model", "none");
                m.u32("vocab_size", IDS);
            }
            Vocabulary::Bytes => {
                m.byte_vocabulary();
                m.u32("vocab_size", BYTE_IDS);
            }
        }
        if !self.causal {
            m.bool("attention.causal", false);
        }
        if arch.has_layer_norm() {
            m.f32("attention.layer_norm_epsilon", 1e-5);
        } else {
            m.f32("attention.layer_norm_rms_epsilon", 1e-5);
        }
        if arch.has_attention() {
            m.u32("feed_forward_length", 2 * WIDTH);
            m.u32("attention.head_count", self.n_head);
            m.u32("attention.head_count_kv", self.n_head / 2);
        }
        match arch {
            Architecture::Gemma3 => {
                m.u32("attention.key_length", 32);
                m.u32("attention.value_length", 32);
                m.u32("attention.sliding_window", 8);
                m.u32("attention.sliding_window_pattern", 2);
            }
            Architecture::LlamaExperts => {
                m.u32("expert_count", 4);
                m.u32("expert_used_count", 2);
            }
            Architecture::Phi2 => m.u32("rope.dimension_count", 8),
            Architecture::Mamba => {
                m.u32("ssm.conv_kernel", 4);
                m.u32("ssm.inner_size", 2 * WIDTH);
                m.u32("ssm.state_size", 16);
                m.u32("ssm.time_step_rank", 4);
            }
            _ => {}
        }
    }
}

/// GGUF metadata under construction. Keys without a known prefix are the architecture's.
struct Metadata {
    raw: *mut sys::gguf_context,
    architecture: &'static str,
}

impl Metadata {
    fn new(architecture: &'static str) -> Self {
        Self {
            // SAFETY: no arguments; freed in `drop`.
            raw: unsafe { sys::gguf_init_empty() },
            architecture,
        }
    }

    fn key(&self, key: &str) -> CString {
        let full = if key.starts_with("general.") || key.starts_with("tokenizer.") {
            key.to_string()
        } else {
            format!("{}.{key}", self.architecture)
        };
        CString::new(full).expect("keys hold no NUL")
    }

    fn string(&self, key: &str, value: &str) {
        let value = CString::new(value).expect("values hold no NUL");
        // SAFETY: both strings are NUL-terminated; gguf copies them.
        unsafe { sys::gguf_set_val_str(self.raw, self.key(key).as_ptr(), value.as_ptr()) };
    }

    fn u32(&self, key: &str, value: u32) {
        // SAFETY: the key is NUL-terminated; gguf copies it.
        unsafe { sys::gguf_set_val_u32(self.raw, self.key(key).as_ptr(), value) };
    }

    fn bool(&self, key: &str, value: bool) {
        // SAFETY: the key is NUL-terminated; gguf copies it.
        unsafe { sys::gguf_set_val_bool(self.raw, self.key(key).as_ptr(), value) };
    }

    fn f32(&self, key: &str, value: f32) {
        // SAFETY: the key is NUL-terminated; gguf copies it.
        unsafe { sys::gguf_set_val_f32(self.raw, self.key(key).as_ptr(), value) };
    }

    fn byte_vocabulary(&self) {
        let mut tokens = vec!["<unk>".to_string(), "<s>".into(), "</s>".into()];
        tokens.extend((0..256).map(|b| format!("<0x{b:02X}>")));
        tokens.push("\u{2581}".into());
        // 2 unknown, 3 control, 6 byte, 1 normal (llama_token_type).
        let mut types = vec![2i32, 3, 3];
        types.extend([6; 256]);
        types.push(1);
        let scores = vec![0f32; tokens.len()];
        let tokens: Vec<CString> = tokens
            .into_iter()
            .map(|t| CString::new(t).expect("no NUL"))
            .collect();
        let mut pointers: Vec<*const std::ffi::c_char> =
            tokens.iter().map(|t| t.as_ptr()).collect();
        self.string("tokenizer.ggml.model", "llama");
        let key = self.key("tokenizer.ggml.tokens");
        // SAFETY: the pointers are NUL-terminated strings that live for the call; gguf copies.
        unsafe {
            sys::gguf_set_arr_str(
                self.raw,
                key.as_ptr(),
                pointers.as_mut_ptr().cast(),
                tokens.len(),
            );
        }
        let key = self.key("tokenizer.ggml.token_type");
        // SAFETY: the array has the length given, of i32; gguf copies.
        unsafe {
            sys::gguf_set_arr_data(
                self.raw,
                key.as_ptr(),
                sys::GGUF_TYPE_INT32,
                types.as_ptr().cast(),
                types.len(),
            );
        }
        let key = self.key("tokenizer.ggml.scores");
        // SAFETY: the array has the length given, of f32; gguf copies.
        unsafe {
            sys::gguf_set_arr_data(
                self.raw,
                key.as_ptr(),
                sys::GGUF_TYPE_FLOAT32,
                scores.as_ptr().cast(),
                scores.len(),
            );
        }
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        // SAFETY: made by gguf_init_empty, freed once; llama.cpp does not keep it.
        unsafe { sys::gguf_free(self.raw) };
    }
}

/// Fills one tensor, seeded by its name so that the order of calls does not matter.
unsafe extern "C" fn fill(tensor: *mut sys::ggml_tensor, user_data: *mut c_void) {
    // SAFETY: the user data is the seed that `build` passed.
    let seed = unsafe { *user_data.cast::<u64>() };
    // SAFETY: llama.cpp passes a live tensor with allocated memory.
    let t = unsafe { &*tensor };
    // SAFETY: ggml keeps names NUL-terminated.
    let name = unsafe { CStr::from_ptr(t.name.as_ptr()) }.to_string_lossy();
    let n: i64 = t.ne.iter().product();
    let values = weights(&name, seed, n as usize, t.ne[0] as usize);
    if t.type_ == sys::GGML_TYPE_F32 {
        // SAFETY: the tensor holds n f32, as many as `values`.
        unsafe {
            sys::ggml_backend_tensor_set(
                tensor,
                values.as_ptr().cast(),
                0,
                values.len() * size_of::<f32>(),
            );
        }
    }
}

fn weights(name: &str, seed: u64, n: usize, width: usize) -> Vec<f32> {
    // FNV-1a, so that a tensor's weights depend on its name and the seed alone.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut rng = ChaCha8Rng::seed_from_u64(hash ^ seed.rotate_left(32));
    let shape = |x: f32| -> f32 {
        if name.ends_with(".scale") || name.ends_with("input_scale") || name.contains("rope") {
            1.0
        } else if name.contains("norm") && name.ends_with("weight") {
            1.0 + 0.1 * x
        } else if name.ends_with(".bias") {
            0.05 * x
        } else if name.contains("token_embd") || name.contains("position_embd") {
            0.5 * x
        } else if name.contains("ssm_a") {
            -(0.5 + x.abs())
        } else {
            x / (width as f32).sqrt()
        }
    };
    (0..n)
        .map(|_| shape(StandardNormal.sample(&mut rng)))
        .collect()
}
