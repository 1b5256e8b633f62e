//! What the clean model scores on a few items of a task: what it takes to know more follows from it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::requests::UnitRun;
use super::{Prepared, PreparedTask, SweepError};
use crate::engine::Engine;
use crate::experiment::{Amount, Unit};
use crate::stats::mean;
use crate::tasks::Item;

/// A few items of a task, clean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pilot {
    /// Items that were tried.
    pub items: usize,
    /// Their mean score, 0 to 1.
    pub clean: f64,
}

/// Items at most, and those that are tried together at first; then as many again as were tried.
const ITEMS: usize = 16;
const FIRST: usize = 4;

/// Runs a few of a task's items clean, some way apart, for about so long; four at least. Nothing is
/// stored.
///
/// # Errors
/// The engine's.
pub fn pilot(
    prepared: &Prepared,
    task: &PreparedTask,
    engine: &mut dyn Engine,
    time: Duration,
) -> Result<Pilot, SweepError> {
    let begun = Instant::now();
    let n = task.set.items.len();
    let most = ITEMS.min(n);
    let chosen: Vec<Item> = (0..most)
        .map(|at| task.set.items[at * n / most].clone())
        .collect();
    let mut scores: Vec<f64> = Vec::new();
    while scores.len() < most && (scores.is_empty() || begun.elapsed() < time) {
        let tried = scores.len();
        let unit = Unit {
            items: tried..(2 * tried).max(FIRST).min(most),
            cells: vec![0],
            amount: Amount::default(),
        };
        let unit_run = UnitRun {
            prepared,
            task: task.task,
            items: &chosen[unit.items.clone()],
            unit: &unit,
        };
        let results = unit_run.run(&mut HashMap::new(), engine, &mut ())?;
        let rows = results.iter().flat_map(|of| &of.rows);
        scores.extend(rows.map(|row| row.scores.score));
    }
    Ok(Pilot {
        items: scores.len(),
        clean: mean(scores),
    })
}
