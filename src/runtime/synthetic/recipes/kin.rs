//! Further architectures, put together as others are.

use super::groups::{AXES, PART_ROTATED, STATE_SPACE, WIDE_HEADS, WINDOWS, WINDOWS_LISTED};
use crate::runtime::synthetic::metadata::Value::{F32, U32};
use crate::runtime::synthetic::recipe::{Caches, Heads, Recipe, layer_norms, rms_norms};

pub const BAICHUAN: Recipe = Recipe {
    heads: Heads::Own,
    ..rms_norms("baichuan")
};

pub const STARCODER: Recipe = Recipe {
    heads: Heads::Single,
    ..layer_norms("starcoder")
};

pub const REFACT: Recipe = Recipe {
    heads: Heads::Single,
    ..rms_norms("refact")
};

pub const QWEN: Recipe = Recipe {
    heads: Heads::Own,
    ..rms_norms("qwen")
};

pub const PLAMO3: Recipe = Recipe {
    metadata: &[WINDOWS],
    ..rms_norms("plamo3")
};

pub const MINICPM3: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[
        PART_ROTATED,
        &[
            ("attention.q_lora_rank", U32(32)),
            ("attention.kv_lora_rank", U32(32)),
            ("attention.key_length", U32(24)),
            ("attention.value_length", U32(16)),
        ],
    ],
    ..rms_norms("minicpm3")
};

pub const GEMMA: Recipe = Recipe {
    heads: Heads::Single,
    metadata: &[WIDE_HEADS],
    ..rms_norms("gemma")
};

pub const MAMBA2: Recipe = Recipe {
    caches: Caches::None,
    heads: Heads::None,
    metadata: &[STATE_SPACE, &[("ssm.group_count", U32(1))]],
    ..rms_norms("mamba2")
};

pub const XVERSE: Recipe = Recipe {
    heads: Heads::Own,
    ..rms_norms("xverse")
};

pub const OLMO: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[&[("attention.clamp_kqv", F32(1.0))]],
    ..layer_norms("olmo")
};

pub const CHATGLM: Recipe = Recipe {
    metadata: &[PART_ROTATED],
    ..rms_norms("chatglm")
};

pub const JAIS: Recipe = Recipe {
    heads: Heads::Own,
    metadata: &[&[("attention.max_alibi_bias", F32(8.0))]],
    ..layer_norms("jais")
};

pub const EXAONE4: Recipe = Recipe {
    metadata: &[WINDOWS],
    ..rms_norms("exaone4")
};

pub const GRANITE_HYBRID: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[STATE_SPACE, &[("ssm.group_count", U32(1))]],
    ..rms_norms("granitehybrid")
};

pub const NANBEIGE: Recipe = Recipe {
    metadata: &[&[("num_loops", U32(1))]],
    ..rms_norms("nanbeige")
};

pub const SPARK25: Recipe = Recipe {
    metadata: &[WINDOWS_LISTED],
    ..rms_norms("spark2_5")
};

pub const MUSE_GLIMMER: Recipe = Recipe {
    metadata: &[WINDOWS, &[("logit_scale", F32(0.5))]],
    ..rms_norms("muse-glimmer")
};

pub const GRANITE_WINDOWS: Recipe = Recipe {
    metadata: &[WINDOWS_LISTED, &[("logit_scale", F32(1.5))]],
    ..rms_norms("granite_swa")
};

pub const QWEN3_VL: Recipe = Recipe {
    metadata: &[AXES],
    ..rms_norms("qwen3vl")
};

pub const TALKIE: Recipe = Recipe {
    metadata: &[&[("logit_scale", F32(0.5))]],
    ..rms_norms("talkie")
};

pub const APERTUS: Recipe = Recipe {
    metadata: &[&[
        ("xielu.alpha_n", F32(0.8)),
        ("xielu.alpha_p", F32(0.8)),
        ("xielu.beta", F32(0.5)),
        ("xielu.eps", F32(-1e-6)),
    ]],
    ..rms_norms("apertus")
};

pub const COGVLM: Recipe = Recipe {
    heads: Heads::Own,
    ..rms_norms("cogvlm")
};

pub const HUNYUAN_VL: Recipe = Recipe {
    metadata: &[AXES],
    ..rms_norms("hunyuan_vl")
};

pub const PADDLE_OCR: Recipe = Recipe {
    metadata: &[AXES],
    ..rms_norms("paddleocr")
};
