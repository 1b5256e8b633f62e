//! Options of `midlayer bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Format, ModelArgs};
use crate::cli::Usage;
use crate::engine::Planned;
use crate::runtime::Shape;

#[derive(Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub what: BenchCommand,
}

#[derive(Subcommand)]
pub enum BenchCommand {
    /// Seconds a forward pass without callback, with an idle one, with one layer, with all
    Callback(BenchCallbackArgs),
    /// Seconds to generate under freeze: clean, with the cache, and rerunning the whole text
    Generation(BenchGenerationArgs),
    /// Seconds that sweeps take by the planned and the straightforward strategy
    Sweep(BenchSweepArgs),
    /// Seconds of one prompt at all layers: midlayer try, and the straightforward strategy
    Try(BenchTryArgs),
    /// Seconds of an effect map and of a logit lens at all tokens and layers of one prompt
    Map(BenchMapArgs),
    /// Seconds that somebody waits for the page of midlayer serve, and what it adds to the engine
    Serve(BenchServeArgs),
    /// Seconds by number of layers, length of the prompt and items, or of several models (-m A,B), by
    /// both strategies, and what arithmetic alone allows
    Scaling(BenchScalingArgs),
    /// Seconds of a prompt and of a token beside busy processes, by number of threads
    Neighbours(BenchNeighboursArgs),
    /// How often intervals cover and tests are right, on simulated data: minutes, no model
    Statistics(BenchStatisticsArgs),
    /// Write a random model of any size to a file, to measure what a model of that size costs
    ///
    /// It answers nothing, but each of its passes costs what one of such a model costs. It is of
    /// llama's architecture, its weights are in Q8_0, uniformly random by the seed, its norms are
    /// one. Its tokenizer is another model's, so tasks can be run on it. midlayer quantize makes
    /// other levels of it: the file is written piece by piece, and so are they.
    Model(BenchModelArgs),
    /// Keep one core busy until stdin ends (what bench neighbours runs beside itself)
    #[command(hide = true)]
    Busy,
}

/// Which rows are measured.
#[derive(Args, Clone)]
pub struct OnlyArgs {
    /// Measure only the rows that have this in their name, as freeze. Names are those that the
    /// command prints, each as soon as it is measured
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
}

impl OnlyArgs {
    /// Whether a row is to be measured.
    pub fn wants(&self, name: &str) -> bool {
        self.only.iter().all(|part| name.contains(part.as_str()))
    }

    /// That one of the rows is to be measured.
    ///
    /// # Errors
    /// Where none has the text in its name.
    pub fn check(&self, names: &[&str]) -> Result<(), Usage> {
        match &self.only {
            Some(only) if !names.iter().any(|name| self.wants(name)) => Err(Usage(format!(
                "no row has '{only}' in its name; there are: {} (--only)",
                names.join(", ")
            ))),
            _ => Ok(()),
        }
    }
}

#[derive(Args)]
pub struct BenchStatisticsArgs {
    /// Simulated data sets a case
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(30..))]
    pub sets: u32,
    /// Only the studies that have this in their name, as half-way
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
}

/// Sizes that have names.
#[derive(Clone, Copy, ValueEnum)]
pub enum ShapeName {
    /// Mistral 7B v0.1: 32 layers, 4096 wide, MLP 14336, 32 heads, 8 of keys and values; 7.2 billion
    /// weights, 7.7 GB
    #[value(name = "mistral-7b")]
    Mistral7B,
    /// Llama 3 8B: the same layers, 128256 tokens, another rotation; 8 billion weights, 8.5 GB
    #[value(name = "llama-3-8b")]
    Llama38B,
    /// 4 layers, 256 wide, MLP 512, 4 heads, 2 of keys and values: to try the command
    Tiny,
}

impl ShapeName {
    fn shape(self) -> Shape {
        match self {
            ShapeName::Mistral7B => Shape::MISTRAL_7B,
            ShapeName::Llama38B => Shape::LLAMA_3_8B,
            ShapeName::Tiny => Shape::TINY,
        }
    }
}

#[derive(Args)]
pub struct BenchModelArgs {
    /// Whose tokenizer it gets: GGUF file, or alias of a pulled model
    #[arg(short, long, value_name = "FILE|ALIAS")]
    pub model: String,
    /// The new file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// A size by name; the options below change its numbers
    #[arg(long, value_enum, value_name = "NAME", default_value = "mistral-7b")]
    pub shape: ShapeName,
    /// Layers
    #[arg(long, value_name = "N")]
    pub layers: Option<u32>,
    /// Width of the states, a multiple of 32; k-quants need one of 256
    #[arg(long, value_name = "N")]
    pub width: Option<u32>,
    /// Width of the MLP, a multiple of 32; k-quants need one of 256
    #[arg(long, value_name = "N")]
    pub ffn: Option<u32>,
    /// Heads, into which the width is divided
    #[arg(long, value_name = "N")]
    pub heads: Option<u32>,
    /// Heads of keys and values, which the heads share
    #[arg(long, value_name = "N")]
    pub kv_heads: Option<u32>,
    /// Tokens at least: unused ones follow those of the tokenizer
    #[arg(long, value_name = "N")]
    pub vocabulary: Option<u32>,
    /// Base of the rotation by position
    #[arg(long, value_name = "X")]
    pub rope_base: Option<f32>,
    /// Positions that it says it was trained on
    #[arg(long, value_name = "N")]
    pub context: Option<u32>,
    /// Seed of its weights
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

impl BenchModelArgs {
    /// The size asked for.
    pub fn shape(&self) -> Shape {
        let named = self.shape.shape();
        Shape {
            n_layer: self.layers.unwrap_or(named.n_layer),
            n_embd: self.width.unwrap_or(named.n_embd),
            n_ff: self.ffn.unwrap_or(named.n_ff),
            n_head: self.heads.unwrap_or(named.n_head),
            n_head_kv: self.kv_heads.unwrap_or(named.n_head_kv),
            n_vocab: self.vocabulary.unwrap_or(named.n_vocab),
            rope_base: self.rope_base.unwrap_or(named.rope_base),
            n_ctx: self.context.unwrap_or(named.n_ctx),
        }
    }
}

#[derive(Args)]
pub struct BenchTryArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::value_parser!(u32).range(2..))]
    pub tokens: u32,
    #[command(flatten)]
    pub only: OnlyArgs,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
pub struct BenchMapArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(2..))]
    pub tokens: u32,
    #[command(flatten)]
    pub only: OnlyArgs,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
pub struct BenchServeArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(2..))]
    pub tokens: u32,
    #[command(flatten)]
    pub only: OnlyArgs,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
pub struct BenchScalingArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub only: OnlyArgs,
    /// Sequences in one batch of the planned strategy
    #[arg(long, value_name = "N", default_value_t = Planned::PARALLEL, value_parser = clap::value_parser!(u32).range(8..=256))]
    pub parallel: u32,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Draw a chart (SVG)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Args)]
pub struct BenchNeighboursArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub only: OnlyArgs,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u32).range(2..))]
    pub tokens: u32,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
pub struct BenchSweepArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Sequences in one batch of the planned strategy
    #[arg(long, value_name = "N", default_value_t = Planned::PARALLEL, value_parser = clap::value_parser!(u32).range(8..=256))]
    pub parallel: u32,
    #[command(flatten)]
    pub only: OnlyArgs,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
pub struct BenchGenerationArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub only: OnlyArgs,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u32).range(2..))]
    pub tokens: u32,
    /// Tokens to generate
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..))]
    pub generate: u32,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
pub struct BenchCallbackArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub only: OnlyArgs,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u32).range(2..))]
    pub tokens: u32,
    /// Rounds; each measures a row and a pass without callback once, medians are shown
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}
