//! Items under cells that run together and are stored in one transaction.

use std::ops::{AddAssign, Range, SubAssign};

/// Items of a task under neighbouring cells of the task's.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Which of the task's items.
    pub items: Range<usize>,
    /// Which of the task's cells, rising, in the grid's order. An item without a donor skips
    /// those of `inject`.
    pub cells: Vec<usize>,
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
