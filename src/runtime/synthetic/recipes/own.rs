//! One for each structural variant with attention.

use super::groups::{
    EXPERTS, GRANITE_FACTORS, LATENT, LEADING_SHARED_EXPERTS, PART_ROTATED, SHARED, SIXTEEN,
    SMALL_EXPERTS, WIDE_HEADS, WINDOWS,
};
use crate::runtime::synthetic::metadata::Value::{Bool, Each, F32, LayersBut, Odd, U32};
use crate::runtime::synthetic::metadata::WIDTH;
use crate::runtime::synthetic::recipe::{Caches, Heads, Recipe, layer_norms, rms_norms};

pub const LLAMA_EXPERTS: Recipe = Recipe {
    name: "llama-experts",
    metadata: &[EXPERTS],
    ..rms_norms("llama")
};

pub const MISTRAL3: Recipe = Recipe {
    metadata: &[&[
        ("attention.temperature_scale", F32(0.5)),
        ("rope.scaling.original_context_length", U32(8)),
    ]],
    ..rms_norms("mistral3")
};

pub const QWEN2_EXPERTS: Recipe = Recipe {
    metadata: &[SMALL_EXPERTS, SHARED],
    ..rms_norms("qwen2moe")
};

pub const QWEN3_EXPERTS: Recipe = Recipe {
    metadata: &[SMALL_EXPERTS],
    ..rms_norms("qwen3moe")
};

pub const GEMMA2: Recipe = Recipe {
    metadata: &[
        WIDE_HEADS,
        &[
            ("attention.sliding_window", U32(8)),
            ("attn_logit_softcapping", F32(3.0)),
            ("final_logit_softcapping", F32(5.0)),
        ],
    ],
    ..rms_norms("gemma2")
};

pub const GEMMA3: Recipe = Recipe {
    metadata: &[WINDOWS, WIDE_HEADS],
    ..rms_norms("gemma3")
};

pub const GEMMA4: Recipe = Recipe {
    caches: Caches::Lowest(2),
    metadata: &[
        SMALL_EXPERTS,
        WIDE_HEADS,
        &[
            ("attention.key_length_swa", U32(32)),
            ("attention.value_length_swa", U32(32)),
            ("attention.sliding_window", U32(8)),
            ("attention.sliding_window_pattern", Odd(false)),
            ("attention.shared_kv_layers", LayersBut(2)),
            ("embedding_length_per_layer_input", U32(0)),
        ],
    ],
    ..rms_norms("gemma4")
};

pub const OLMOE: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[EXPERTS],
    ..rms_norms("olmoe")
};

pub const GPTNEOX: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[PART_ROTATED, &[("use_parallel_residual", Bool(true))]],
    ..layer_norms("gptneox")
};

pub const GPTNEOX_SEQUENTIAL: Recipe = Recipe {
    name: "gptneox-sequential",
    heads: Heads::Own,
    metadata: &[PART_ROTATED, &[("use_parallel_residual", Bool(false))]],
    ..layer_norms("gptneox")
};

pub const PHI2: Recipe = Recipe {
    metadata: &[PART_ROTATED],
    ..layer_norms("phi2")
};

pub const FALCON: Recipe = Recipe {
    heads: Heads::Single,
    ..layer_norms("falcon")
};

pub const COMMAND_R: Recipe = Recipe {
    metadata: &[&[("logit_scale", F32(0.25))]],
    ..layer_norms("command-r")
};

pub const COHERE2: Recipe = Recipe {
    metadata: &[WINDOWS, &[("logit_scale", F32(0.25))]],
    ..layer_norms("cohere2")
};

pub const BLOOM: Recipe = Recipe {
    heads: Heads::Own,
    ..layer_norms("bloom")
};

pub const MPT: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[&[
        ("attention.max_alibi_bias", F32(8.0)),
        ("attention.clamp_kqv", F32(1.0)),
    ]],
    ..layer_norms("mpt")
};

pub const GLM4: Recipe = Recipe {
    metadata: &[PART_ROTATED],
    ..rms_norms("glm4")
};

pub const GRANITE: Recipe = Recipe {
    metadata: &[GRANITE_FACTORS, &[("rope.scaling.finetuned", Bool(true))]],
    ..rms_norms("granite")
};

pub const MINICPM: Recipe = Recipe {
    metadata: &[&[("logit_scale", F32(1.0)), ("embedding_scale", F32(2.0))]],
    ..rms_norms("minicpm")
};

pub const GPT_OSS: Recipe = Recipe {
    metadata: &[SMALL_EXPERTS, WINDOWS],
    ..rms_norms("gpt-oss")
};

pub const DEEPSEEK2: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[
        LEADING_SHARED_EXPERTS,
        WIDE_HEADS,
        PART_ROTATED,
        &[
            ("attention.q_lora_rank", U32(32)),
            ("attention.kv_lora_rank", U32(32)),
            ("expert_weights_scale", F32(1.5)),
        ],
    ],
    ..rms_norms("deepseek2")
};

pub const DEEPSEEK2_LATENT: Recipe = Recipe {
    name: "deepseek2-latent",
    heads: Heads::Single,
    metadata: &[
        LEADING_SHARED_EXPERTS,
        LATENT,
        &[("attention.q_lora_rank", U32(32))],
    ],
    ..rms_norms("deepseek2")
};

pub const OPENELM: Recipe = Recipe {
    metadata: &[
        SIXTEEN,
        &[
            (
                "attention.head_count",
                Each(|l| [4, 4, 8, 8][l as usize % 4]),
            ),
            (
                "attention.head_count_kv",
                Each(|l| [1, 1, 2, 2][l as usize % 4]),
            ),
            ("feed_forward_length", Each(|l| WIDTH + 32 * (l % 4))),
        ],
    ],
    ..rms_norms("openelm")
};

pub const DECI: Recipe = Recipe {
    caches: Caches::Outer,
    metadata: &[
        SIXTEEN,
        &[
            (
                "attention.head_count",
                Each(|l| [4, 0, 0, 4][l as usize % 4]),
            ),
            (
                "attention.head_count_kv",
                Each(|l| [2, 0, 0, 2][l as usize % 4]),
            ),
            (
                "feed_forward_length",
                Each(|l| [128, 128, 0, 128][l as usize % 4]),
            ),
        ],
    ],
    ..rms_norms("deci")
};

pub const DECI_LINEAR: Recipe = Recipe {
    name: "deci-linear",
    caches: Caches::Outer,
    metadata: &[
        SIXTEEN,
        &[
            (
                "attention.head_count",
                Each(|l| [4, 0, 4, 4][l as usize % 4]),
            ),
            (
                "attention.head_count_kv",
                Each(|l| [2, 0, 0, 2][l as usize % 4]),
            ),
            (
                "feed_forward_length",
                Each(|l| [128, 0, 128, 128][l as usize % 4]),
            ),
        ],
    ],
    ..rms_norms("deci")
};

pub const GEMMA4_PER_LAYER: Recipe = Recipe {
    name: "gemma4-per-layer",
    caches: Caches::Lowest(2),
    metadata: &[
        SMALL_EXPERTS,
        WIDE_HEADS,
        &[
            ("attention.key_length_swa", U32(32)),
            ("attention.value_length_swa", U32(32)),
            ("attention.sliding_window", U32(8)),
            ("attention.sliding_window_pattern", Odd(false)),
            ("attention.shared_kv_layers", LayersBut(2)),
            ("embedding_length_per_layer_input", U32(16)),
        ],
    ],
    ..rms_norms("gemma4")
};

pub const GEMMA3N: Recipe = Recipe {
    metadata: &[WIDE_HEADS, &[("attention.sliding_window", U32(8))]],
    ..rms_norms("gemma3n")
};
