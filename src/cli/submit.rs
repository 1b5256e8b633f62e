//! `midlayer submit slurm`: a sweep in parts, handed to SLURM.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Parser;

use super::Usage;
use super::args::{
    Arguments, Command as Parsed, Scheduler, SlurmArgs, SubmitArgs, SweepArgs, long_names,
};
use super::command_line::word;
use super::dry_run::of_parts;
use super::output::{print, say};
use super::setup::{Named, named_models};
use crate::runtime::model_parts;
use crate::shards::slurm::{DISK, Jobs, variable};
use crate::shards::{Shard, Shards, list};

pub fn run(args: &SubmitArgs) -> anyhow::Result<()> {
    let Scheduler::Slurm(args) = &args.scheduler;
    let sweep = sweep(&args.sweep)?;
    let out = sweep.out.clone().ok_or_else(|| {
        Usage(
            "say where the results go, in a folder that all nodes reach (sweep --out FOLDER)"
                .into(),
        )
    })?;
    let array = array(args, &out)?;
    let Some(array) = array else {
        say(&format!(
            "all {} parts are complete; midlayer merge {} makes one run of them",
            args.parts,
            out.display()
        ));
        return Ok(());
    };
    let jobs = jobs(args, &sweep, &out, array)?;
    let script = jobs.script();
    match args.dry_run {
        true => print(&script),
        false => submit(&script),
    }
}

/// The sweep's own options, checked as far as they can be.
fn sweep(words: &[OsString]) -> anyhow::Result<SweepArgs> {
    let line = std::iter::once(OsString::from("midlayer")).chain(words.iter().cloned());
    let parsed = Arguments::try_parse_from(long_names(line)).unwrap_or_else(|error| error.exit());
    let Parsed::Sweep(sweep) = parsed.command else {
        return Err(Usage(
            "after -- comes a sweep: midlayer submit slurm -- sweep -m MODEL --out FOLDER".into(),
        )
        .into());
    };
    let refused = match &sweep {
        sweep if sweep.shard.is_some() => Some(
            "--shard: which part a task runs is its number's; say how many there are before the -- (--parts)",
        ),
        sweep if sweep.dry_run => Some("--dry-run: write it before the -- to see the jobs"),
        sweep if sweep.budget.is_some() => Some(
            "--budget: a part that ends early would leave a gap; say before the -- how long a task may take (--time)",
        ),
        sweep if sweep.until()?.is_some() => {
            Some("--adaptive (or --until): a sweep that stops when it knows cannot be run in parts")
        }
        _ => None,
    };
    match refused {
        Some(why) => Err(Usage(why.into()).into()),
        None => Ok(sweep),
    }
}

/// The parts to run: those that are not complete. `None` where all are.
fn array(args: &SlurmArgs, out: &Path) -> anyhow::Result<Option<String>> {
    let first = Shard {
        number: 1,
        count: args.parts,
    };
    first.check(out)?;
    let Some(shards) = Shards::of(out)? else {
        return Ok(Some(format!("1-{}", args.parts)));
    };
    let gaps: Vec<u32> = shards.gaps()?.iter().map(|gap| gap.number).collect();
    Ok((!gaps.is_empty()).then(|| list(&gaps)))
}

fn jobs(args: &SlurmArgs, sweep: &SweepArgs, out: &Path, array: String) -> anyhow::Result<Jobs> {
    let quoted = |path: &Path| word(path.as_os_str());
    let (mut minutes, mut megabytes) = (args.time, args.memory);
    if minutes.is_none() || megabytes.is_none() {
        let mut priced = sweep.clone();
        priced.model.threads = priced.model.threads.or(Some(args.cpus));
        let (seconds, bytes) = of_parts(&priced, args.parts)?;
        let needed = (seconds / 60.0).ceil() as u64 + 5;
        minutes = minutes.or(Some(needed.next_multiple_of(5)));
        // Besides weights and buffers: the program, its items, the results in hand.
        let needed = bytes / 1_000_000 * 6 / 5 + 500;
        megabytes = megabytes.or(Some(needed.next_multiple_of(100)));
        say("time and memory of a task are estimated at this machine's speed (--time, --memory)");
    }
    let mut words: Vec<String> = args.sweep.iter().map(|argument| word(argument)).collect();
    let mut copied = Vec::new();
    if args.scratch {
        copied = scratch(sweep, &mut words)?;
        if sweep.scratch.is_none() {
            words.extend(["--scratch".into(), format!("\"{DISK}\"")]);
        }
    }
    let name = out
        .file_name()
        .map_or("run".into(), |name| name.to_string_lossy());
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    Ok(Jobs {
        name: format!("midlayer-{}", name.chars().map(plain).collect::<String>()),
        folder: quoted(&std::env::current_dir()?),
        program: quoted(&crate::own::file()?),
        sweep: words.join(" "),
        ready: ready(sweep),
        copied,
        out: quoted(out),
        count: args.parts,
        array,
        at_once: args.at_once,
        cpus: args.cpus,
        megabytes: megabytes.unwrap_or_default(),
        minutes: minutes.unwrap_or_default(),
        gres: args.gres.clone(),
        options: args.sbatch.clone(),
    })
}

/// Commands that fetch or requantize each model once.
fn ready(sweep: &SweepArgs) -> Vec<String> {
    let (option, names) = match (&sweep.model.hf_repo, &sweep.model.model) {
        (Some(repos), _) => ("--hf-repo", repos),
        (None, Some(models)) => ("-m", models),
        (None, None) => return Vec::new(),
    };
    let names: Vec<&str> = match Path::new(names).is_file() {
        true => vec![names],
        false => names.split(',').map(str::trim).collect(),
    };
    let command = |name: &&str| format!("tokens {option} {} -p .", word(name.as_ref()));
    names.iter().map(command).collect()
}

/// Puts variables in the place of models, which stand for their copies on a node's own disk.
/// Returns each model's files.
fn scratch(sweep: &SweepArgs, words: &mut [String]) -> anyhow::Result<Vec<Vec<String>>> {
    let mut copied = Vec::new();
    for named in named_models(&sweep.model)? {
        match named {
            Named::File(file) => {
                let files = model_parts(&file)?;
                copied.push(files.iter().map(|file| word(file.as_os_str())).collect());
            }
            Named::Unmade { .. } | Named::Hub(_) => {
                return Err(Usage("--scratch copies models that are here: make or fetch them first (midlayer quantize, midlayer pull, or a run of midlayer tokens)".into()).into());
            }
        }
    }
    let all: Vec<String> = (1..=copied.len())
        .map(|n| format!("${}", variable(n)))
        .collect();
    let models = format!("\"{}\"", all.join(","));
    let at = words
        .iter()
        .position(|word| matches!(&**word, "-m" | "--model" | "-hf" | "--hf-repo"));
    match at.filter(|at| at + 1 < words.len()) {
        Some(at) => {
            words[at] = "-m".into();
            words[at + 1] = models;
            Ok(copied)
        }
        None => Err(Usage("--scratch: name the model as -m MODEL, in two words".into()).into()),
    }
}

fn submit(script: &str) -> anyhow::Result<()> {
    let failed =
        |error| anyhow::anyhow!("bash cannot be run: {error}; --dry-run prints the script");
    let mut shell = Command::new("bash");
    let mut child = shell
        .arg("-s")
        .stdin(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    match child.wait()?.success() {
        true => Ok(()),
        false => anyhow::bail!(
            "SLURM has not taken the jobs (sbatch says why above); --dry-run prints the script"
        ),
    }
}
