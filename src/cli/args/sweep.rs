//! Options of `midlayer sweep`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{
    GenerationArgs, ModelArgs, OutsideArgs, PlaceArgs, WordingArgs, all_manipulations,
    manipulations, seeds, text,
};
use crate::cli::spelled::spelled;
use crate::engine::{Planned, Strategy};
use crate::intervention::{Kind, LayerList};
use crate::report::Options;
use crate::runtime::CacheType;
use crate::shards::Asked;
use crate::stats::{Margin, Until};
use crate::tasks::TaskName;
use crate::trial::NamedTask;

#[derive(Args, Clone)]
pub struct SweepArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Take options from a TOML file, as `layers = "0-29+3"` or `limit = { capitals = 30 }`; those
    /// given here override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the grid, the memory, and the time on this machine, as an estimate and a bound, and
    /// stop; nothing is written, fetched or requantized
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: how well the half-way layer should be known, in layers to either side; it
    /// says how many items that takes
    #[arg(long, value_name = "LAYERS", default_value_t = 0.25, value_parser = precision)]
    pub precision: f64,
    /// Types of the K/V cache to compare, both alike: f16,q8_0,q4_0 [default: that of -ctk and -ctv]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', conflicts_with_all = ["cache_type_k", "cache_type_v"])]
    pub cache_type: Vec<CacheType>,
    /// Tasks: capitals, math, squad, cnn_dailymail, or your own as NAME=FILE with a record a line,
    /// {"question": "What is the capital of France?", "answer": ["Paris"], "subject": "France"};
    /// FILE.toml beside it says how they are asked (see midlayer tasks)
    #[arg(
        long,
        value_name = "TASKS",
        value_delimiter = ',',
        default_value = "capitals"
    )]
    pub task: Vec<TaskArg>,
    #[arg(
        long,
        value_name = "KINDS",
        value_delimiter = ',',
        default_value = Kind::ALL[0].name(),
        help = manipulations("Manipulations, separated by commas"),
        long_help = all_manipulations("Manipulations, separated by commas")
    )]
    pub manipulate: Vec<Kind>,
    /// Layers k: all, 15, 0,5,10, 0-29, 0-29+3
    #[arg(long, value_name = "LAYERS", value_parser = text::layers, default_value = "all")]
    pub layers: LayerList,
    #[arg(long, value_name = "SEEDS", value_delimiter = ',', default_value = "1", help = seeds())]
    pub seed: Vec<u64>,
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub outside: OutsideArgs,
    /// Leave out the controls that are run beside a manipulation (add-random beside add)
    #[arg(long)]
    pub no_controls: bool,
    /// Items of each task at most, or of one task as capitals=30; a comma separates several
    /// [default: all capitals and all of your own, 100 of the others]
    #[arg(long, value_name = "[TASK=]N", value_delimiter = ',')]
    pub limit: Vec<LimitArg>,
    /// Examples before each question [default: 5; your own tasks: as their TOML file says, or none]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=8))]
    pub shots: Option<u32>,
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
    /// Put prompts into the model's own chat template; of some tasks only as --chat=cnn_dailymail
    #[arg(
        long,
        value_name = "TASKS",
        value_delimiter = ',',
        num_args = 0..,
        require_equals = true,
        default_missing_value = "all"
    )]
    pub chat: Vec<ChatArg>,
    #[command(flatten)]
    pub wording: WordingArgs,
    #[command(flatten)]
    pub generation: GenerationArgs,
    /// Stop as soon as the sweep knows where each manipulation stops mattering, within a quarter of
    /// a layer, and from where it can be ignored (--margin): coarse layers and few items first,
    /// then more of both where it matters. The same as --until half-way:0.25,ignorable:10
    #[arg(long)]
    pub adaptive: bool,
    /// What to find out before it stops: the half-way layer to so many layers to either side
    /// (half-way:0.25), from which layer up the loss is at most so many points (ignorable:10) or
    /// such a share of clean (ignorable:10%), or both
    #[arg(long, value_name = "GOALS", value_delimiter = ',')]
    pub until: Vec<GoalArg>,
    /// Stop after so long, as 90s, 20m or 2h: what is stored then is reported, and the same command
    /// goes on
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub budget: Option<Duration>,
    /// Run one part of the sweep, as 3/16, into FOLDER/shards: parts run anywhere, in any order;
    /// midlayer merge makes one run of them. auto takes the number that a scheduler gives the task
    /// of an array (SLURM, PBS, LSF, SGE, Kubernetes), auto/16 says how many parts there are
    #[arg(long, value_name = "K/N|auto")]
    pub shard: Option<Asked>,
    /// How results are computed: planned computes only what differs from the clean run, many
    /// results at once; straightforward runs the whole model for each
    #[arg(long, value_enum, value_name = "STRATEGY", default_value_t = StrategyArg::Planned)]
    pub strategy: StrategyArg,
    /// Sequences in one batch of the planned strategy
    #[arg(long, value_name = "N", default_value_t = Planned::PARALLEL, value_parser = clap::value_parser!(u32).range(8..=256))]
    pub parallel: u32,
    /// Run manipulations that the self-test before the sweep finds wrong
    #[arg(long)]
    pub force: bool,
    /// Leave out the self-test that a sweep begins with; reports say so. It takes a tenth of the
    /// sweep's time at most (or else one layer of each manipulation), and is made once for a
    /// model, its settings and this program
    #[arg(long, conflicts_with = "force")]
    pub no_selftest: bool,
    /// Folder of the results; an interrupted run in it is resumed [default: runs/<model>]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Work on the results in this folder of the machine's own disk; --out gets them whole, every
    /// five minutes and at the end. A killed run loses those since
    #[arg(long, value_name = "FOLDER")]
    pub scratch: Option<PathBuf>,
    #[command(flatten)]
    pub verdicts: VerdictArgs,
}

impl SweepArgs {
    /// What it finds out before it stops.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub fn until(&self) -> anyhow::Result<Option<Until>> {
        let mut until = Until::default();
        if self.adaptive {
            until = Until {
                ignorable: Some(self.verdicts.margin),
                ..Until::DEFAULT
            };
        }
        for goal in &self.until {
            match goal {
                GoalArg::HalfWay(within) => until.half_way = Some(*within),
                GoalArg::Ignorable(margin) => until.ignorable = Some(*margin),
            }
        }
        if until == Until::default() {
            return Ok(None);
        }
        let margin = self.verdicts.margin;
        match until.ignorable {
            Some(other) if margin != other && margin != Margin::DEFAULT => anyhow::bail!(
                "--margin {margin} and --until ignorable with {other}: a sweep that stops when it knows is about one margin; name it once"
            ),
            _ => Ok(Some(until)),
        }
    }
}

/// `half-way:0.25` or `ignorable:10`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GoalArg {
    HalfWay(f64),
    Ignorable(Margin),
}

impl std::str::FromStr for GoalArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("half-way", within)) => match precision(within) {
                Ok(within) => Ok(Self::HalfWay(within)),
                Err(why) => Err(format!("'{within}' is {why}")),
            },
            Some(("ignorable", margin)) => margin.parse().map(Self::Ignorable),
            _ => Err(format!(
                "'{text}' is not a goal: half-way:LAYERS or ignorable:POINTS, as half-way:0.25,ignorable:10"
            )),
        }
    }
}

fn precision(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(layers) if (0.05..=10.0).contains(&layers) => Ok(layers),
        _ => Err("not a distance in layers between 0.05 and 10, as 0.25".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let number: f64 = number.trim().parse().unwrap_or(f64::NAN);
    match number * seconds {
        seconds if (1.0..1e7).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a time of a second or more, as 90s, 20m or 2h".into()),
    }
}

/// What a report says.
#[derive(Args, Clone)]
pub struct VerdictArgs {
    /// The loss up to which a manipulation can be ignored, in points (10) or as a share of the
    /// clean score (10%): fix it before you look
    #[arg(long, value_name = "POINTS", default_value = "10")]
    pub margin: Margin,
    /// Report too the first layer from which up the score stays at this share of clean (the
    /// paper's rule, descriptive, without an interval)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub threshold: Option<f64>,
}

impl VerdictArgs {
    /// As the report takes them.
    pub fn options(&self) -> Options {
        Options {
            margin: self.margin,
            threshold: self.threshold,
        }
    }
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

/// A built-in task, or `NAME=FILE`.
#[derive(Clone)]
pub struct TaskArg {
    pub task: TaskName,
    /// The records of a task of the user's own.
    pub file: Option<PathBuf>,
}

impl std::str::FromStr for TaskArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let NamedTask { task, file } = text.parse().map_err(|why: String| spelled(&why))?;
        Ok(Self { task, file })
    }
}

impl TaskArg {
    /// The task, as the library names it.
    pub fn named(&self) -> NamedTask {
        NamedTask {
            task: self.task,
            file: self.file.clone(),
        }
    }
}

/// `all`, or a task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ChatArg {
    All,
    Task(TaskName),
}

impl std::str::FromStr for ChatArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            name => TaskName::new(name).map(Self::Task),
        }
    }
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
        match task.built_in() {
            Some(built_in) if built_in.reads_data() => {}
            Some(_) => return Err(format!("{task} reads no data; squad and cnn_dailymail do")),
            None => {
                return Err(format!(
                    "{task} is no built-in task; one of your own is named with its file: --task {text}"
                ));
            }
        }
        Ok(Self {
            task,
            path: path.into(),
        })
    }
}
