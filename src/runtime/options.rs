//! How a context is made.

use std::fmt;
use std::str::FromStr;

use llama_cpp_sys_2 as sys;
use serde::{Deserialize, Serialize};

use super::{Stop, processors};
use crate::hook::Sabotage;

/// When flash attention is used (`-fa`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlashAttention {
    /// Never.
    Off,
    /// Always.
    On,
    /// Where the backend supports it.
    Auto,
}

/// Element type of the K or V cache (`-ctk`, `-ctv`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // ggml's type names
pub enum CacheType {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q5_1,
    Q5_0,
    Q4_1,
    Q4_0,
}

impl CacheType {
    const ALL: [(CacheType, &'static str, sys::ggml_type); 8] = [
        (CacheType::F32, "f32", sys::GGML_TYPE_F32),
        (CacheType::F16, "f16", sys::GGML_TYPE_F16),
        (CacheType::Bf16, "bf16", sys::GGML_TYPE_BF16),
        (CacheType::Q8_0, "q8_0", sys::GGML_TYPE_Q8_0),
        (CacheType::Q5_1, "q5_1", sys::GGML_TYPE_Q5_1),
        (CacheType::Q5_0, "q5_0", sys::GGML_TYPE_Q5_0),
        (CacheType::Q4_1, "q4_1", sys::GGML_TYPE_Q4_1),
        (CacheType::Q4_0, "q4_0", sys::GGML_TYPE_Q4_0),
    ];

    pub(super) fn entry(self) -> (CacheType, &'static str, sys::ggml_type) {
        Self::ALL[self as usize]
    }

    pub(super) fn is_quantized(self) -> bool {
        self as usize > CacheType::Bf16 as usize
    }
}

impl fmt::Display for CacheType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry().1)
    }
}

impl FromStr for CacheType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .find(|(_, name, _)| *name == text)
            .map(|(kind, _, _)| *kind)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(|(_, name, _)| *name).collect();
                format!(
                    "'{text}' is not a cache type; choose one of {}",
                    names.join(", ")
                )
            })
    }
}

/// How a context is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextOptions {
    /// Positions that fit (`-c`).
    pub n_ctx: u32,
    /// Rows in one decode (`-b`).
    pub n_batch: u32,
    /// Rows computed at once (`-ub`).
    pub n_ubatch: u32,
    /// Sequences that can be held at once.
    pub n_seq_max: u32,
    /// Threads (`-t`).
    pub threads: u32,
    /// Flash attention (`-fa`).
    pub flash_attention: FlashAttention,
    /// Type of the K cache (`-ctk`).
    pub cache_k: CacheType,
    /// Type of the V cache (`-ctv`).
    pub cache_v: CacheType,
    /// A fault to be found by the self-test; a run with one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sabotage: Option<Sabotage>,
    /// Asked before every decode.
    #[serde(skip)]
    pub stop: Stop,
}

impl Default for ContextOptions {
    /// 2048 positions, one sequence, a thread for each processor that the
    /// process has been given, F16 caches.
    fn default() -> Self {
        Self {
            n_ctx: 2048,
            n_batch: 2048,
            n_ubatch: 512,
            n_seq_max: 1,
            threads: processors().given,
            flash_attention: FlashAttention::Auto,
            cache_k: CacheType::F16,
            cache_v: CacheType::F16,
            sabotage: None,
            stop: Stop::default(),
        }
    }
}
