//! Recurrent architectures and hybrids.

use super::groups::{
    AXES, DELTA_NETS, EXPERTS, LATENT, LEADING_SHARED_EXPERTS, SHARED, SIGMOID, SMALL_EXPERTS,
    STATE_SPACE, WKV7,
};
use crate::runtime::synthetic::metadata::Value::{Each, F32, U32};
use crate::runtime::synthetic::metadata::WIDTH;
use crate::runtime::synthetic::recipe::{Caches, Group, Heads, Recipe, layer_norms, rms_norms};

pub const MAMBA: Recipe = Recipe {
    caches: Caches::None,
    heads: Heads::None,
    metadata: &[STATE_SPACE],
    ..rms_norms("mamba")
};

pub const RWKV6: Recipe = Recipe {
    caches: Caches::None,
    heads: Heads::None,
    metadata: &[&[
        ("wkv.head_size", U32(WIDTH)),
        ("time_mix_extra_dim", U32(8)),
        ("time_decay_extra_dim", U32(8)),
    ]],
    ..layer_norms("rwkv6")
};

pub const JAMBA: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[EXPERTS, STATE_SPACE],
    ..rms_norms("jamba")
};

pub const LFM2: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[&[("shortconv.l_cache", U32(3))]],
    ..rms_norms("lfm2")
};

pub const QWEN3_NEXT: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[SMALL_EXPERTS, SHARED, DELTA_NETS],
    ..rms_norms("qwen3next")
};

pub const QWEN35: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[DELTA_NETS, AXES],
    ..rms_norms("qwen35")
};

pub const KIMI_LINEAR: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[
        LEADING_SHARED_EXPERTS,
        SIGMOID,
        LATENT,
        &[
            ("attention.head_count_kv", Each(|l| l % 2)),
            ("kda.head_dim", U32(16)),
            ("ssm.conv_kernel", U32(4)),
            ("expert_weights_scale", F32(1.5)),
        ],
    ],
    ..rms_norms("kimi-linear")
};

pub const FALCON_H1: Recipe = Recipe {
    metadata: &[STATE_SPACE, &[("ssm.group_count", U32(1))]],
    ..rms_norms("falcon-h1")
};

pub const RWKV7: Recipe = Recipe {
    caches: Caches::None,
    heads: Heads::None,
    metadata: &[WKV7],
    ..layer_norms("rwkv7")
};

pub const PLAMO2: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[STATE_SPACE, &[("ssm.group_count", U32(0))]],
    ..rms_norms("plamo2")
};

/// In turns a recurrence, attention, an MLP, attention, each a layer.
const ONE_EACH: Group = &[
    ("ssm.group_count", U32(2)),
    (
        "attention.head_count_kv",
        Each(|l| [0, 2, 0, 2][l as usize % 4]),
    ),
    (
        "feed_forward_length",
        Each(|l| [0, 0, 128, 0][l as usize % 4]),
    ),
];

pub const NEMOTRON_H: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[STATE_SPACE, ONE_EACH],
    ..layer_norms("nemotron_h")
};

pub const NEMOTRON_H_EXPERTS: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[
        STATE_SPACE,
        ONE_EACH,
        SMALL_EXPERTS,
        SHARED,
        &[("expert_shared_count", U32(1))],
    ],
    ..layer_norms("nemotron_h_moe")
};

/// Delta nets with a gate for each channel, and latent attention in every second layer.
pub(super) const CHANNEL_GATES: Group = &[
    ("attention.head_count_kv", Each(|l| l % 2)),
    ("attention.q_lora_rank", U32(32)),
    ("kda.head_dim", U32(16)),
    ("kda.gate_lower_bound", F32(-5.0)),
    ("ssm.conv_kernel", U32(4)),
];

pub const BAILING_EXPERTS3: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[LEADING_SHARED_EXPERTS, SIGMOID, LATENT, CHANNEL_GATES],
    ..rms_norms("bailingmoe3")
};
