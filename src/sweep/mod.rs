//! The grid models x tasks x manipulations x layers x seeds: which cells there are, in what order they
//! run, and that an interrupted run goes on where it stopped.

mod adaptive;
mod asked;
mod donors;
mod drawn;
mod drift;
mod error;
mod estimate;
mod given;
mod pilot;
mod prepared;
mod progress;
mod requests;
mod run;
mod seen;
mod speed;
mod units;

pub use drift::Base;
pub use error::SweepError;
pub use estimate::{Computed, Effort, Prices, estimate, layer_weights};
pub use given::Given;
pub use pilot::{Pilot, pilot};
pub use prepared::{Prepared, PreparedTask};
pub use progress::Progress;
pub use run::{Summary, run};
pub use speed::{Measured, Speed};
pub use units::{ITEMS_TOGETHER, WORK_TOGETHER};
