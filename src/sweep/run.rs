//! Runs a variant: one unit after another, each stored as soon as it is computed.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::adaptive::Curves;
use super::asked::cells_for;
use super::requests::UnitRun;
use super::{Prepared, PreparedTask, Progress, SweepError};
use crate::engine::Engine;
use crate::experiment::{Amount, Comparison, Unit, Windows};
use crate::stats::Until;
use crate::store::Part;
use crate::tasks::Item;

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Results of this session.
    pub results: usize,
    /// Results that were there already.
    pub resumed: usize,
    /// Whether the time that it may take was over before all was done.
    pub spent: bool,
    /// Of a sweep that stops when it knows: what its half-way layers were estimated from.
    pub windows: Windows,
}

/// Runs what is missing of a variant. `comparison` is what a sweep that stops when it knows
/// compares its curves with.
///
/// # Errors
/// [`SweepError`]; what was stored before stays and is not run again.
pub fn run(
    prepared: &Prepared,
    engine: &mut dyn Engine,
    store: &mut Part<'_>,
    progress: &mut dyn Progress,
    comparison: &Comparison,
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
    let mut running = Running {
        prepared,
        engine,
        store,
        progress,
        told: false,
        summary: Summary::default(),
    };
    match prepared.variant.spec.until {
        Some(until) => running.until(until, comparison)?,
        None => running.all()?,
    }
    Ok(running.summary)
}

/// A variant that runs.
struct Running<'r, 's> {
    prepared: &'r Prepared,
    engine: &'r mut dyn Engine,
    store: &'r mut Part<'s>,
    progress: &'r mut dyn Progress,
    /// Whether it was said that something was computed whole.
    told: bool,
    summary: Summary,
}

impl Running<'_, '_> {
    /// All units of the plan.
    fn all(&mut self) -> Result<(), SweepError> {
        let mut pending = Vec::new();
        let (all, mut stored) = (self.prepared.amount(), Amount::default());
        for task in &self.prepared.tasks {
            let missing = self.missing(task, &task.units)?;
            stored += missing.stored;
            pending.push((task, missing.units));
        }
        self.progress.begin(all, stored);
        self.summary.resumed = stored.results;
        for (task, units) in pending {
            if !self.units(task, &units)? {
                break;
            }
        }
        Ok(())
    }

    /// Step by step what decides a task's questions, one task after the other.
    fn until(&mut self, until: Until, comparison: &Comparison) -> Result<(), SweepError> {
        self.progress.begin(Amount::default(), Amount::default());
        let (mut all, mut stored) = (Amount::default(), Amount::default());
        for task in &self.prepared.tasks {
            let mut curves = Curves::new(self.prepared, task, until);
            let before = all.results;
            loop {
                let scores = self.store.scores(task.task)?;
                let (first, _) = self.prepared.variant.grid.of_task(task.task);
                let scores = scores.into_iter().map(|(item, cells)| {
                    let cells = cells
                        .into_iter()
                        .map(|(cell, scored)| (cell - first, scored));
                    (item, cells.collect())
                });
                let units = curves.step(&scores.collect(), comparison)?;
                if units.is_empty() {
                    break;
                }
                units.iter().for_each(|unit| all += unit.amount);
                let missing = self.missing(task, &units)?;
                stored += missing.stored;
                self.summary.resumed += missing.stored.results;
                self.progress.step(all, stored, &curves.told());
                if !self.units(task, &missing.units)? {
                    return Ok(());
                }
                stored = all;
            }
            let items = task.set.items.len();
            self.store
                .note_planned(task.task, items, all.results - before)?;
            self.progress.note(&curves.told());
            self.summary.windows.extend(curves.windows());
        }
        Ok(())
    }

    /// Runs units of a task; whether there was time for all of them.
    fn units(&mut self, task: &PreparedTask, units: &[(Unit, usize)]) -> Result<bool, SweepError> {
        let mut clean_answers = self.store.clean_answers(task.task)?;
        for (unit, left) in units {
            if self.progress.stopped() {
                return Err(SweepError::Interrupted);
            }
            if self.progress.spent() {
                self.summary.spent = true;
                return Ok(false);
            }
            self.progress.unit(Amount {
                results: *left,
                ..unit.amount
            });
            let unit_run = UnitRun {
                prepared: self.prepared,
                task: task.task,
                unit,
                items: &task.set.items[unit.items.clone()],
            };
            let results = unit_run.run(&mut clean_answers, self.engine, self.progress)?;
            self.progress.check()?;
            self.store.commit(&results)?;
            self.progress.stored();
            self.summary.results += left;
            let work = self.engine.work();
            self.store.note_work(&work)?;
            if let Some(reason) = work.reason.filter(|_| !self.told) {
                self.told = true;
                let text = format!("runs that were computed whole: {reason}");
                self.progress.note(&text);
            }
        }
        Ok(true)
    }

    /// Which of a task's units lack results.
    fn missing(&self, task: &PreparedTask, units: &[Unit]) -> Result<Missing, SweepError> {
        let done = self.store.stored(task.task)?;
        let mut missing = Missing::default();
        for unit in units {
            let left = missing_of(self.prepared, task, unit, &done);
            if left > 0 {
                missing.units.push((unit.clone(), left));
            }
            missing.stored += Amount {
                results: unit.amount.results - left,
                work: if left > 0 { 0.0 } else { unit.amount.work },
            };
        }
        Ok(missing)
    }
}

/// Units that lack results, each with how many, and what is stored of all.
#[derive(Default)]
struct Missing {
    units: Vec<(Unit, usize)>,
    stored: Amount,
}

/// How many of a unit's results are not stored.
fn missing_of(
    prepared: &Prepared,
    task: &PreparedTask,
    unit: &Unit,
    stored: &HashMap<String, HashSet<usize>>,
) -> usize {
    let grid = &prepared.variant.grid;
    let items = task.set.items[unit.items.clone()].iter();
    let of_item = |item: &Item| {
        let stored = stored.get(&item.id);
        let cells = cells_for(item, grid, task.task, &unit.cells);
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
    let measured = prepared.floor_prompts();
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
