//! Units: items under cells that run together and are stored in one transaction.
//!
//! What is worth sharing keeps items together: tokens that their texts begin with in common are
//! computed once for all of them, and one clean run serves all cells of a unit. What an
//! interruption loses, and how long a stop waits, keeps units small. Units follow from the plan
//! alone, so that a resumed run has the batches, and so the rows, of an undisturbed one.

use std::ops::{AddAssign, Range, SubAssign};

use super::Variant;
use super::asked::Asking;
use super::estimate::work;
use crate::engine::{EngineError, Strategy, TokenSelector};
use crate::tasks::{Item, TaskName};

/// Items of a task under neighbouring cells of the task's.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Which of the task's items.
    pub items: Range<usize>,
    /// Which of the task's cells, in the grid's order. An item without a donor skips those of
    /// `inject`.
    pub cells: Range<usize>,
    /// Its results, and its work, without that of getting states of donors. Where the clean cell
    /// is not among its cells, the clean run that the others are compared with is work, but is
    /// no result.
    pub amount: Amount,
}

/// An amount of results and of the work behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    /// Results: items times cells.
    pub results: usize,
    /// In rows times layers of large batches, as [`Engine::cost`](crate::engine::Engine::cost)
    /// counts them where every graph can be cut: a number of the plan, the same on every
    /// machine.
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

/// Items that run together at most.
pub const ITEMS_TOGETHER: usize = 40;
/// Tokens of theirs at most, what they begin with in common counted once.
const TOKENS_TOGETHER: usize = 1024;
/// Work of a unit at most, in rows times layers: about 20 seconds on two cores for a model of
/// 135 million weights. A single cell is never divided.
pub const WORK_TOGETHER: f64 = 200_000.0;

/// The units of a task's items, in the order in which they run: an item's clean cell comes before
/// its others.
///
/// # Errors
/// A token selector that does not fit an item.
pub(super) fn units(
    variant: &Variant,
    selector: &TokenSelector,
    task: TaskName,
    items: &[Item],
) -> Result<Vec<Unit>, EngineError> {
    let shape = variant.spec.shape();
    let cells = variant.grid.cells_of(task).count();
    let mut units = Vec::new();
    for group in groups(items, shape.strategy == Strategy::Planned) {
        let unit = |cells: Range<usize>| {
            let asking = Asking {
                variant,
                selector,
                task,
                cells: cells.clone(),
            };
            let asked = asking.unstated(&items[group.clone()])?;
            let amount = Amount {
                results: asked.results(),
                work: work(&shape.cost(&asked.requests), shape.n_layer),
            };
            Ok::<_, EngineError>(Unit {
                items: group.clone(),
                cells,
                amount,
            })
        };
        let mut first = 0;
        while first < cells {
            let largest = largest(first..cells, &unit)?;
            first = largest.cells.end;
            units.push(largest);
        }
    }
    // Items without a donor may leave a unit of inject's cells without a result.
    units.retain(|unit| unit.amount.results > 0);
    Ok(units)
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
    while fits.cells.end + 1 < too_many {
        let doubled = fits.cells.end + fits.cells.len();
        let end = if too_many > cells.end {
            doubled.min(cells.end)
        } else {
            usize::midpoint(fits.cells.end, too_many)
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
