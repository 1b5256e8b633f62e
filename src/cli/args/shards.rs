//! Options of the commands about runs in parts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Args)]
pub struct RunsArgs {
    /// Where the runs are [default: runs]
    #[arg(value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Of a run in parts (sweep --shard): print the parts that are not complete as an array's
    /// option, --array=2,5-7, or nothing when all are
    #[arg(long, requires = "folder")]
    pub missing: bool,
}

#[derive(Args)]
pub struct WatchArgs {
    /// Folder of the run
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Look once, and end
    #[arg(long)]
    pub once: bool,
    /// Look again after so long
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
}

#[derive(Args)]
pub struct MergeArgs {
    /// Folder of the run; what it holds already stays
    #[arg(value_name = "FOLDER")]
    pub out: PathBuf,
    /// Folders of parts, or folders that hold them [default: those in FOLDER/shards]
    #[arg(value_name = "PART")]
    pub parts: Vec<PathBuf>,
}

#[derive(Args)]
pub struct SubmitArgs {
    #[command(subcommand)]
    pub scheduler: Scheduler,
}

#[derive(Subcommand)]
pub enum Scheduler {
    /// SLURM: a job that makes the models ready, an array with a task a part, a job that merges and
    /// reports; repeated, it submits the parts that are not complete
    Slurm(SlurmArgs),
}

#[derive(Args)]
pub struct SlurmArgs {
    /// Parts of the run
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub parts: u32,
    /// Parts that run at once at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub at_once: Option<u32>,
    /// Processors of a task, and so its threads
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub cpus: u32,
    /// Memory of a task in megabytes [default: estimated here, which loads the model]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..))]
    pub memory: Option<u64>,
    /// The longest time of a task in minutes [default: estimated here, at this machine's speed with as
    /// many threads]
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(5..))]
    pub time: Option<u64>,
    /// Generic resources of a task, as gpu:1 (with -ngl in the sweep)
    #[arg(long, value_name = "SPEC")]
    pub gres: Option<String>,
    /// Copy the model to the node's own disk ($TMPDIR) first, and work on the results there (sweep
    /// --scratch)
    #[arg(long)]
    pub scratch: bool,
    /// A further option of all jobs, as --sbatch=--partition=long; may be given several times
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub sbatch: Vec<String>,
    /// Print the script that would submit the jobs, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// The sweep: -- sweep -m MODEL ... --out FOLDER
    #[arg(required = true, last = true, value_name = "SWEEP")]
    pub sweep: Vec<OsString>,
}
