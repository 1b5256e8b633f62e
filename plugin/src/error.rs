//! What can go wrong in a session.

use crate::graph::GraphError;
use crate::hook::HookFault;
use crate::host::HostError;
use crate::plan::StatesFileError;
use crate::requests::Ambiguous;
use crate::source::SourceError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The host's ggml is not to be touched.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] SourceError),
    /// The graph is left alone.
    #[error("left alone: {0}")]
    Graph(#[from] GraphError),
    /// The rows are left alone.
    #[error("left alone: {0}")]
    Rows(#[from] Ambiguous),
    /// A row was not rewritten as it should have been.
    #[error("text {text} came out wrong: {fault}")]
    Fault {
        /// Its number.
        text: u64,
        /// What happened.
        fault: HookFault,
    },
    /// An evaluation that began did not end.
    #[error("text {0} came out wrong: its evaluation ended early")]
    Early(u64),
    /// States could not be written.
    #[error(transparent)]
    States(#[from] StatesFileError),
    /// No states to write.
    #[error("no states were captured (capture in the plan)")]
    NoStates,
    /// A mistake here.
    #[error("midlayer failed and leaves the model alone from here on: {0}")]
    Panicked(String),
}
