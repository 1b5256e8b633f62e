//! Units: items under cells that run together and are stored in one transaction.
//!
//! What is worth sharing keeps items together: tokens that their texts begin with in common are
//! computed once for all of them, and one clean run serves all cells of a unit. What an
//! interruption loses, and how long a stop waits, keeps units small. Units follow from the plan
//! alone, so that a resumed run has the batches, and so the rows, of an undisturbed one.

use std::ops::Range;

use super::asked::Asking;
use crate::engine::{Cost, Decode, EngineError, Strategy, TokenSelector};
use crate::experiment::{Amount, Unit, Variant};
use crate::tasks::{Item, TaskName};

/// Items that run together at most.
pub const ITEMS_TOGETHER: usize = 40;
/// Tokens of theirs at most, what they begin with in common counted once.
const TOKENS_TOGETHER: usize = 1024;
/// Work of a unit at most, in rows times layers: about 20 seconds on two cores for a model of
/// 135 million weights. A single cell is never divided.
pub const WORK_TOGETHER: f64 = 200_000.0;

/// What is to run of a task: its items, and some of its cells under some of them.
pub(super) struct ToRun<'a> {
    pub variant: &'a Variant,
    pub selector: &'a TokenSelector,
    pub task: TaskName,
    /// All items of the task.
    pub items: &'a [Item],
}

impl ToRun<'_> {
    /// The units of all items under all cells, in the order in which they run: an item's clean
    /// cell comes before its others.
    ///
    /// # Errors
    /// A token selector that does not fit an item.
    pub fn all(&self) -> Result<Vec<Unit>, EngineError> {
        let cells: Vec<usize> = (0..self.variant.grid.cells_of(self.task).count()).collect();
        self.units(0..self.items.len(), &cells)
    }

    /// The units of neighbouring items under the same cells.
    ///
    /// # Errors
    /// A token selector that does not fit an item.
    pub fn units(&self, items: Range<usize>, cells: &[usize]) -> Result<Vec<Unit>, EngineError> {
        let shape = self.variant.spec.shape();
        let mut units = Vec::new();
        for group in groups(
            &self.items[items.clone()],
            shape.strategy == Strategy::Planned,
        ) {
            let group = items.start + group.start..items.start + group.end;
            let unit = |at: Range<usize>| {
                let asking = Asking {
                    variant: self.variant,
                    selector: self.selector,
                    task: self.task,
                    cells: &cells[at],
                };
                let asked = asking.unstated(&self.items[group.clone()])?;
                let amount = Amount {
                    results: asked.results(),
                    work: work(&shape.cost(&asked.requests), shape.n_layer),
                };
                Ok::<_, EngineError>(Unit {
                    items: group.clone(),
                    cells: asking.cells.to_vec(),
                    amount,
                })
            };
            let mut first = 0;
            while first < cells.len() {
                let largest = largest(first..cells.len(), &unit)?;
                first += largest.cells.len();
                units.push(largest);
            }
        }
        // Items without a donor may leave a unit of inject's cells without a result.
        units.retain(|unit| unit.amount.results > 0);
        Ok(units)
    }
}

/// The unit of as many of the cells, from the first one on, as are not too much together.
fn largest(
    cells: Range<usize>,
    unit: &dyn Fn(Range<usize>) -> Result<Unit, EngineError>,
) -> Result<Unit, EngineError> {
    let first = cells.start;
    let mut fits = unit(first..first + 1)?;
    // Twice as many each time, then by halves: the work rises with the cells.
    let mut too_many = cells.end + 1;
    while first + fits.cells.len() + 1 < too_many {
        let fitting = first + fits.cells.len();
        let end = if too_many > cells.end {
            (fitting + fits.cells.len()).min(cells.end)
        } else {
            usize::midpoint(fitting, too_many)
        };
        let tried = unit(first..end)?;
        if tried.amount.work <= WORK_TOGETHER {
            fits = tried;
        } else {
            too_many = end;
        }
    }
    Ok(fits)
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

/// What a batch costs besides its rows, for its weights are read once: so many rows.
const BATCH: f64 = 4.0;
/// What a row of which only keys and values are computed costs.
const CACHE: f64 = 0.1;

/// The work behind a cost in rows times layers of large batches: a number of the plan, the same
/// on every machine.
fn work(cost: &Cost, n_layer: u32) -> f64 {
    let of = |decode: &Decode| {
        let row = if decode.cut.onward { 1.0 } else { CACHE };
        f64::from(decode.cut.layers(n_layer)) * row * (decode.rows as f64 + BATCH)
    };
    cost.decodes.iter().map(of).sum()
}
