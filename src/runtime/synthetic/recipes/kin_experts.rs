//! The same, with experts.

use crate::runtime::synthetic::metadata::Value::{F32, Four, Odd, U32};
use crate::runtime::synthetic::metadata::WIDTH;
use crate::runtime::synthetic::recipe::{Caches, Heads, Recipe, layer_norms, rms_norms};

pub(in crate::runtime::synthetic) const LLAMA4: Recipe = Recipe {
    metadata: &[
        ("expert_count", U32(4)),
        ("expert_used_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("interleave_moe_layer_step", U32(2)),
        ("attention.sliding_window", U32(8)),
    ],
    ..rms_norms("llama4")
};

pub(in crate::runtime::synthetic) const GROK: Recipe = Recipe {
    metadata: &[("expert_count", U32(4)), ("expert_used_count", U32(2))],
    ..rms_norms("grok")
};

pub(in crate::runtime::synthetic) const PHI_EXPERTS: Recipe = Recipe {
    metadata: &[("expert_count", U32(4)), ("expert_used_count", U32(2))],
    ..rms_norms("phimoe")
};

pub(in crate::runtime::synthetic) const COHERE2_EXPERTS: Recipe = Recipe {
    metadata: &[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", U32(2)),
        ("logit_scale", F32(0.25)),
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..layer_norms("cohere2moe")
};

pub(in crate::runtime::synthetic) const DBRX: Recipe = Recipe {
    metadata: &[
        ("attention.clamp_kqv", F32(1.0)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
    ],
    ..layer_norms("dbrx")
};

pub(in crate::runtime::synthetic) const ARCTIC: Recipe = Recipe {
    metadata: &[("expert_count", U32(4)), ("expert_used_count", U32(2))],
    ..rms_norms("arctic")
};

pub(in crate::runtime::synthetic) const DEEPSEEK: Recipe = Recipe {
    metadata: &[
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_shared_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("deepseek")
};

pub(in crate::runtime::synthetic) const GLM4_EXPERTS: Recipe = Recipe {
    metadata: &[
        ("rope.dimension_count", U32(8)),
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_shared_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("glm4moe")
};

pub(in crate::runtime::synthetic) const EXAONE_EXPERTS: Recipe = Recipe {
    metadata: &[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", U32(2)),
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_shared_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_gating_func", U32(2)),
    ],
    ..rms_norms("exaone-moe")
};

pub(in crate::runtime::synthetic) const GRANITE_EXPERTS: Recipe = Recipe {
    metadata: &[
        ("logit_scale", F32(1.5)),
        ("residual_scale", F32(0.5)),
        ("embedding_scale", F32(3.0)),
        ("attention.scale", F32(0.2)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
    ],
    ..rms_norms("granitemoe")
};

pub(in crate::runtime::synthetic) const BAILING_EXPERTS: Recipe = Recipe {
    metadata: &[
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_shared_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("bailingmoe")
};

pub(in crate::runtime::synthetic) const BAILING_EXPERTS2: Recipe = Recipe {
    metadata: &[
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_shared_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_gating_func", U32(2)),
    ],
    ..rms_norms("bailingmoe2")
};

pub(in crate::runtime::synthetic) const DOTS1: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_shared_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_gating_func", U32(2)),
    ],
    ..rms_norms("dots1")
};

pub(in crate::runtime::synthetic) const AFMOE: Recipe = Recipe {
    metadata: &[
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_shared_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", U32(2)),
    ],
    ..rms_norms("afmoe")
};

pub(in crate::runtime::synthetic) const ERNIE45_EXPERTS: Recipe = Recipe {
    metadata: &[
        ("leading_dense_block_count", U32(1)),
        ("interleave_moe_layer_step", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("ernie4_5-moe")
};

pub(in crate::runtime::synthetic) const HUNYUAN_EXPERTS: Recipe = Recipe {
    metadata: &[
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_shared_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("hunyuan-moe")
};

pub(in crate::runtime::synthetic) const LFM2_EXPERTS: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[
        ("shortconv.l_cache", U32(3)),
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_gating_func", U32(2)),
    ],
    ..rms_norms("lfm2moe")
};

pub(in crate::runtime::synthetic) const GROVEMOE: Recipe = Recipe {
    metadata: &[
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_chunk_feed_forward_length", U32(32)),
        ("expert_group_scale", F32(0.5)),
        ("experts_per_group", U32(2)),
    ],
    ..rms_norms("grovemoe")
};

pub(in crate::runtime::synthetic) const MINIMAX_M2: Recipe = Recipe {
    metadata: &[
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_gating_func", U32(2)),
    ],
    ..rms_norms("minimax-m2")
};

pub(in crate::runtime::synthetic) const MINIMAX01: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[
        ("residual_scale", F32(1.0)),
        ("full_attention_interval", U32(2)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
    ],
    ..rms_norms("minimax-01")
};

pub(in crate::runtime::synthetic) const MISTRAL4: Recipe = Recipe {
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
    ..rms_norms("mistral4")
};

pub(in crate::runtime::synthetic) const MIMO2: Recipe = Recipe {
    metadata: &[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", Odd(true)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("mimo2")
};

pub(in crate::runtime::synthetic) const MELLUM: Recipe = Recipe {
    metadata: &[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", U32(2)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("mellum")
};

pub(in crate::runtime::synthetic) const QWEN35_EXPERTS: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[
        ("rope.dimension_sections", Four([3, 3, 2, 0])),
        ("full_attention_interval", U32(2)),
        ("ssm.conv_kernel", U32(4)),
        ("ssm.inner_size", U32(WIDTH)),
        ("ssm.state_size", U32(16)),
        ("ssm.time_step_rank", U32(4)),
        ("ssm.group_count", U32(2)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_shared_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("qwen35moe")
};

pub(in crate::runtime::synthetic) const LAGUNA: Recipe = Recipe {
    metadata: &[
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("laguna")
};

pub(in crate::runtime::synthetic) const HY_V3: Recipe = Recipe {
    metadata: &[
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_shared_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("hy_v3")
};

pub(in crate::runtime::synthetic) const MAPLE: Recipe = Recipe {
    metadata: &[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", Odd(true)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("swiglu_clamp_exp", F32(7.0)),
    ],
    ..rms_norms("maple")
};

pub(in crate::runtime::synthetic) const QWEN3_VL_EXPERTS: Recipe = Recipe {
    metadata: &[
        ("rope.dimension_sections", Four([3, 3, 2, 0])),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("qwen3vlmoe")
};

pub(in crate::runtime::synthetic) const STEP35: Recipe = Recipe {
    metadata: &[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", Odd(true)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_shared_feed_forward_length", U32(WIDTH)),
    ],
    ..rms_norms("step35")
};
