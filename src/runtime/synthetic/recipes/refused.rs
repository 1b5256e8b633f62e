//! Examples of what is refused as a whole.

use super::groups::{
    AXES, DELTA_NETS, INDEX, LATENT, LEADING_SHARED_EXPERTS, SHARED, SIGMOID, SMALL_EXPERTS, WKV7,
};
use super::recurrent::CHANNEL_GATES;
use crate::runtime::synthetic::metadata::Value::{Bool, Each, F32, Two, U32};
use crate::runtime::synthetic::recipe::{Caches, Group, Heads, Recipe, rms_norms};

/// Four residual streams at once.
const STREAMS: Group = &[
    ("hyper_connection.count", U32(4)),
    ("hyper_connection.epsilon", F32(1e-5)),
];

/// Each layer mixes them by a table that is brought into balance.
const BALANCED: Group = &[("hyper_connection.sinkhorn_iterations", U32(2))];

pub const ARWKV7: Recipe = Recipe {
    caches: Caches::None,
    heads: Heads::None,
    metadata: &[WKV7, &[("token_shift_count", U32(1))]],
    ..rms_norms("arwkv7")
};

pub const KIMI_K3: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[
        LEADING_SHARED_EXPERTS,
        SIGMOID,
        LATENT,
        CHANNEL_GATES,
        &[
            ("attn_res.block_size", U32(2)),
            ("activation.situ_beta", F32(1.0)),
            ("activation.situ_linear_beta", F32(1.0)),
        ],
    ],
    ..rms_norms("kimi-k3")
};

pub const HRM_TEXT: Recipe = Recipe {
    metadata: &[&[
        ("hrm.layers_per_stack", U32(1)),
        ("hrm.h_cycles", U32(2)),
        ("hrm.l_cycles", U32(1)),
    ]],
    ..rms_norms("hrm_text")
};

pub const HY_V4: Recipe = Recipe {
    heads: Heads::Single,
    metadata: &[
        LEADING_SHARED_EXPERTS,
        SIGMOID,
        LATENT,
        STREAMS,
        &[
            ("attention.q_lora_rank", U32(32)),
            ("hyper_connection.magnitude", F32(1.0)),
        ],
    ],
    ..rms_norms("hy_v4")
};

pub const DEEPSEEK4: Recipe = Recipe {
    heads: Heads::Single,
    metadata: &[
        SMALL_EXPERTS,
        STREAMS,
        BALANCED,
        INDEX,
        &[
            ("expert_shared_count", U32(1)),
            ("expert_weights_scale", F32(1.5)),
            ("expert_weights_norm", Bool(true)),
            ("expert_gating_func", U32(4)),
            ("swiglu_clamp_exp", F32(7.0)),
            ("attention.q_lora_rank", U32(32)),
            ("attention.sliding_window", U32(8)),
            ("attention.key_length", U32(32)),
            ("attention.value_length", U32(32)),
            ("rope.dimension_count", U32(16)),
            ("attention.output_group_count", U32(2)),
            ("attention.output_lora_rank", U32(16)),
            ("attention.compress_rope_freq_base", F32(10000.0)),
            (
                "attention.compress_ratios",
                Each(|l| [0, 0, 4, 128][l as usize % 4]),
            ),
            ("hash_layer_count", U32(0)),
        ],
    ],
    ..rms_norms("deepseek4")
};

pub const GLM5_NEXT: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[
        LEADING_SHARED_EXPERTS,
        SIGMOID,
        CHANNEL_GATES,
        STREAMS,
        BALANCED,
        INDEX,
        &[
            ("attention.key_length", U32(32)),
            ("attention.value_length", U32(32)),
            ("attention.key_length_mla", U32(16)),
            ("attention.value_length_mla", U32(16)),
            ("attention.kv_lora_rank", U32(32)),
            ("attention.indexer.kpool", U32(4)),
            ("rope.dimension_count", U32(0)),
        ],
    ],
    ..rms_norms("glm5-next")
};

pub const QWEN4_EXP: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[
        SMALL_EXPERTS,
        SHARED,
        DELTA_NETS,
        AXES,
        STREAMS,
        INDEX,
        &[("hyper_connection.low_rank", U32(8))],
    ],
    ..rms_norms("qwen4exp")
};

pub const GRANITE_SWITCH: Recipe = Recipe {
    metadata: &[&[
        ("logit_scale", F32(1.5)),
        ("adapters.count", U32(2)),
        ("adapters.lora_rank", U32(4)),
        ("adapters.token_ids_activate", Two([10, 11])),
        ("adapters.token_ids_substitute", Two([12, 13])),
    ]],
    ..rms_norms("graniteswitch")
};
