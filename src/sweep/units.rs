//! Units: items under cells that run together and are stored in one transaction.
//!
//! What is worth sharing keeps items together: tokens that their texts begin with in common are
//! computed once for all of them, and one clean run serves all cells of a unit. What an
//! interruption loses, and how long a stop waits, keeps units small. Units follow from the plan
//! alone, so that a resumed run has the batches, and so the rows, of an undisturbed one.

use std::ops::{AddAssign, Range, SubAssign};

use super::estimate::{clean_effort, effort_of};
use super::{Effort, Variant};
use crate::engine::Strategy;
use crate::tasks::{Item, TaskName};

/// Items of a task under neighbouring cells of the task's.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Which of the task's items.
    pub items: Range<usize>,
    /// Which of the task's cells, in the grid's order. An item without a donor skips those of
    /// `inject`.
    pub cells: Range<usize>,
    /// What it computes. Where the clean cell is not among its cells, the clean run that the
    /// others are compared with is counted, but is no result.
    pub effort: Effort,
}

/// An amount of results and of the work behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    /// Results: items times cells.
    pub results: usize,
    /// Rows times layers, see [`Effort::work`].
    pub work: f64,
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.results += other.results;
        self.work += other.work;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        self.results -= other.results;
        self.work -= other.work;
    }
}

impl Unit {
    /// Its results and its work.
    pub fn amount(&self) -> Amount {
        Amount {
            results: self.effort.results,
            work: self.effort.work(),
        }
    }
}

/// Items that run together at most.
pub const ITEMS_TOGETHER: usize = 40;
/// Tokens of theirs at most, what they begin with in common counted once.
const TOKENS_TOGETHER: usize = 1024;
/// Work of a unit at most, in rows times layers: about 20 seconds on two cores for a model of
/// 135 million weights. A single cell is never divided.
pub const WORK_TOGETHER: f64 = 200_000.0;

/// The units of a task's items, in the order in which they run: an item's clean cell comes before
/// its others.
pub(super) fn units(variant: &Variant, task: TaskName, items: &[Item]) -> Vec<Unit> {
    let shares = variant.spec.strategy == Strategy::Planned;
    let mut units = Vec::new();
    for group in groups(items, shares) {
        let together = &items[group.clone()];
        let cells = variant.grid.cells_of(task).count();
        let clean = clean_effort(variant, together);
        let mut first = 0;
        let mut sum = Effort::default();
        for cell in 0..cells {
            let effort = effort_of(variant, task, together, cell);
            if cell > first && sum.work() + effort.work() > WORK_TOGETHER {
                units.push(unit(&group, first..cell, sum));
                (first, sum) = (cell, clean);
            }
            sum = sum.and(effort);
        }
        units.push(unit(&group, first..cells, sum));
    }
    // Items without a donor may leave a unit of inject's cells without a result.
    units.retain(|unit| unit.effort.results > 0);
    units
}

fn unit(items: &Range<usize>, cells: Range<usize>, effort: Effort) -> Unit {
    Unit {
        items: items.clone(),
        cells,
        effort,
    }
}

/// Ranges of items that run together.
fn groups(items: &[Item], shares: bool) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (n, item) in items.iter().enumerate() {
        let first = &items[start].prompt.tokens;
        let pairs = item.prompt.tokens.iter().zip(first);
        let shared = if n > start {
            pairs.take_while(|(a, b)| a == b).count()
        } else {
            0
        };
        let own = item.prompt.tokens.len() - shared;
        let full = n - start >= ITEMS_TOGETHER || tokens + own > TOKENS_TOGETHER;
        if n > start && (!shares || full) {
            groups.push(start..n);
            (start, tokens) = (n, item.prompt.tokens.len());
        } else {
            tokens += own;
        }
    }
    if start < items.len() {
        groups.push(start..items.len());
    }
    groups
}
