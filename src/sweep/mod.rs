//! The grid models x tasks x manipulations x layers x seeds: which cells there are, in what order they
//! run, and that an interrupted run goes on where it stopped.
//!
//! A cell is what is done to a task's prompts: a manipulation at a layer with a seed, or nothing. A
//! result is one item under one cell.

mod adaptive;
mod asked;
mod donors;
mod estimate;
mod grid;
mod levels;
mod outside;
mod pilot;
mod prepared;
mod progress;
mod requests;
mod run;
mod seen;
mod spec;
mod speed;
mod units;

pub use adaptive::{Comparison, Windows};
pub use estimate::{Computed, Effort, Prices, estimate, layer_weights};
pub use grid::{Cell, Grid, GridError, Treatment};
pub use levels::alike;
pub use outside::{DirectionSource, Given, Outside, OutsideError};
pub use pilot::{Pilot, pilot};
pub use prepared::{Prepared, PreparedTask, Reasons};
pub use progress::Progress;
pub use run::{Summary, SweepError, run};
pub use spec::{LeftOut, ModelIdentity, Spec, Variant, labels};
pub use speed::{Measured, Speed};
pub use units::{Amount, ITEMS_TOGETHER, Unit, WORK_TOGETHER};
