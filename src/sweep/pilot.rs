//! What the clean model scores on a few items of a task: what it takes to know more follows from it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::requests::UnitRun;
use super::{Amount, Prepared, PreparedTask, SweepError, Unit};
use crate::engine::Engine;
use crate::stats::mean;

/// A few items of a task, clean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pilot {
    /// Items that were tried.
    pub items: usize,
    /// Their mean score, 0 to 1.
    pub clean: f64,
}

/// Items at most.
const ITEMS: usize = 16;

/// Runs a few of a task's items clean, some way apart, for about so long; one at least. Nothing is
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
    let mut scores = Vec::new();
    for tried in 0..ITEMS.min(n) {
        let at = tried * n / ITEMS.min(n);
        let unit = Unit {
            items: at..at + 1,
            cells: vec![0],
            amount: Amount::default(),
        };
        let unit_run = UnitRun {
            prepared,
            task: task.task,
            items: &task.set.items[unit.items.clone()],
            unit: &unit,
        };
        let results = unit_run.run(&mut HashMap::new(), engine, &mut ())?;
        scores.extend(
            results
                .iter()
                .flat_map(|of| &of.rows)
                .map(|row| row.scores.score),
        );
        if begun.elapsed() >= time {
            break;
        }
    }
    Ok(Pilot {
        items: scores.len(),
        clean: mean(scores),
    })
}
