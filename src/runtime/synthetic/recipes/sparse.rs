//! Attention that sees the tokens which an index chooses.

use super::groups::{INDEX, LATENT, LEADING_SHARED_EXPERTS, SIGMOID};
use crate::runtime::synthetic::metadata::Value::{F32, Odd, U32};
use crate::runtime::synthetic::recipe::{Group, Heads, Recipe, rms_norms};

/// Queries of latent attention by way of a few values.
const NARROW_QUERIES: Group = &[("attention.q_lora_rank", U32(32))];

/// Latent attention to chosen tokens, and experts.
const CHOSEN_LATENT: &[Group] = &[
    LEADING_SHARED_EXPERTS,
    SIGMOID,
    LATENT,
    INDEX,
    NARROW_QUERIES,
];

pub const DEEPSEEK32: Recipe = Recipe {
    heads: Heads::Single,
    metadata: CHOSEN_LATENT,
    ..rms_norms("deepseek32")
};

pub const GLM_DSA: Recipe = Recipe {
    heads: Heads::Single,
    metadata: CHOSEN_LATENT,
    ..rms_norms("glm-dsa")
};

pub const DOTS3_NOTE: Recipe = Recipe {
    heads: Heads::Single,
    metadata: &[
        LEADING_SHARED_EXPERTS,
        SIGMOID,
        LATENT,
        INDEX,
        NARROW_QUERIES,
        &[
            ("attention.indexer.types", Odd(false)),
            ("attention.sliding_window", U32(8)),
            ("attention.sliding_window_pattern", Odd(true)),
            ("attention.kv_lora_rank_swa", U32(32)),
            ("attention.key_length_mla_swa", U32(48)),
            ("attention.value_length_mla_swa", U32(16)),
            ("rope.freq_base_swa", F32(10000.0)),
        ],
    ],
    ..rms_norms("dots3note")
};

pub const MINIMAX_M3: Recipe = Recipe {
    metadata: &[
        LEADING_SHARED_EXPERTS,
        SIGMOID,
        &[
            ("attention.indexer.head_count", U32(2)),
            ("attention.indexer.key_length", U32(16)),
            ("attention.indexer.top_k", U32(4)),
            ("attention.indexer.block_size", U32(4)),
            ("attention.indexer.local_blocks", U32(1)),
        ],
    ],
    ..rms_norms("minimax-m3")
};
