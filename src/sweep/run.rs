//! Runs a variant: one unit after another, each stored as soon as it is computed.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::prepared::{PreparedTask, cells_for};
use super::requests::UnitRun;
use super::{Amount, GridError, OutsideError, Prepared, Progress, Reasons, Unit};
use crate::engine::{Engine, EngineError};
use crate::files::HeldError;
use crate::store::{Part, StoreError};
use crate::tasks::{Item, TaskError, TaskName};

/// What can stop a sweep.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The engine failed.
    #[error("{task}, item {item}: {source}")]
    Item {
        /// The task.
        task: TaskName,
        /// The item and the cell, or the first and the last of the items that ran together.
        item: String,
        /// Why.
        source: EngineError,
    },
    /// The engine failed before any item.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The results could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to run.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// No item of a task is left.
    #[error("{task}: no item {what}{}", because(reasons))]
    NoItem {
        /// The task.
        task: TaskName,
        /// What no item does.
        what: &'static str,
        /// Why those that there are do not.
        reasons: Reasons,
    },
    /// The user stopped it. What was stored stays.
    #[error("interrupted; repeat the command to go on where it stopped")]
    Interrupted,
    /// What results are computed from is not what it was.
    #[error(transparent)]
    Changed(#[from] HeldError),
    /// A task has no items.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A file that a manipulation needs cannot be used.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// The token selector does not fit sweeps.
    #[error("{0}")]
    Tokens(String),
}

fn because(reasons: &Reasons) -> String {
    match reasons.count() {
        0 => ": there are none".into(),
        n => format!(" of {n}: {reasons}"),
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Results of this session.
    pub results: usize,
    /// Results that were there already.
    pub resumed: usize,
}

/// Prompts on which the noise floor is measured.
const FLOOR_PROMPTS: usize = 5;

/// Runs what is missing of a variant.
///
/// # Errors
/// [`SweepError`]; what was stored before stays and is not run again.
pub fn run(
    prepared: &Prepared,
    engine: &mut dyn Engine,
    store: &mut Part<'_>,
    progress: &mut dyn Progress,
) -> Result<Summary, SweepError> {
    if progress.stopped() {
        return Err(SweepError::Interrupted);
    }
    let items = prepared.tasks.iter().flat_map(|task| &task.set.items);
    let longest = items.map(|item| item.prompt.tokens.len()).max();
    if let Some(notice) = engine.facts().length_notice(longest.unwrap_or(0)) {
        progress.note(&notice);
    }
    prepared.note(store)?;
    measure_noise_floor(prepared, engine, store, progress)?;
    let mut pending = Vec::new();
    let (all, mut stored) = (prepared.amount(), Amount::default());
    let mut clean_answers = Vec::new();
    for (n, task) in prepared.tasks.iter().enumerate() {
        clean_answers.push(store.clean_answers(task.task)?);
        let done = store.stored(task.task)?;
        for unit in &task.units {
            let left = missing(prepared, task, unit, &done);
            if left > 0 {
                pending.push((n, unit, left));
            }
            let amount = unit.amount;
            stored += Amount {
                results: amount.results - left,
                work: if left > 0 { 0.0 } else { amount.work },
            };
        }
    }
    progress.begin(all, stored);
    let mut told = false;
    for (n, unit, left) in pending {
        let task = &prepared.tasks[n];
        if progress.stopped() {
            return Err(SweepError::Interrupted);
        }
        progress.unit(Amount {
            results: left,
            ..unit.amount
        });
        let unit_run = UnitRun {
            prepared,
            task: task.task,
            unit,
            items: &task.set.items[unit.items.clone()],
        };
        let results = unit_run.run(&mut clean_answers[n], engine, progress)?;
        progress.check()?;
        store.commit(&results)?;
        progress.stored();
        let work = engine.work();
        store.note_work(&work)?;
        if let Some(reason) = work.reason.filter(|_| !told) {
            told = true;
            progress.note(&format!("runs that were computed whole: {reason}"));
        }
    }
    Ok(Summary {
        results: all.results - stored.results,
        resumed: stored.results,
    })
}

/// How many of a unit's results are not stored.
fn missing(
    prepared: &Prepared,
    task: &PreparedTask,
    unit: &Unit,
    stored: &HashMap<String, HashSet<usize>>,
) -> usize {
    let grid = &prepared.variant.grid;
    let items = task.set.items[unit.items.clone()].iter();
    let of_item = |item: &Item| {
        let stored = stored.get(&item.id);
        let cells = cells_for(item, grid, task.task, unit.cells.clone());
        cells
            .filter(|(cell, _)| stored.is_none_or(|stored| !stored.contains(cell)))
            .count()
    };
    items.map(of_item).sum()
}

fn measure_noise_floor(
    prepared: &Prepared,
    engine: &mut dyn Engine,
    store: &mut Part<'_>,
    progress: &mut dyn Progress,
) -> Result<(), SweepError> {
    if store.has_noise_floor()? {
        return Ok(());
    }
    let measured = floor_prompts(prepared);
    let prompts: Vec<_> = measured
        .iter()
        .map(|(_, item)| item.prompt.clone())
        .collect();
    let (begun, before) = (Instant::now(), engine.work().layer_rows);
    let floors = engine.noise_floor(&prompts).map_err(|error| {
        let (prompt, source) = error.request();
        match prompt.map(|n| measured[n]) {
            Some((task, item)) => SweepError::Item {
                task,
                item: format!("{}, clean", item.id),
                source,
            },
            None => source.into(),
        }
    })?;
    let work = (engine.work().layer_rows - before) as f64;
    progress.measured(work, begun.elapsed());
    progress.check()?;
    store.put_noise_floor(&floors)?;
    Ok(())
}

/// The items on whose prompts the noise floor is measured.
pub(super) fn floor_prompts(prepared: &Prepared) -> Vec<(TaskName, &Item)> {
    let tasks = prepared.tasks.iter();
    let items = tasks.flat_map(|task| {
        let items = task.set.items.iter().take(FLOOR_PROMPTS);
        items.map(|item| (task.task, item))
    });
    items.collect()
}
