//! The command line: arguments to plain structs, commands, exit codes.

mod args;
mod attach;
mod bench;
mod capture;
mod command_line;
mod config;
mod direction;
mod doctor;
mod dry_run;
mod export;
mod follow;
mod manual;
mod map;
mod merge;
mod notices;
mod output;
mod pull;
mod quantize;
mod report;
mod runs;
mod selftest;
mod serve;
mod setup;
mod sharded;
mod specification;
mod spelled;
mod submit;
mod sweep;
mod tasks;
mod text;
mod tokens;
mod try_prompt;
mod watch;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use crate::engine::{EngineError, PromptError};
use crate::experiment::GridError;
use crate::intervention::{LayerListError, PlanError};
use crate::loading::{self, LoadError};
use crate::models::ModelError;
use crate::runtime::{ContextOptions, ShapeError, serve_rpc, set_verbose};
use crate::store::tell_waits;
use crate::sweep::SweepError;
use crate::tasks::data::PARQUET_THREAD;
use crate::trial::TrialError;
use args::{Arguments, CheckModelArgs, Command};
use command_line::{command_line, without_shard};
use follow::Stopped;

/// What OpenMP's runtime takes its spinning from.
pub const SPIN: &str = "GOMP_SPINCOUNT";
/// The variable that says that `SPIN` was set by the program and not by the user.
pub const SPIN_SET: &str = "MIDLAYER_SPIN_SET";

/// Wrong usage that clap could not see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The program `midlayer`: parses `arguments`, whose first is the program's name, runs the
/// command, prints its results to stdout and what else there is to say to stderr. Returns the
/// exit code: 0, 2 for wrong usage, 1 for a failed run, 130 on interrupt, 75 on TERM. Where only a text was
/// asked for (`--help`) or the arguments are none, it ends the process itself.
pub fn program(arguments: impl Iterator<Item = OsString>) -> u8 {
    keep_quiet_about_parquet();
    let given: Vec<OsString> = arguments.collect();
    let arguments = match config::with_file(args::long_names(given.iter().cloned())) {
        Ok(arguments) => parsed(arguments),
        Err(error) => {
            output::say(&error.to_string());
            return exit_code(&error);
        }
    };
    set_verbose(arguments.verbose);
    tell_waits(output::say);
    let result = match arguments.command {
        Command::Sweep(args) if args.dry_run => dry_run::run(&args),
        Command::Sweep(args) => {
            let given = || given.iter().skip(1).cloned();
            let whole = command_line(without_shard(given()));
            sweep::run(args, &command_line(given()), &whole)
        }
        Command::Try(args) => try_prompt::run(args),
        Command::Map(args) => map::run(args),
        Command::Capture(args) => capture::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Tasks(args) => tasks::run(&args),
        Command::Tokens(args) => tokens::run(args),
        Command::Direction(args) => direction::run(args),
        Command::Attach(args) => attach::run(args),
        Command::Report(args) => report::run(args),
        Command::Export(args) => export::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Pull(args) => pull::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Submit(args) => submit::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Runs(args) => runs::run(args),
        Command::Selftest(args) => selftest::run(&args),
        Command::Doctor => doctor::run(),
        Command::RpcServer(args) => rpc_server(&args),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man => manual::man(),
        Command::Bench(args) => bench::run(args),
        Command::CheckModel(args) => check_model(&args),
    };
    let Err(error) = result else {
        return 0;
    };
    if error.is::<output::Closed>() {
        return 0;
    }
    output::say(&error.to_string());
    exit_code(&error)
}

/// Computes for other machines.
fn rpc_server(args: &args::RpcServerArgs) -> anyhow::Result<()> {
    let threads = args.threads.unwrap_or(ContextOptions::default().threads);
    output::say(
        "no authentication: whoever reaches this address may use this machine, and may do harm to it",
    );
    Ok(serve_rpc(&format!("{}:{}", args.host, args.port), threads)?)
}

/// Says whether a file loads.
fn check_model(args: &CheckModelArgs) -> anyhow::Result<()> {
    output::print(&loading::tried(&args.file, &args.settings)?)
}

/// Parses, or ends the program with what is wrong.
fn parsed(arguments: Vec<OsString>) -> Arguments {
    Arguments::try_parse_from(arguments).unwrap_or_else(|mut error| {
        suggest_command(&mut error);
        error.exit()
    })
}

/// Letters that may be wrong in a command's name for it to be suggested.
const TYPOS: usize = 2;

/// clap finds no command in `tyr`, as it counts two letters that changed places as two wrong
/// ones.
fn suggest_command(error: &mut clap::Error) {
    let known = error.get(ContextKind::SuggestedSubcommand).is_some();
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    if known || error.kind() != ErrorKind::InvalidSubcommand {
        return;
    }
    let command = Arguments::command();
    let commands = command.get_subcommands().filter(|c| !c.is_hide_set());
    let apart = commands.map(|c| {
        (
            strsim::damerau_levenshtein(c.get_name(), name),
            c.get_name(),
        )
    });
    // Of a short name something must be left.
    let near = apart.filter(|(n, of)| *n <= TYPOS && *n < of.len());
    if let Some((_, name)) = near.min() {
        let suggestion = ContextValue::Strings(vec![name.to_string()]);
        error.insert(ContextKind::SuggestedSubcommand, suggestion);
    }
}

/// What panics in the thread that reads Parquet files becomes an error, and that is enough.
fn keep_quiet_about_parquet() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(PARQUET_THREAD) {
            loud(panic);
        }
    }));
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return stopped.code;
    }
    let in_plan = |e: &EngineError| matches!(e, EngineError::Plan(_) | EngineError::Prompt(_));
    let usage = error.is::<Usage>()
        || error.is::<LayerListError>()
        || error.is::<PlanError>()
        || error.is::<PromptError>()
        || error.is::<GridError>()
        || matches!(
            error.downcast_ref(),
            Some(ModelError::Unknown { .. } | ModelError::Level(_))
        )
        || matches!(
            error.downcast_ref(),
            Some(SweepError::Tokens(_) | SweepError::Grid(_))
        )
        || matches!(
            error.downcast_ref(),
            Some(ShapeError::Impossible(_) | ShapeError::Same(_))
        )
        || error.downcast_ref().is_some_and(TrialError::is_usage)
        || error.downcast_ref().is_some_and(LoadError::is_usage)
        || error.downcast_ref().is_some_and(in_plan);
    if usage { 2 } else { 1 }
}
