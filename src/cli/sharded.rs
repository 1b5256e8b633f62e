//! `midlayer sweep --shard`: which part of a run is this process's.

use std::path::Path;

use super::Usage;
use super::args::SweepArgs;
use super::output::say;
use super::setup::computing;
use crate::runtime::devices;
use crate::shards::{Asked, ReadError, Shard, from_environment, not_merged, pieces, read};
use crate::store::{Machine, OfShard, StoredRun};
use crate::sweep::Prepared;

/// The part that is asked for, known before anything is loaded.
pub fn asked(args: &SweepArgs) -> anyhow::Result<Option<Shard>> {
    let Some(asked) = args.shard else {
        return Ok(None);
    };
    if args.until()?.is_some() {
        return Err(Usage(
            "--shard and --adaptive (or --until): what a sweep that stops when it knows computes next depends on all results so far, and a part knows only its own; leave one of them out".into(),
        )
        .into());
    }
    if args.budget.is_some() {
        return Err(Usage(
            "--shard and --budget: a part that ends early would leave a gap; leave --budget out, and give the scheduler a time limit instead (TERM is a safe way out)".into(),
        )
        .into());
    }
    let shard = match asked {
        Asked::This(shard) => shard,
        Asked::Task(count) => from_environment(count).map_err(|error| Usage(error.to_string()))?,
    };
    Ok(Some(shard))
}

/// Gives all items of a run their places in it.
pub fn place(prepared: &mut [Prepared]) {
    let mut places = 0;
    for prepared in prepared {
        places = prepared.place(places);
    }
}

/// Leaves the part to run, and says what it is of.
pub fn take(shard: Shard, prepared: &mut [Prepared], out: &Path) -> anyhow::Result<OfShard> {
    shard.check(out)?;
    let groups: Vec<Vec<f64>> = prepared.iter().map(Prepared::groups).collect();
    let all: usize = groups.iter().map(Vec::len).sum();
    let pieces = pieces(&groups.concat(), shard.count as usize);
    let own = &pieces[shard.number as usize - 1];
    let mut first = 0;
    for (prepared, groups) in prepared.iter_mut().zip(&groups) {
        let from = own.start.saturating_sub(first).min(groups.len());
        let to = own.end.saturating_sub(first).min(groups.len());
        prepared.keep(&(from..to));
        first += groups.len();
    }
    if all < shard.count as usize {
        say(&format!(
            "the run has {all} groups of items that are computed together, so {} of its {} parts have nothing to do",
            shard.count as usize - all,
            shard.count
        ));
    }
    let results = prepared.iter().map(|one| one.amount().results).sum();
    say(&format!(
        "part {shard}: {} of {all} groups of items, {results} results",
        own.len()
    ));
    Ok(OfShard {
        number: shard.number,
        count: shard.count,
        results,
    })
}

/// What this process computes on.
pub fn machine(args: &SweepArgs, threads: u32) -> anyhow::Result<Machine> {
    let devices = devices()?;
    let processor = devices.iter().find(|device| device.backend == "CPU");
    let processor = processor.map_or("unknown", |device| device.description.trim());
    let gpus = computing(args.model.n_gpu_layers, args.model.device.as_deref())?;
    let gpus = gpus
        .iter()
        .map(|device| format!("{} {}", device.backend, device.description.trim()));
    let backend = match gpus.collect::<Vec<_>>() {
        gpus if gpus.is_empty() => "CPU".to_string(),
        gpus => gpus.join(" and "),
    };
    Ok(Machine::here(processor, &backend, threads))
}

/// Reads a run, whole or in parts, and says what it leaves out.
pub fn read_run(folder: &Path) -> Result<StoredRun, ReadError> {
    let run = read(folder)?;
    let more = not_merged(folder)?;
    if more > 0 {
        let folder = folder.display();
        say(&format!(
            "the parts in {folder} hold {more} results more than the run that was made of them: midlayer merge {folder} takes them in"
        ));
    }
    Ok(run)
}
