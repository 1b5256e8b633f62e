//! The same, with experts.

use super::groups::{
    AXES, DELTA_NETS, EXPERTS, GRANITE_FACTORS, LATENT, LEADING, LEADING_SHARED_EXPERTS,
    PART_ROTATED, SHARED, SIGMOID, SMALL_EXPERTS, WINDOWS, WINDOWS_LISTED,
};
use crate::runtime::synthetic::metadata::Value::{F32, U32};
use crate::runtime::synthetic::metadata::WIDTH;
use crate::runtime::synthetic::recipe::{Caches, Heads, Recipe, layer_norms, rms_norms};

pub const LLAMA4: Recipe = Recipe {
    metadata: &[&[
        ("expert_count", U32(4)),
        ("expert_used_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("interleave_moe_layer_step", U32(2)),
        ("attention.sliding_window", U32(8)),
    ]],
    ..rms_norms("llama4")
};

pub const GROK: Recipe = Recipe {
    metadata: &[EXPERTS],
    ..rms_norms("grok")
};

pub const PHI_EXPERTS: Recipe = Recipe {
    metadata: &[EXPERTS],
    ..rms_norms("phimoe")
};

pub const COHERE2_EXPERTS: Recipe = Recipe {
    metadata: &[
        SMALL_EXPERTS,
        LEADING,
        WINDOWS,
        &[("logit_scale", F32(0.25))],
    ],
    ..layer_norms("cohere2moe")
};

pub const DBRX: Recipe = Recipe {
    metadata: &[EXPERTS, &[("attention.clamp_kqv", F32(1.0))]],
    ..layer_norms("dbrx")
};

pub const ARCTIC: Recipe = Recipe {
    metadata: &[EXPERTS],
    ..rms_norms("arctic")
};

pub const DEEPSEEK: Recipe = Recipe {
    metadata: &[LEADING_SHARED_EXPERTS],
    ..rms_norms("deepseek")
};

pub const GLM4_EXPERTS: Recipe = Recipe {
    metadata: &[LEADING_SHARED_EXPERTS, PART_ROTATED],
    ..rms_norms("glm4moe")
};

pub const EXAONE_EXPERTS: Recipe = Recipe {
    metadata: &[LEADING_SHARED_EXPERTS, SIGMOID, WINDOWS],
    ..rms_norms("exaone-moe")
};

pub const GRANITE_EXPERTS: Recipe = Recipe {
    metadata: &[EXPERTS, GRANITE_FACTORS],
    ..rms_norms("granitemoe")
};

pub const BAILING_EXPERTS: Recipe = Recipe {
    metadata: &[LEADING_SHARED_EXPERTS],
    ..rms_norms("bailingmoe")
};

pub const BAILING_EXPERTS2: Recipe = Recipe {
    metadata: &[LEADING_SHARED_EXPERTS, SIGMOID],
    ..rms_norms("bailingmoe2")
};

pub const DOTS1: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[LEADING_SHARED_EXPERTS, SIGMOID],
    ..rms_norms("dots1")
};

pub const AFMOE: Recipe = Recipe {
    metadata: &[LEADING_SHARED_EXPERTS, WINDOWS],
    ..rms_norms("afmoe")
};

pub const ERNIE45_EXPERTS: Recipe = Recipe {
    metadata: &[
        SMALL_EXPERTS,
        LEADING,
        &[("interleave_moe_layer_step", U32(1))],
    ],
    ..rms_norms("ernie4_5-moe")
};

pub const HUNYUAN_EXPERTS: Recipe = Recipe {
    metadata: &[SMALL_EXPERTS, SHARED],
    ..rms_norms("hunyuan-moe")
};

pub const LFM2_EXPERTS: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[
        SMALL_EXPERTS,
        LEADING,
        SIGMOID,
        &[("shortconv.l_cache", U32(3))],
    ],
    ..rms_norms("lfm2moe")
};

pub const GROVEMOE: Recipe = Recipe {
    metadata: &[
        SMALL_EXPERTS,
        &[
            ("expert_chunk_feed_forward_length", U32(32)),
            ("expert_group_scale", F32(0.5)),
            ("experts_per_group", U32(2)),
        ],
    ],
    ..rms_norms("grovemoe")
};

pub const MINIMAX_M2: Recipe = Recipe {
    metadata: &[SMALL_EXPERTS, SIGMOID],
    ..rms_norms("minimax-m2")
};

pub const MINIMAX01: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[
        EXPERTS,
        &[
            ("residual_scale", F32(1.0)),
            ("full_attention_interval", U32(2)),
        ],
    ],
    ..rms_norms("minimax-01")
};

pub const MISTRAL4: Recipe = Recipe {
    heads: Heads::Single,
    metadata: &[
        LEADING_SHARED_EXPERTS,
        LATENT,
        &[("attention.q_lora_rank", U32(32))],
    ],
    ..rms_norms("mistral4")
};

pub const MIMO2: Recipe = Recipe {
    metadata: &[SMALL_EXPERTS, WINDOWS_LISTED],
    ..rms_norms("mimo2")
};

pub const MELLUM: Recipe = Recipe {
    metadata: &[SMALL_EXPERTS, WINDOWS],
    ..rms_norms("mellum")
};

pub const QWEN35_EXPERTS: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[SMALL_EXPERTS, SHARED, DELTA_NETS, AXES],
    ..rms_norms("qwen35moe")
};

pub const LAGUNA: Recipe = Recipe {
    metadata: &[SMALL_EXPERTS, LEADING],
    ..rms_norms("laguna")
};

pub const HY_V3: Recipe = Recipe {
    metadata: &[SMALL_EXPERTS, SHARED],
    ..rms_norms("hy_v3")
};

pub const MAPLE: Recipe = Recipe {
    metadata: &[
        SMALL_EXPERTS,
        WINDOWS_LISTED,
        &[("swiglu_clamp_exp", F32(7.0))],
    ],
    ..rms_norms("maple")
};

pub const QWEN3_VL_EXPERTS: Recipe = Recipe {
    metadata: &[SMALL_EXPERTS, AXES],
    ..rms_norms("qwen3vlmoe")
};

pub const STEP35: Recipe = Recipe {
    metadata: &[SMALL_EXPERTS, SHARED, WINDOWS_LISTED],
    ..rms_norms("step35")
};

pub const SMALLTHINKER: Recipe = Recipe {
    metadata: &[
        SMALL_EXPERTS,
        SIGMOID,
        &[("attention.sliding_window", U32(8))],
    ],
    ..rms_norms("smallthinker")
};

pub const DEEPSEEK2_OCR: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[LEADING_SHARED_EXPERTS],
    ..rms_norms("deepseek2-ocr")
};
