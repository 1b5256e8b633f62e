//! A trial: one prompt under manipulations at some layers, and what each run makes of answers.
//!
//! This is what `midlayer try` shows and what Python's `Model.run` returns: from what a user asks
//! for ([`Part`], stacked in a [`Trial`]) to requests ([`runs`]), and from outcomes to numbers
//! ([`Answer`], [`Line`]).

mod answers;
mod donor;
mod items;
mod line;
mod listed;
mod mapped;
mod named;
mod picture;
mod results;
mod runs;
mod stack;
mod steps;

pub use answers::{Answer, Chance, answer_tokens, follow, percent};
pub use donor::Donor;
pub use items::{About, ItemMaps, OfItems, item_maps};
pub use line::{FIELDS, Line, continued};
pub use listed::{Listed, listed};
pub use mapped::{corruption, heads, measure, question};
pub use named::{NamedTask, NamedTaskError, Told};
pub use results::{Results, results};
pub use runs::{Part, Place, Run, Trial, runs};
pub use stack::Stack;
pub use steps::steps;

use crate::engine::{EngineError, PromptError};
use crate::intervention::{LayerListError, PlanError};
use crate::sweep::SweepError;

/// What went wrong in a trial.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// What is asked for cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A prompt or a part of it.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// An intervention that the model has no layer for.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The layers.
    #[error(transparent)]
    Layers(#[from] LayerListError),
    /// Directions, texts of means, a scaffold.
    #[error(transparent)]
    Given(#[from] SweepError),
}

impl TrialError {
    /// Whether something else should be asked for, and nothing has failed.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Usage(_) | Self::Prompt(_) | Self::Plan(_) | Self::Layers(_) => true,
            Self::Engine(error) => matches!(error, EngineError::Plan(_) | EngineError::Prompt(_)),
            Self::Given(error) => matches!(error, SweepError::Tokens(_) | SweepError::Grid(_)),
        }
    }
}
