//! What can stop a sweep.

use crate::engine::EngineError;
use crate::experiment::{GridError, OutsideError, Reasons};
use crate::files::HeldError;
use crate::store::StoreError;
use crate::tasks::{TaskError, TaskName};

/// What can stop a sweep.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The engine failed.
    #[error("{task}, item {item}: {source}")]
    Item {
        /// The task.
        task: TaskName,
        /// The item and the cell, or the first and the last of the items that ran together.
        item: String,
        /// Why.
        source: EngineError,
    },
    /// The engine failed before any item.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The results could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to run.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// No item of a task is left.
    #[error("{task}: no item {what}{}", because(reasons))]
    NoItem {
        /// The task.
        task: TaskName,
        /// What no item does.
        what: &'static str,
        /// Why those that there are do not.
        reasons: Reasons,
    },
    /// The user stopped it. What was stored stays.
    #[error("interrupted; repeat the command to go on where it stopped")]
    Interrupted,
    /// What results are computed from is not what it was.
    #[error(transparent)]
    Changed(#[from] HeldError),
    /// A task has no items.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A file that a manipulation needs cannot be used.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// The token selector does not fit sweeps.
    #[error("{0}")]
    Tokens(String),
}

fn because(reasons: &Reasons) -> String {
    match reasons.count() {
        0 => ": there are none".into(),
        n => format!(" of {n}: {reasons}"),
    }
}
