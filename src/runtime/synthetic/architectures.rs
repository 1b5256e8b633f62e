//! Which architectures a synthetic model can have: for each its name, what it stands for, and
//! the metadata that llama.cpp wants of it.

use super::metadata::Value::{Bool, Each, F32, Four, LayersBut, Odd, U32};
use super::metadata::WIDTH;
use super::recipe::{Caches, Heads, Recipe, layer_norms, rms_norms};

macro_rules! architectures {
    (
        supported { $($(#[doc = $text:literal])+ $variant:ident => $recipe:expr,)+ }
        refused { $($(#[doc = $why:literal])+ $other:ident => $others:expr,)+ }
    ) => {
        /// An architecture that a synthetic model can have, one for each structural variant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Architecture {
            $($(#[doc = $text])+ $variant,)+
            $($(#[doc = $why])+ $other,)+
        }

        impl Architecture {
            /// All whose residual stream can be rewritten.
            pub const ALL: &[Architecture] = &[$(Architecture::$variant),+];

            /// Those for which no context can be made, as examples of why.
            pub const REFUSED: &[Architecture] = &[$(Architecture::$other),+];

            /// What it stands for, in a line.
            pub fn describe(self) -> &'static str {
                let text = match self {
                    $(Architecture::$variant => concat!($($text),+),)+
                    $(Architecture::$other => concat!($($why),+),)+
                };
                text.trim_start()
            }

            pub(super) fn recipe(self) -> Recipe {
                match self {
                    $(Architecture::$variant => $recipe,)+
                    $(Architecture::$other => $others,)+
                }
            }
        }
    };
}

architectures! {
supported {
    /// Norms before each sub-layer (RMS), rotary positions, a head of its own.
    Llama => rms_norms("llama"),
    /// As llama, with four experts in place of each MLP, two of them chosen for a token.
    LlamaExperts => Recipe {
        name: "llama-experts",
        metadata: &[("expert_count", U32(4)), ("expert_used_count", U32(2))],
        ..rms_norms("llama")
    },
    /// As llama, with queries scaled by position.
    Mistral3 => Recipe {
        metadata: &[
            ("attention.temperature_scale", F32(0.5)),
            ("rope.scaling.original_context_length", U32(8)),
        ],
        ..rms_norms("mistral3")
    },
    /// As llama, with biases on Q, K, V.
    Qwen2 => rms_norms("qwen2"),
    /// As qwen2, with chosen experts and one that all tokens share, behind a gate.
    Qwen2Experts => Recipe {
        metadata: &[
            ("expert_count", U32(4)),
            ("expert_used_count", U32(2)),
            ("expert_feed_forward_length", U32(WIDTH)),
            ("expert_shared_feed_forward_length", U32(WIDTH)),
        ],
        ..rms_norms("qwen2moe")
    },
    /// As llama, with norms on Q and K.
    Qwen3 => rms_norms("qwen3"),
    /// As qwen3, with experts.
    Qwen3Experts => Recipe {
        metadata: &[
            ("expert_count", U32(4)),
            ("expert_used_count", U32(2)),
            ("expert_feed_forward_length", U32(WIDTH)),
        ],
        ..rms_norms("qwen3moe")
    },
    /// Norms before and after each sub-layer, alternating sliding windows, scaled embeddings, a tied head, soft caps on attention and logits.
    Gemma2 => Recipe {
        metadata: &[
            ("attention.key_length", U32(32)),
            ("attention.value_length", U32(32)),
            ("attention.sliding_window", U32(8)),
            ("attn_logit_softcapping", F32(3.0)),
            ("final_logit_softcapping", F32(5.0)),
        ],
        ..rms_norms("gemma2")
    },
    /// As gemma2, with norms on Q and K and no soft caps.
    Gemma3 => Recipe {
        metadata: &[
            ("attention.key_length", U32(32)),
            ("attention.value_length", U32(32)),
            ("attention.sliding_window", U32(8)),
            ("attention.sliding_window_pattern", U32(2)),
        ],
        ..rms_norms("gemma3")
    },
    /// As gemma3, with experts beside each MLP, and upper layers that read the keys and values of lower ones.
    Gemma4 => Recipe {
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
    },
    /// No norm before attention or MLP, norms after.
    Olmo2 => rms_norms("olmo2"),
    /// As llama, with norms on Q and K as a whole, and experts.
    Olmoe => Recipe {
        heads: Heads::Own,
        metadata: &[("expert_count", U32(4)), ("expert_used_count", U32(2))],
        ..rms_norms("olmoe")
    },
    /// Layer norms with biases, learned positions, biases everywhere.
    Gpt2 => layer_norms("gpt2"),
    /// Attention and MLP in parallel, each behind a norm of its own.
    Gptneox => Recipe {
        heads: Heads::Own,
        metadata: &[
            ("use_parallel_residual", Bool(true)),
            ("rope.dimension_count", U32(8)),
        ],
        ..layer_norms("gptneox")
    },
    /// As gptneox, with the MLP after attention.
    GptneoxSequential => Recipe {
        name: "gptneox-sequential",
        heads: Heads::Own,
        metadata: &[
            ("use_parallel_residual", Bool(false)),
            ("rope.dimension_count", U32(8)),
        ],
        ..layer_norms("gptneox")
    },
    /// Attention and MLP in parallel behind one norm, rotation of a part of each head.
    Phi2 => Recipe {
        metadata: &[("rope.dimension_count", U32(8))],
        ..layer_norms("phi2")
    },
    /// As llama, with the MLP and its gate in one projection.
    Phi3 => rms_norms("phi3"),
    /// Attention and MLP in parallel behind two norms of the same state, one head of K and V.
    Falcon => Recipe {
        heads: Heads::Single,
        ..layer_norms("falcon")
    },
    /// Attention and MLP in parallel behind one norm without bias, a tied head, scaled logits.
    CommandR => Recipe {
        metadata: &[("logit_scale", F32(0.25))],
        ..layer_norms("command-r")
    },
    /// As command-r, with sliding windows; layers without a window know no positions.
    Cohere2 => Recipe {
        metadata: &[
            ("logit_scale", F32(0.25)),
            ("attention.sliding_window", U32(8)),
            ("attention.sliding_window_pattern", U32(2)),
        ],
        ..layer_norms("cohere2")
    },
    /// ALiBi in place of positions, a norm after the embeddings.
    Bloom => Recipe {
        heads: Heads::Own,
        ..layer_norms("bloom")
    },
    /// ALiBi and learned positions at once, Q, K, V clamped.
    Mpt => Recipe {
        heads: Heads::Own,
        metadata: &[
            ("attention.max_alibi_bias", F32(8.0)),
            ("attention.clamp_kqv", F32(1.0)),
        ],
        ..layer_norms("mpt")
    },
    /// Layer norms, rotary positions, biases everywhere.
    Starcoder2 => layer_norms("starcoder2"),
    /// Layer norms before each sub-layer, gated MLP, norms on the heads of Q and K.
    Stablelm => layer_norms("stablelm"),
    /// Norms before and after each sub-layer, rotation of a part of each head.
    Glm4 => Recipe {
        metadata: &[("rope.dimension_count", U32(8))],
        ..rms_norms("glm4")
    },
    /// As llama, with factors on embeddings, attention, residual connections and logits.
    Granite => Recipe {
        metadata: &[
            ("logit_scale", F32(1.5)),
            ("residual_scale", F32(0.5)),
            ("embedding_scale", F32(3.0)),
            ("attention.scale", F32(0.2)),
            ("rope.scaling.finetuned", Bool(true)),
        ],
        ..rms_norms("granite")
    },
    /// As granite, with a factor on residual connections that follows from the depth.
    Minicpm => Recipe {
        metadata: &[("logit_scale", F32(1.0)), ("embedding_scale", F32(2.0))],
        ..rms_norms("minicpm")
    },
    /// Learned attention sinks, alternating sliding windows, experts with biases.
    GptOss => Recipe {
        metadata: &[
            ("attention.sliding_window", U32(8)),
            ("attention.sliding_window_pattern", U32(2)),
            ("expert_count", U32(4)),
            ("expert_used_count", U32(2)),
            ("expert_feed_forward_length", U32(WIDTH)),
        ],
        ..rms_norms("gpt-oss")
    },
    /// Keys and values unpacked from a narrow vector, chosen and shared experts above the first layer.
    Deepseek2 => Recipe {
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
    },
    /// Latent attention: as deepseek2, with the narrow vector itself in the cache, key and value at once.
    Deepseek2Latent => Recipe {
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
    },
    /// As llama, with heads and MLPs of other numbers and widths in every layer, queries, keys and values in one projection.
    Openelm => Recipe {
        metadata: &[
            ("attention.head_count", Each(|l| [4, 4, 8, 8][l as usize % 4])),
            ("attention.head_count_kv", Each(|l| [1, 1, 2, 2][l as usize % 4])),
            ("feed_forward_length", Each(|l| WIDTH + 32 * (l % 4))),
            ("attention.key_length", U32(16)),
            ("attention.value_length", U32(16)),
            ("rope.dimension_count", U32(16)),
        ],
        ..rms_norms("openelm")
    },
    /// As llama, but of every four layers the second has an MLP alone and the third nothing at all: the graph goes around it.
    Deci => Recipe {
        caches: Caches::Outer,
        metadata: &[
            ("attention.head_count", Each(|l| [4, 0, 0, 4][l as usize % 4])),
            ("attention.head_count_kv", Each(|l| [2, 0, 0, 2][l as usize % 4])),
            ("feed_forward_length", Each(|l| [128, 128, 0, 128][l as usize % 4])),
            ("attention.key_length", U32(16)),
            ("attention.value_length", U32(16)),
            ("rope.dimension_count", U32(16)),
        ],
        ..rms_norms("deci")
    },
    /// As deci, but of every four layers the second has nothing at all and the third a projection in place of attention.
    DeciLinear => Recipe {
        name: "deci-linear",
        caches: Caches::Outer,
        metadata: &[
            ("attention.head_count", Each(|l| [4, 0, 4, 4][l as usize % 4])),
            ("attention.head_count_kv", Each(|l| [2, 0, 0, 2][l as usize % 4])),
            ("feed_forward_length", Each(|l| [128, 0, 128, 128][l as usize % 4])),
            ("attention.key_length", U32(16)),
            ("attention.value_length", U32(16)),
            ("rope.dimension_count", U32(16)),
        ],
        ..rms_norms("deci")
    },
    /// Recurrent (selective state space): no K/V cache at all.
    Mamba => Recipe {
        caches: Caches::None,
        heads: Heads::None,
        metadata: &[
            ("ssm.conv_kernel", U32(4)),
            ("ssm.inner_size", U32(2 * WIDTH)),
            ("ssm.state_size", U32(16)),
            ("ssm.time_step_rank", U32(4)),
        ],
        ..rms_norms("mamba")
    },
    /// Recurrent (linear attention with decay), each token mixed with the one before.
    Rwkv6 => Recipe {
        caches: Caches::None,
        heads: Heads::None,
        metadata: &[
            ("wkv.head_size", U32(WIDTH)),
            ("time_mix_extra_dim", U32(8)),
            ("time_decay_extra_dim", U32(8)),
        ],
        ..layer_norms("rwkv6")
    },
    /// Hybrid: recurrent layers and attention without positions in turns, experts everywhere.
    Jamba => Recipe {
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
    },
    /// Hybrid: short convolutions and attention in turns.
    Lfm2 => Recipe {
        caches: Caches::Odd,
        heads: Heads::PairedInOdd,
        metadata: &[("shortconv.l_cache", U32(3))],
        ..rms_norms("lfm2")
    },
    /// Hybrid: gated delta nets and gated attention in turns, chosen and shared experts everywhere.
    Qwen3Next => Recipe {
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
    },
    /// As qwen3next, with an MLP in place of the experts and positions of several axes.
    Qwen35 => Recipe {
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
    },
    /// Hybrid: delta nets with a gate for each channel and latent attention without positions in turns, experts above the first layer.
    KimiLinear => Recipe {
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
    },
    /// Hybrid: attention and recurrence in parallel in every layer.
    FalconH1 => Recipe {
        metadata: &[
            ("ssm.conv_kernel", U32(4)),
            ("ssm.inner_size", U32(2 * WIDTH)),
            ("ssm.state_size", U32(16)),
            ("ssm.time_step_rank", U32(4)),
            ("ssm.group_count", U32(1)),
        ],
        ..rms_norms("falcon-h1")
    },
}
refused {
    /// Recurrent, with the first layer's values mixed into every other layer's: a path around the residual stream.
    Rwkv7 => Recipe {
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
    },
    /// As gemma4, with a second embedding of each token that enters every layer: a path around the residual stream.
    Gemma4PerLayer => Recipe {
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
    },
    /// Four residual streams at once, and each token's embedding again in every layer.
    Gemma3n => Recipe {
        metadata: &[
            ("attention.key_length", U32(32)),
            ("attention.value_length", U32(32)),
            ("attention.sliding_window", U32(8)),
        ],
        ..rms_norms("gemma3n")
    },
}
}
