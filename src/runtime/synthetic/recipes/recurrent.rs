//! Recurrent architectures and hybrids.

use crate::runtime::synthetic::metadata::Value::{Each, F32, Four, U32};
use crate::runtime::synthetic::metadata::WIDTH;
use crate::runtime::synthetic::recipe::{Caches, Heads, Recipe, layer_norms, rms_norms};

pub(in crate::runtime::synthetic) const MAMBA: Recipe = Recipe {
    caches: Caches::None,
    heads: Heads::None,
    metadata: &[
        ("ssm.conv_kernel", U32(4)),
        ("ssm.inner_size", U32(2 * WIDTH)),
        ("ssm.state_size", U32(16)),
        ("ssm.time_step_rank", U32(4)),
    ],
    ..rms_norms("mamba")
};

pub(in crate::runtime::synthetic) const RWKV6: Recipe = Recipe {
    caches: Caches::None,
    heads: Heads::None,
    metadata: &[
        ("wkv.head_size", U32(WIDTH)),
        ("time_mix_extra_dim", U32(8)),
        ("time_decay_extra_dim", U32(8)),
    ],
    ..layer_norms("rwkv6")
};

pub(in crate::runtime::synthetic) const JAMBA: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[
        ("ssm.conv_kernel", U32(4)),
        ("ssm.inner_size", U32(2 * WIDTH)),
        ("ssm.state_size", U32(16)),
        ("ssm.time_step_rank", U32(4)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
    ],
    ..rms_norms("jamba")
};

pub(in crate::runtime::synthetic) const LFM2: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[("shortconv.l_cache", U32(3))],
    ..rms_norms("lfm2")
};

pub(in crate::runtime::synthetic) const QWEN3_NEXT: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[
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
    ..rms_norms("qwen3next")
};

pub(in crate::runtime::synthetic) const QWEN35: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[
        ("rope.dimension_sections", Four([3, 3, 2, 0])),
        ("full_attention_interval", U32(2)),
        ("ssm.conv_kernel", U32(4)),
        ("ssm.inner_size", U32(WIDTH)),
        ("ssm.state_size", U32(16)),
        ("ssm.time_step_rank", U32(4)),
        ("ssm.group_count", U32(2)),
    ],
    ..rms_norms("qwen35")
};

pub(in crate::runtime::synthetic) const KIMI_LINEAR: Recipe = Recipe {
    caches: Caches::Odd,
    metadata: &[
        ("attention.head_count_kv", Each(|l| l % 2)),
        ("attention.key_length", U32(64)),
        ("attention.value_length", U32(32)),
        ("attention.key_length_mla", U32(48)),
        ("attention.value_length_mla", U32(16)),
        ("attention.kv_lora_rank", U32(32)),
        ("rope.dimension_count", U32(32)),
        ("kda.head_dim", U32(16)),
        ("ssm.conv_kernel", U32(4)),
        ("leading_dense_block_count", U32(1)),
        ("expert_count", U32(4)),
        ("expert_used_count", U32(2)),
        ("expert_shared_count", U32(1)),
        ("expert_feed_forward_length", U32(WIDTH)),
        ("expert_weights_scale", F32(1.5)),
        ("expert_gating_func", U32(2)),
    ],
    ..rms_norms("kimi-linear")
};

pub(in crate::runtime::synthetic) const FALCON_H1: Recipe = Recipe {
    metadata: &[
        ("ssm.conv_kernel", U32(4)),
        ("ssm.inner_size", U32(2 * WIDTH)),
        ("ssm.state_size", U32(16)),
        ("ssm.time_step_rank", U32(4)),
        ("ssm.group_count", U32(1)),
    ],
    ..rms_norms("falcon-h1")
};

pub(in crate::runtime::synthetic) const RWKV7: Recipe = Recipe {
    caches: Caches::None,
    heads: Heads::None,
    metadata: &[
        ("wkv.head_size", U32(WIDTH)),
        ("attention.decay_lora_rank", U32(8)),
        ("attention.iclr_lora_rank", U32(8)),
        ("attention.value_residual_mix_lora_rank", U32(8)),
        ("attention.gate_lora_rank", U32(8)),
    ],
    ..layer_norms("rwkv7")
};

pub(in crate::runtime::synthetic) const PLAMO2: Recipe = Recipe {
    caches: Caches::Odd,
    heads: Heads::PairedInOdd,
    metadata: &[
        ("ssm.conv_kernel", U32(4)),
        ("ssm.inner_size", U32(2 * WIDTH)),
        ("ssm.state_size", U32(16)),
        ("ssm.time_step_rank", U32(4)),
        ("ssm.group_count", U32(0)),
    ],
    ..rms_norms("plamo2")
};
