//! One for each structural variant with attention.

use crate::runtime::synthetic::metadata::Value::{Bool, Each, F32, LayersBut, Odd, U32};
use crate::runtime::synthetic::metadata::WIDTH;
use crate::runtime::synthetic::recipe::{Caches, Heads, Recipe, layer_norms, rms_norms};

pub(in crate::runtime::synthetic) const LLAMA_EXPERTS: Recipe = Recipe {
    name: "llama-experts",
    metadata: &[("expert_count", U32(4)), ("expert_used_count", U32(2))],
    ..rms_norms("llama")
};

pub(in crate::runtime::synthetic) const MISTRAL3: Recipe = Recipe {
    metadata: &[
        ("attention.temperature_scale", F32(0.5)),
        ("rope.scaling.original_context_length", U32(8)),
    ],
    ..rms_norms("mistral3")
};

pub(in crate::runtime::synthetic) const QWEN2_EXPERTS: Recipe = Recipe {
    metadata: &[
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_shared_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("qwen2moe")
};

pub(in crate::runtime::synthetic) const QWEN3_EXPERTS: Recipe = Recipe {
    metadata: &[
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("qwen3moe")
};

pub(in crate::runtime::synthetic) const GEMMA2: Recipe = Recipe {
    metadata: &[
        ("attention.key_length", U32(32)),
        ("attention.value_length", U32(32)),
        ("attention.sliding_window", U32(8)),
        ("attn_logit_softcapping", F32(3.0)),
        ("final_logit_softcapping", F32(5.0)),
    ],
    ..rms_norms("gemma2")
};

pub(in crate::runtime::synthetic) const GEMMA3: Recipe = Recipe {
    metadata: &[
        ("attention.key_length", U32(32)),
        ("attention.value_length", U32(32)),
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", U32(2)),
    ],
    ..rms_norms("gemma3")
};

pub(in crate::runtime::synthetic) const GEMMA4: Recipe = Recipe {
    caches: Caches::Lowest(2),
    metadata: &[
        ("attention.key_length", U32(32)),
        ("attention.value_length", U32(32)),
        ("attention.key_length_swa", U32(32)),
        ("attention.value_length_swa", U32(32)),
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", Odd(false)),
        ("attention.shared_kv_layers", LayersBut(2)),
        ("embedding_length_per_layer_input", U32(0)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("gemma4")
};

pub(in crate::runtime::synthetic) const OLMOE: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[("expert_count", U32(4)), ("expert_used_count", U32(2))],
    ..rms_norms("olmoe")
};

pub(in crate::runtime::synthetic) const GPTNEOX: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[
        ("use_parallel_residual", Bool(true)),
        ("rope.dimension_count", U32(8)),
    ],
    ..layer_norms("gptneox")
};

pub(in crate::runtime::synthetic) const GPTNEOX_SEQUENTIAL: Recipe = Recipe {
    name: "gptneox-sequential",
    heads: Heads::Own,
    metadata: &[
        ("use_parallel_residual", Bool(false)),
        ("rope.dimension_count", U32(8)),
    ],
    ..layer_norms("gptneox")
};

pub(in crate::runtime::synthetic) const PHI2: Recipe = Recipe {
    metadata: &[("rope.dimension_count", U32(8))],
    ..layer_norms("phi2")
};

pub(in crate::runtime::synthetic) const FALCON: Recipe = Recipe {
    heads: Heads::Single,
    ..layer_norms("falcon")
};

pub(in crate::runtime::synthetic) const COMMAND_R: Recipe = Recipe {
    metadata: &[("logit_scale", F32(0.25))],
    ..layer_norms("command-r")
};

pub(in crate::runtime::synthetic) const COHERE2: Recipe = Recipe {
    metadata: &[
        ("logit_scale", F32(0.25)),
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", U32(2)),
    ],
    ..layer_norms("cohere2")
};

pub(in crate::runtime::synthetic) const BLOOM: Recipe = Recipe {
    heads: Heads::Own,
    ..layer_norms("bloom")
};

pub(in crate::runtime::synthetic) const MPT: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[
        ("attention.max_alibi_bias", F32(8.0)),
        ("attention.clamp_kqv", F32(1.0)),
    ],
    ..layer_norms("mpt")
};

pub(in crate::runtime::synthetic) const GLM4: Recipe = Recipe {
    metadata: &[("rope.dimension_count", U32(8))],
    ..rms_norms("glm4")
};

pub(in crate::runtime::synthetic) const GRANITE: Recipe = Recipe {
    metadata: &[
        ("logit_scale", F32(1.5)),
        ("residual_scale", F32(0.5)),
        ("embedding_scale", F32(3.0)),
        ("attention.scale", F32(0.2)),
        ("rope.scaling.finetuned", Bool(true)),
    ],
    ..rms_norms("granite")
};

pub(in crate::runtime::synthetic) const MINICPM: Recipe = Recipe {
    metadata: &[("logit_scale", F32(1.0)), ("embedding_scale", F32(2.0))],
    ..rms_norms("minicpm")
};

pub(in crate::runtime::synthetic) const GPT_OSS: Recipe = Recipe {
    metadata: &[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", U32(2)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("gpt-oss")
};

pub(in crate::runtime::synthetic) const DEEPSEEK2: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[
        ("attention.key_length", U32(32)),
        ("attention.value_length", U32(32)),
        ("attention.q_lora_rank", U32(32)),
        ("attention.kv_lora_rank", U32(32)),
        ("rope.dimension_count", U32(8)),
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_shared_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_weights_scale", F32(1.5)),
    ],
    ..rms_norms("deepseek2")
};

pub(in crate::runtime::synthetic) const DEEPSEEK2_LATENT: Recipe = Recipe {
    name: "deepseek2-latent",
    heads: Heads::Single,
    metadata: &[
        ("attention.key_length", U32(64)),
        ("attention.value_length", U32(32)),
        ("attention.key_length_mla", U32(48)),
        ("attention.value_length_mla", U32(16)),
        ("attention.q_lora_rank", U32(32)),
        ("attention.kv_lora_rank", U32(32)),
        ("rope.dimension_count", U32(32)),
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_shared_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("deepseek2")
};

pub(in crate::runtime::synthetic) const OPENELM: Recipe = Recipe {
    metadata: &[
        (
            "attention.head_count",
            Each(|l| [4, 4, 8, 8][l as usize % 4]),
        ),
        (
            "attention.head_count_kv",
            Each(|l| [1, 1, 2, 2][l as usize % 4]),
        ),
        ("feed_forward_length", Each(|l| WIDTH + 32 * (l % 4))),
        ("attention.key_length", U32(16)),
        ("attention.value_length", U32(16)),
        ("rope.dimension_count", U32(16)),
    ],
    ..rms_norms("openelm")
};

pub(in crate::runtime::synthetic) const DECI: Recipe = Recipe {
    caches: Caches::Outer,
    metadata: &[
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
        ("attention.key_length", U32(16)),
        ("attention.value_length", U32(16)),
        ("rope.dimension_count", U32(16)),
    ],
    ..rms_norms("deci")
};

pub(in crate::runtime::synthetic) const DECI_LINEAR: Recipe = Recipe {
    name: "deci-linear",
    caches: Caches::Outer,
    metadata: &[
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
        ("attention.key_length", U32(16)),
        ("attention.value_length", U32(16)),
        ("rope.dimension_count", U32(16)),
    ],
    ..rms_norms("deci")
};

pub(in crate::runtime::synthetic) const GEMMA4_PER_LAYER: Recipe = Recipe {
    name: "gemma4-per-layer",
    caches: Caches::Lowest(2),
    metadata: &[
        ("attention.key_length", U32(32)),
        ("attention.value_length", U32(32)),
        ("attention.key_length_swa", U32(32)),
        ("attention.value_length_swa", U32(32)),
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", Odd(false)),
        ("attention.shared_kv_layers", LayersBut(2)),
        ("embedding_length_per_layer_input", U32(16)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("gemma4")
};

pub(in crate::runtime::synthetic) const GEMMA3N: Recipe = Recipe {
    metadata: &[
        ("attention.key_length", U32(32)),
        ("attention.value_length", U32(32)),
        ("attention.sliding_window", U32(8)),
    ],
    ..rms_norms("gemma3n")
};
