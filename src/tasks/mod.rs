//! The tasks: items, prompts, and what counts as a right answer.
//!
//! A task makes its items for one tokenizer; which tokens answer, and which tokens a donor's
//! states replace, is settled here, so that nothing above handles text. The built-in tasks are
//! listed in `registry.rs`, a file each; a user's own task is `own/`.

mod answer;
mod capitals;
mod cnn_dailymail;
pub mod data;
mod fold;
mod item;
mod math;
pub mod metrics;
mod name;
pub mod own;
mod registry;
mod spec;
mod squad;
mod usable;

pub use answer::{Answer, answer_part};
pub use capitals::{Capitals, country_table};
pub use cnn_dailymail::CnnDailymail;
pub use item::{Item, ItemSet, Parts, Room, SUBJECT, Scoring, Swap};
pub use math::Math;
pub use metrics::{CHANCE, LOGIT_DIFFERENCE, Metric, Scores};
pub use name::TaskName;
pub use registry::{Asked, TASKS, Task};
pub use spec::{DataSource, TaskError, TaskSpec};
pub use squad::Squad;

use answer::{answer_after, prompt_for};
