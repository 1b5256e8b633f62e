//! Options of every command that runs a model: which model, how, and where a manipulation acts.

use clap::{Args, ValueEnum};

use super::super::text;
use super::{extents, sites};
use crate::engine::TokenSelector;
use crate::intervention::{Extent, Site, Sites};
use crate::runtime::{CacheType, FlashAttention};

/// How a model is loaded and run, spelled as llama.cpp's tools do.
#[derive(Args, Clone)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// GGUF file, or alias of a pulled model; `:level` (as in smollm2-135m:q8_0) requantizes it;
    /// sweep and serve take several, separated by commas
    #[arg(
        short,
        long,
        value_name = "FILE|ALIAS",
        required_unless_present_any = ["hf_repo"]
    )]
    pub model: Option<String>,
    /// Model of the Hugging Face hub, user/repo[@revision][:quant], kept in the hub's own cache
    /// [also -hf]
    #[arg(long, value_name = "REPO", conflicts_with = "model")]
    pub hf_repo: Option<String>,
    /// Layers to put on a GPU [also -ngl]
    #[arg(long, value_name = "N")]
    pub n_gpu_layers: Option<u32>,
    /// Devices to put them on, as midlayer doctor names them; none is the processor alone [also
    /// -dev]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub device: Option<Vec<String>>,
    /// Servers whose devices are added (midlayer rpc-server, or llama.cpp's), in builds with the
    /// feature rpc
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    pub rpc: Vec<String>,
    /// Threads [default: the processors that this process has been given, see midlayer doctor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub threads: Option<u32>,
    /// Positions in the context
    #[arg(short, long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(8..))]
    pub ctx_size: u32,
    /// Rows in one decode
    #[arg(short, long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(4..))]
    pub batch_size: u32,
    /// Rows computed at once [also -ub]
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(4..))]
    pub ubatch_size: u32,
    /// Flash attention [also -fa]
    #[arg(long, value_enum, default_value_t = OnOffAuto::Auto)]
    pub flash_attn: OnOffAuto,
    /// Type of the K cache: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 [also -ctk]
    #[arg(long, value_name = "TYPE", default_value_t = CacheType::F16)]
    pub cache_type_k: CacheType,
    /// Type of the V cache [also -ctv]
    #[arg(long, value_name = "TYPE", default_value_t = CacheType::F16)]
    pub cache_type_v: CacheType,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum OnOffAuto {
    On,
    Off,
    Auto,
}

impl From<OnOffAuto> for FlashAttention {
    fn from(value: OnOffAuto) -> Self {
        match value {
            OnOffAuto::On => FlashAttention::On,
            OnOffAuto::Off => FlashAttention::Off,
            OnOffAuto::Auto => FlashAttention::Auto,
        }
    }
}

/// Where a manipulation acts.
#[derive(Args, Clone)]
#[command(next_help_heading = "Manipulation")]
pub struct PlaceArgs {
    /// Which prior tokens: prior (all), first:N, last:N, skip:N (all but the first N), positions as
    /// 3-7 or 0,5-9, or 'text: France' ('text#2: France' is its second place, 'text#all: France'
    /// all); of a task's items also subject and part:NAME; not:SELECTOR for all others. A donor's
    /// states go to --inject-at
    #[arg(long, value_name = "SELECTOR", value_parser = text::selector, default_value_t = TokenSelector::Prior)]
    tokens: TokenSelector,
    /// Which prior tokens stay as they are, the anchors of hide: --keep first:1 is --tokens
    /// not:first:1, all others
    #[arg(long, value_name = "SELECTOR", value_parser = text::selector, conflicts_with = "tokens")]
    keep: Option<TokenSelector>,
    #[arg(long, value_name = "EXTENT", default_value = "paper", help = extents())]
    pub extent: Extent,
    #[arg(long, value_name = "SITE", default_value = "residual", help = sites())]
    pub site: Sites,
}

impl PlaceArgs {
    /// A place at the layers that the paper names, or at others.
    pub fn new(tokens: TokenSelector, extent: Extent, site: Sites) -> Self {
        Self {
            tokens,
            keep: None,
            extent,
            site,
        }
    }

    /// The tokens asked for.
    pub fn tokens(&self) -> TokenSelector {
        match &self.keep {
            Some(kept) => TokenSelector::Not(Box::new(kept.clone())),
            None => self.tokens.clone(),
        }
    }

    /// The sites asked for.
    pub fn sites(&self) -> Vec<Site> {
        self.site.0.clone()
    }
}
