//! The grid models x tasks x manipulations x layers x seeds: which cells there are, in what order they
//! run, and that an interrupted run goes on where it stopped.

mod donors;
mod estimate;
mod grid;
mod levels;
mod run;
mod seen;
mod spec;

pub use estimate::{Effort, estimate, layer_weights};
pub use grid::{Cell, Grid, GridError, Treatment};
pub use levels::alike;
pub use run::{ITEMS_TOGETHER, Progress, Summary, SweepError, run};
pub use spec::{DataSource, LeftOut, ModelIdentity, Spec, TaskSpec, Variant, labels};
