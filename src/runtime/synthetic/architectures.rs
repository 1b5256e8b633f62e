//! Which architectures a synthetic model can have: for each its name, what it stands for, and
//! the metadata that llama.cpp wants of it.

use super::recipe::{Recipe, layer_norms, rms_norms};
use super::recipes::{kin, kin_experts, own, recurrent, refused, sparse};

macro_rules! architectures {
    (
        supported { $($(#[doc = $text:literal])+ $variant:ident => $recipe:expr,)+ }
        kin { $($(#[doc = $of:literal])+ $alike:ident => $kin:expr,)+ }
        refused { $($(#[doc = $why:literal])+ $other:ident => $others:expr,)+ }
    ) => {
        /// An architecture that a synthetic model can have, one for each structural variant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Architecture {
            $($(#[doc = $text])+ $variant,)+
            $($(#[doc = $of])+ $alike,)+
            $($(#[doc = $why])+ $other,)+
        }

        impl Architecture {
            /// All whose residual stream can be rewritten.
            pub const ALL: &[Architecture] = &[$(Architecture::$variant),+];

            /// Further ones of llama.cpp's whose residual stream can be rewritten. They differ from
            /// those of [`Self::ALL`] in the parts of their layers, not in how these are joined.
            pub const KIN: &[Architecture] = &[$(Architecture::$alike),+];

            /// Those for which no context can be made, as examples of why.
            pub const REFUSED: &[Architecture] = &[$(Architecture::$other),+];

            /// What it stands for, in a line.
            pub fn describe(self) -> &'static str {
                let text = match self {
                    $(Architecture::$variant => concat!($($text),+),)+
                    $(Architecture::$alike => concat!($($of),+),)+
                    $(Architecture::$other => concat!($($why),+),)+
                };
                text.trim_start()
            }

            pub(super) fn recipe(self) -> Recipe {
                match self {
                    $(Architecture::$variant => $recipe,)+
                    $(Architecture::$alike => $kin,)+
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
    LlamaExperts => own::LLAMA_EXPERTS,
    /// As llama, with queries scaled by position.
    Mistral3 => own::MISTRAL3,
    /// As llama, with biases on Q, K, V.
    Qwen2 => rms_norms("qwen2"),
    /// As qwen2, with chosen experts and one that all tokens share, behind a gate.
    Qwen2Experts => own::QWEN2_EXPERTS,
    /// As llama, with norms on Q and K.
    Qwen3 => rms_norms("qwen3"),
    /// As qwen3, with experts.
    Qwen3Experts => own::QWEN3_EXPERTS,
    /// Norms before and after each sub-layer, alternating sliding windows, scaled embeddings, a tied head, soft caps on attention and logits.
    Gemma2 => own::GEMMA2,
    /// As gemma2, with norms on Q and K and no soft caps.
    Gemma3 => own::GEMMA3,
    /// As gemma3, with experts beside each MLP, and upper layers that read the keys and values of lower ones.
    Gemma4 => own::GEMMA4,
    /// No norm before attention or MLP, norms after.
    Olmo2 => rms_norms("olmo2"),
    /// As llama, with norms on Q and K as a whole, and experts.
    Olmoe => own::OLMOE,
    /// Layer norms with biases, learned positions, biases everywhere.
    Gpt2 => layer_norms("gpt2"),
    /// Attention and MLP in parallel, each behind a norm of its own.
    Gptneox => own::GPTNEOX,
    /// As gptneox, with the MLP after attention.
    GptneoxSequential => own::GPTNEOX_SEQUENTIAL,
    /// Attention and MLP in parallel behind one norm, rotation of a part of each head.
    Phi2 => own::PHI2,
    /// As llama, with the MLP and its gate in one projection.
    Phi3 => rms_norms("phi3"),
    /// Attention and MLP in parallel behind two norms of the same state, one head of K and V.
    Falcon => own::FALCON,
    /// Attention and MLP in parallel behind one norm without bias, a tied head, scaled logits.
    CommandR => own::COMMAND_R,
    /// As command-r, with sliding windows; layers without a window know no positions.
    Cohere2 => own::COHERE2,
    /// ALiBi in place of positions, a norm after the embeddings.
    Bloom => own::BLOOM,
    /// ALiBi and learned positions at once, Q, K, V clamped.
    Mpt => own::MPT,
    /// Layer norms, rotary positions, biases everywhere.
    Starcoder2 => layer_norms("starcoder2"),
    /// Layer norms before each sub-layer, gated MLP, norms on the heads of Q and K.
    Stablelm => layer_norms("stablelm"),
    /// Norms before and after each sub-layer, rotation of a part of each head.
    Glm4 => own::GLM4,
    /// As llama, with factors on embeddings, attention, residual connections and logits.
    Granite => own::GRANITE,
    /// As granite, with a factor on residual connections that follows from the depth.
    Minicpm => own::MINICPM,
    /// Learned attention sinks, alternating sliding windows, experts with biases.
    GptOss => own::GPT_OSS,
    /// Keys and values unpacked from a narrow vector, chosen and shared experts above the first layer.
    Deepseek2 => own::DEEPSEEK2,
    /// Latent attention: as deepseek2, with the narrow vector itself in the cache, key and value at once.
    Deepseek2Latent => own::DEEPSEEK2_LATENT,
    /// As llama, with heads and MLPs of other numbers and widths in every layer, queries, keys and values in one projection.
    Openelm => own::OPENELM,
    /// As llama, but of every four layers the second has an MLP alone and the third nothing at all: the graph goes around it.
    Deci => own::DECI,
    /// As deci, but of every four layers the second has nothing at all and the third a projection in place of attention.
    DeciLinear => own::DECI_LINEAR,
    /// Recurrent (selective state space): no K/V cache at all.
    Mamba => recurrent::MAMBA,
    /// Recurrent (linear attention with decay), each token mixed with the one before.
    Rwkv6 => recurrent::RWKV6,
    /// Hybrid: recurrent layers and attention without positions in turns, experts everywhere.
    Jamba => recurrent::JAMBA,
    /// Hybrid: short convolutions and attention in turns.
    Lfm2 => recurrent::LFM2,
    /// Hybrid: gated delta nets and gated attention in turns, chosen and shared experts everywhere.
    Qwen3Next => recurrent::QWEN3_NEXT,
    /// As qwen3next, with an MLP in place of the experts and positions of several axes.
    Qwen35 => recurrent::QWEN35,
    /// Hybrid: delta nets with a gate for each channel and latent attention without positions in turns, experts above the first layer.
    KimiLinear => recurrent::KIMI_LINEAR,
    /// Hybrid: attention and recurrence in parallel in every layer.
    FalconH1 => recurrent::FALCON_H1,
    /// Hybrid: each layer has attention, a recurrence or an MLP alone.
    NemotronH => recurrent::NEMOTRON_H,
    /// As deepseek2-latent, with an index that chooses the tokens that attention sees.
    Deepseek32 => sparse::DEEPSEEK32,
}
kin {
    /// Attention within chunks, chosen and shared experts in every second layer.
    Llama4 => kin_experts::LLAMA4,
    /// Norms before and after each sub-layer, soft caps on attention and logits, experts.
    Grok => kin_experts::GROK,
    /// As llama, with as many heads of K and V as of Q.
    Baichuan => kin::BAICHUAN,
    /// As gpt2, with one head of K and V.
    Starcoder => kin::STARCODER,
    /// ALiBi in place of positions, one head of K and V.
    Refact => kin::REFACT,
    /// As llama, with Q, K, V in one projection with biases.
    Qwen => kin::QWEN,
    /// As phi3, with experts.
    PhiExperts => kin_experts::PHI_EXPERTS,
    /// Attention and MLP in parallel behind one norm.
    Plamo => rms_norms("plamo"),
    /// Norms before and after each sub-layer, norms on Q and K, alternating sliding windows.
    Plamo3 => kin::PLAMO3,
    /// As starcoder2, with Q, K, V in one projection.
    Codeshell => layer_norms("codeshell"),
    /// As llama, with layer norms.
    Orion => layer_norms("orion"),
    /// As llama.
    Internlm2 => rms_norms("internlm2"),
    /// As minicpm, with queries, keys and values unpacked from narrow vectors.
    Minicpm3 => kin::MINICPM3,
    /// Scaled embeddings, wide heads, a tied head.
    Gemma => kin::GEMMA,
    /// Recurrent, as mamba, in heads.
    Mamba2 => kin::MAMBA2,
    /// As llama, with as many heads of K and V as of Q.
    Xverse => kin::XVERSE,
    /// As cohere2, with experts above the first layer.
    Cohere2Experts => kin_experts::COHERE2_EXPERTS,
    /// Layer norms without biases, Q, K, V clamped, experts.
    Dbrx => kin_experts::DBRX,
    /// Norms without weights, Q, K, V clamped.
    Olmo => kin::OLMO,
    /// An MLP and experts side by side, each behind a norm of its own.
    Arctic => kin_experts::ARCTIC,
    /// As llama, with chosen and shared experts above the first layer.
    Deepseek => kin_experts::DEEPSEEK,
    /// As llama, with Q, K, V in one projection with biases, rotation of a part of each head.
    Chatglm => kin::CHATGLM,
    /// Rotation of a part of each head, chosen and shared experts above the first layer.
    Glm4Experts => kin_experts::GLM4_EXPERTS,
    /// Norms within attention and MLP, before their last projections.
    Bitnet => rms_norms("bitnet"),
    /// ALiBi in place of positions, layer norms, biases everywhere, a gated MLP.
    Jais => kin::JAIS,
    /// Layer norms, rotary positions, biases everywhere, squared ReLU.
    Jais2 => layer_norms("jais2"),
    /// Layer norms, rotary positions, squared ReLU.
    Nemotron => layer_norms("nemotron"),
    /// As llama.
    Exaone => rms_norms("exaone"),
    /// No norm before attention or MLP, norms after, norms on Q and K.
    Exaone4 => kin::EXAONE4,
    /// As qwen3, with alternating sliding windows, chosen and shared experts above the first layer.
    ExaoneExperts => kin_experts::EXAONE_EXPERTS,
    /// As granite, with experts.
    GraniteExperts => kin_experts::GRANITE_EXPERTS,
    /// Hybrid: recurrent layers and attention in turns.
    GraniteHybrid => kin::GRANITE_HYBRID,
    /// As llama, with chosen and shared experts.
    BailingExperts => kin_experts::BAILING_EXPERTS,
    /// As deepseek, with norms on Q and K, Q, K, V in one projection.
    BailingExperts2 => kin_experts::BAILING_EXPERTS2,
    /// As deepseek, with norms on Q and K.
    Dots1 => kin_experts::DOTS1,
    /// As llama, with squared ReLU in place of a gate.
    Arcee => rms_norms("arcee"),
    /// Norms before and after each sub-layer, gated attention, alternating sliding windows, chosen and shared experts above the first layer.
    Afmoe => kin_experts::AFMOE,
    /// As llama.
    Ernie45 => rms_norms("ernie4_5"),
    /// As llama, with experts above the first layer.
    Ernie45Experts => kin_experts::ERNIE45_EXPERTS,
    /// As llama, with norms on Q and K behind the rotation, chosen and shared experts.
    HunyuanExperts => kin_experts::HUNYUAN_EXPERTS,
    /// As llama, with norms on Q and K behind the rotation.
    Hunyuan => rms_norms("hunyuan-dense"),
    /// As llama; every fourth layer knows no positions.
    Smollm3 => rms_norms("smollm3"),
    /// As lfm2, with experts above the first layer.
    Lfm2Experts => kin_experts::LFM2_EXPERTS,
    /// As qwen2.
    SeedOss => rms_norms("seed_oss"),
    /// As qwen3moe, with small experts that groups of the others share.
    Grovemoe => kin_experts::GROVEMOE,
    /// As olmoe, with gates of another kind.
    MinimaxM2 => kin_experts::MINIMAX_M2,
    /// Hybrid: linear attention and attention in turns, experts everywhere.
    Minimax01 => kin_experts::MINIMAX01,
    /// Latent attention, as deepseek2-latent.
    Mistral4 => kin_experts::MISTRAL4,
    /// Learned attention sinks in layers with sliding windows, experts.
    Mimo2 => kin_experts::MIMO2,
    /// As qwen3.
    Maincoder => rms_norms("maincoder"),
    /// As qwen3moe, with alternating sliding windows.
    Mellum => kin_experts::MELLUM,
    /// As llama.
    Nanbeige => kin::NANBEIGE,
    /// As llama, with biases on Q, K, V and after attention.
    PanguEmbedded => rms_norms("pangu-embedded"),
    /// As qwen35, with chosen and shared experts everywhere.
    Qwen35Experts => kin_experts::QWEN35_EXPERTS,
    /// As qwen3, with gated attention, chosen and shared experts above the first layer.
    Laguna => kin_experts::LAGUNA,
    /// As qwen3, with chosen and shared experts.
    HyV3 => kin_experts::HY_V3,
    /// As llama, with gated attention and alternating sliding windows.
    Spark25 => kin::SPARK25,
    /// Norms before and after each sub-layer, norms on Q and K, gated attention, alternating sliding windows.
    MuseGlimmer => kin::MUSE_GLIMMER,
    /// As qwen3moe, with alternating sliding windows and clamped activations.
    Maple => kin_experts::MAPLE,
    /// As granite, with alternating sliding windows and learned attention sinks.
    GraniteWindows => kin::GRANITE_WINDOWS,
    /// As qwen3, with positions of several axes.
    Qwen3Vl => kin::QWEN3_VL,
    /// As qwen3moe, with positions of several axes.
    Qwen3VlExperts => kin_experts::QWEN3_VL_EXPERTS,
    /// As qwen3, with squares and logarithms in place of a gate (xIELU).
    Apertus => kin::APERTUS,
    /// As llama, with experts that are chosen by what enters a layer, before its attention.
    Smallthinker => kin_experts::SMALLTHINKER,
    /// As deepseek.
    Deepseek2Ocr => kin_experts::DEEPSEEK2_OCR,
    /// As hunyuan-dense, with positions of several axes.
    HunyuanVl => kin::HUNYUAN_VL,
    /// As ernie4_5, with positions of several axes.
    PaddleOcr => kin::PADDLE_OCR,
    /// As qwen3, with chosen and shared experts and gated attention.
    Step35 => kin_experts::STEP35,
    /// Hybrid, as jamba, with an MLP in place of the experts and norms behind each sub-layer.
    Plamo2 => recurrent::PLAMO2,
    /// As nemotron_h, with experts in place of the MLPs.
    NemotronHExperts => recurrent::NEMOTRON_H_EXPERTS,
    /// As kimi-linear, with positions and gated attention.
    BailingExperts3 => recurrent::BAILING_EXPERTS3,
    /// As deepseek32.
    GlmDsa => sparse::GLM_DSA,
    /// As deepseek32, with sliding windows in place of the index in every second layer.
    Dots3Note => sparse::DOTS3_NOTE,
    /// As qwen3, with chosen and shared experts above the first layer, and an index that chooses the blocks of tokens that attention sees.
    MinimaxM3 => sparse::MINIMAX_M3,
}
refused {
    /// As qwen3, with each token's embedding again in every layer: a path around the residual stream.
    Talkie => kin::TALKIE,
    /// A diffusion model: tokens see later ones.
    Llada => rms_norms("llada"),
    /// Recurrent, with the first layer's values mixed into every other layer's: a path around the residual stream.
    Rwkv7 => recurrent::RWKV7,
    /// As gemma4, with a second embedding of each token that enters every layer: a path around the residual stream.
    Gemma4PerLayer => own::GEMMA4_PER_LAYER,
    /// Four residual streams at once, and each token's embedding again in every layer.
    Gemma3n => own::GEMMA3N,
    /// As rwkv7, with norms and MLPs of another kind: the same path around the residual stream.
    Arwkv7 => refused::ARWKV7,
    /// As kimi-linear, with each layer reading what several lower ones left: paths around the residual stream.
    KimiK3 => refused::KIMI_K3,
    /// A few layers that are gone through again and again, each round with what came in at first: a path around the residual stream.
    HrmText => refused::HRM_TEXT,
    /// Latent attention, and four residual streams at once.
    HyV4 => refused::HY_V4,
    /// Attention to compressed keys and values, and four residual streams at once.
    Deepseek4 => refused::DEEPSEEK4,
    /// As kimi-linear, with an index that chooses what attention sees, and four residual streams at once.
    Glm5Next => refused::GLM5_NEXT,
    /// As qwen35moe, with an index that chooses what attention sees, and four residual streams at once.
    Qwen4Exp => refused::QWEN4_EXP,
    /// As granite, with small changes of the weights that earlier tokens choose: tokens are looked up by others than the text's.
    GraniteSwitch => refused::GRANITE_SWITCH,
    /// As llama, with Q, K, V in one projection; llama.cpp gives the first token's logits for the last one's.
    Cogvlm => kin::COGVLM,
}
}
