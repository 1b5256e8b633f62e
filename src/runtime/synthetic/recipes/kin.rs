//! Further architectures, put together as others are.

use crate::runtime::synthetic::metadata::Value::{F32, Four, Odd, U32};
use crate::runtime::synthetic::metadata::WIDTH;
use crate::runtime::synthetic::recipe::{Caches, Heads, Recipe, layer_norms, rms_norms};

pub(in crate::runtime::synthetic) const BAICHUAN: Recipe = Recipe {
    heads: Heads::Own,
    ..rms_norms("baichuan")
};

pub(in crate::runtime::synthetic) const STARCODER: Recipe = Recipe {
    heads: Heads::Single,
    ..layer_norms("starcoder")
};

pub(in crate::runtime::synthetic) const REFACT: Recipe = Recipe {
    heads: Heads::Single,
    ..rms_norms("refact")
};

pub(in crate::runtime::synthetic) const QWEN: Recipe = Recipe {
    heads: Heads::Own,
    ..rms_norms("qwen")
};

pub(in crate::runtime::synthetic) const PLAMO3: Recipe = Recipe {
    metadata: &[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", U32(2)),
    ],
    ..rms_norms("plamo3")
};

pub(in crate::runtime::synthetic) const MINICPM3: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[
        ("attention.q_lora_rank", U32(32)),
        ("attention.kv_lora_rank", U32(32)),
        ("attention.key_length", U32(24)),
        ("attention.value_length", U32(16)),
        ("rope.dimension_count", U32(8)),
    ],
    ..rms_norms("minicpm3")
};

pub(in crate::runtime::synthetic) const GEMMA: Recipe = Recipe {
    heads: Heads::Single,
    metadata: &[
        ("attention.key_length", U32(32)),
        ("attention.value_length", U32(32)),
    ],
    ..rms_norms("gemma")
};

pub(in crate::runtime::synthetic) const MAMBA2: Recipe = Recipe {
    caches: Caches::None,
    heads: Heads::None,
    metadata: &[
        ("ssm.conv_kernel", U32(4)),
        ("ssm.inner_size", U32(2 * WIDTH)),
        ("ssm.state_size", U32(16)),
        ("ssm.time_step_rank", U32(4)),
        ("ssm.group_count", U32(1)),
    ],
    ..rms_norms("mamba2")
};

pub(in crate::runtime::synthetic) const XVERSE: Recipe = Recipe {
    heads: Heads::Own,
    ..rms_norms("xverse")
};

pub(in crate::runtime::synthetic) const OLMO: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[("attention.clamp_kqv", F32(1.0))],
    ..layer_norms("olmo")
};

pub(in crate::runtime::synthetic) const CHATGLM: Recipe = Recipe {
    metadata: &[("rope.dimension_count", U32(8))],
    ..rms_norms("chatglm")
};

pub(in crate::runtime::synthetic) const JAIS: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[("attention.max_alibi_bias", F32(8.0))],
    ..layer_norms("jais")
};

pub(in crate::runtime::synthetic) const EXAONE4: Recipe = Recipe {
    metadata: &[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", U32(2)),
    ],
    ..rms_norms("exaone4")
};

pub(in crate::runtime::synthetic) const GRANITE_HYBRID: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[
        ("ssm.conv_kernel", U32(4)),
        ("ssm.inner_size", U32(2 * WIDTH)),
        ("ssm.state_size", U32(16)),
        ("ssm.time_step_rank", U32(4)),
        ("ssm.group_count", U32(1)),
    ],
    ..rms_norms("granitehybrid")
};

pub(in crate::runtime::synthetic) const NANBEIGE: Recipe = Recipe {
    metadata: &[("num_loops", U32(1))],
    ..rms_norms("nanbeige")
};

pub(in crate::runtime::synthetic) const SPARK25: Recipe = Recipe {
    metadata: &[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", Odd(true)),
    ],
    ..rms_norms("spark2_5")
};

pub(in crate::runtime::synthetic) const MUSE_GLIMMER: Recipe = Recipe {
    metadata: &[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", U32(2)),
        ("logit_scale", F32(0.5)),
    ],
    ..rms_norms("muse-glimmer")
};

pub(in crate::runtime::synthetic) const GRANITE_WINDOWS: Recipe = Recipe {
    metadata: &[
        ("logit_scale", F32(1.5)),
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", Odd(true)),
    ],
    ..rms_norms("granite_swa")
};

pub(in crate::runtime::synthetic) const QWEN3_VL: Recipe = Recipe {
    metadata: &[("rope.dimension_sections", Four([3, 3, 2, 0]))],
    ..rms_norms("qwen3vl")
};

pub(in crate::runtime::synthetic) const TALKIE: Recipe = Recipe {
    metadata: &[("logit_scale", F32(0.5))],
    ..rms_norms("talkie")
};
