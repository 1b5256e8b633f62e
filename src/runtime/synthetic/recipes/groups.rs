//! Metadata that several architectures have in common.

use crate::runtime::synthetic::metadata::Value::{F32, Four, Odd, U32};
use crate::runtime::synthetic::metadata::WIDTH;
use crate::runtime::synthetic::recipe::Group;

/// A dense first layer, then four experts, two chosen, and one that all tokens share.
pub(super) const LEADING_SHARED_EXPERTS: Group = &[
    ("leading_dense_block_count", U32(1)),
    ("expert_count", U32(4)),
    ("expert_used_count", U32(2)),
    ("expert_shared_count", U32(1)),
    ("expert_feed_forward_length", U32(WIDTH)),
];

/// Four experts of a width of their own, two chosen.
pub(super) const SMALL_EXPERTS: Group = &[
    ("expert_count", U32(4)),
    ("expert_used_count", U32(2)),
    ("expert_feed_forward_length", U32(WIDTH)),
];

/// Four experts, two chosen.
pub(super) const EXPERTS: Group = &[("expert_count", U32(4)), ("expert_used_count", U32(2))];

/// The first layer is dense.
pub(super) const LEADING: Group = &[("leading_dense_block_count", U32(1))];

/// An expert that all tokens share, by its width.
pub(super) const SHARED: Group = &[("expert_shared_feed_forward_length", U32(WIDTH))];

/// Experts are chosen by sigmoids.
pub(super) const SIGMOID: Group = &[("expert_gating_func", U32(2))];

/// Sliding windows in every second layer.
pub(super) const WINDOWS: Group = &[
    ("attention.sliding_window", U32(8)),
    ("attention.sliding_window_pattern", U32(2)),
];

/// The same, told layer by layer.
pub(super) const WINDOWS_LISTED: Group = &[
    ("attention.sliding_window", U32(8)),
    ("attention.sliding_window_pattern", Odd(true)),
];

/// Latent attention: the narrow vector itself is in the cache.
pub(super) const LATENT: Group = &[
    ("attention.key_length", U32(64)),
    ("attention.value_length", U32(32)),
    ("attention.key_length_mla", U32(48)),
    ("attention.value_length_mla", U32(16)),
    ("attention.kv_lora_rank", U32(32)),
    ("rope.dimension_count", U32(32)),
];

/// Heads twice as wide as the stream would have them.
pub(super) const WIDE_HEADS: Group = &[
    ("attention.key_length", U32(32)),
    ("attention.value_length", U32(32)),
];

/// Heads of 16 values, rotated whole.
pub(super) const SIXTEEN: Group = &[
    ("attention.key_length", U32(16)),
    ("attention.value_length", U32(16)),
    ("rope.dimension_count", U32(16)),
];

/// Recurrent layers (selective state space).
pub(super) const STATE_SPACE: Group = &[
    ("ssm.conv_kernel", U32(4)),
    ("ssm.inner_size", U32(2 * WIDTH)),
    ("ssm.state_size", U32(16)),
    ("ssm.time_step_rank", U32(4)),
];

/// Gated delta nets, and attention in every second layer.
pub(super) const DELTA_NETS: Group = &[
    ("full_attention_interval", U32(2)),
    ("ssm.conv_kernel", U32(4)),
    ("ssm.inner_size", U32(WIDTH)),
    ("ssm.state_size", U32(16)),
    ("ssm.time_step_rank", U32(4)),
    ("ssm.group_count", U32(2)),
];

/// Positions of several axes.
pub(super) const AXES: Group = &[("rope.dimension_sections", Four([3, 3, 2, 0]))];

/// Factors on logits, residual connections, embeddings and attention.
pub(super) const GRANITE_FACTORS: Group = &[
    ("logit_scale", F32(1.5)),
    ("residual_scale", F32(0.5)),
    ("embedding_scale", F32(3.0)),
    ("attention.scale", F32(0.2)),
];

/// A part of each head is rotated.
pub(super) const PART_ROTATED: Group = &[("rope.dimension_count", U32(8))];

/// RWKV-7's states and the widths of its gates.
pub(super) const WKV7: Group = &[
    ("wkv.head_size", U32(WIDTH)),
    ("attention.decay_lora_rank", U32(8)),
    ("attention.iclr_lora_rank", U32(8)),
    ("attention.value_residual_mix_lora_rank", U32(8)),
    ("attention.gate_lora_rank", U32(8)),
];

/// An index of two heads that chooses the eight tokens that attention sees.
pub(super) const INDEX: Group = &[
    ("attention.indexer.head_count", U32(2)),
    ("attention.indexer.key_length", U32(64)),
    ("attention.indexer.top_k", U32(8)),
];
