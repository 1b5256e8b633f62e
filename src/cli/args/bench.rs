//! Options of `midlayer bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Format, ModelArgs};
use crate::cli::Usage;
use crate::engine::Planned;

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
