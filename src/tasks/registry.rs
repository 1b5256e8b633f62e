//! What a task is, and the built-in ones.

use super::{ItemSet, Metric, Room, TaskError, TaskName, TaskSpec};
use super::{capitals, cnn_dailymail, math, squad};
use crate::engine::{Tokenizer, Wording};

/// A task: what it says of itself, and the items that it makes for a model's tokenizer.
pub trait Task: Sync {
    /// What is asked, in a few words.
    fn sentence(&self) -> &str;

    /// An item as it looks: the end of a prompt, and its answer behind `->`.
    fn example(&self) -> String;

    /// The version of its items and prompts: it changes whenever they do.
    fn version(&self) -> u32;

    /// What its score is.
    fn metric(&self) -> Metric;

    /// Items that are asked unless the user says how many.
    fn usual_limit(&self) -> usize {
        100
    }

    /// Examples before each question unless the user says how many.
    fn usual_shots(&self) -> usize {
        5
    }

    /// Whether its items come from a data file.
    fn reads_data(&self) -> bool {
        false
    }

    /// Whether its items may have donors for `inject`.
    fn has_swaps(&self) -> bool {
        false
    }

    /// An item's name as people know it: of its id and, where that says nothing, of its prompt,
    /// which may be empty where it is not at hand.
    fn title(&self, id: &str, _prompt: &str) -> String {
        id.to_string()
    }

    /// The part of a prompt that several items have in common by their data, which makes them a
    /// cluster: the passage of a question.
    fn shared_part<'p>(&self, _prompt: &'p str) -> Option<&'p str> {
        None
    }

    /// The items.
    ///
    /// # Errors
    /// The tokenizer's; a data file that cannot be read.
    fn items(&self, spec: &TaskSpec, asked: Asked<'_>) -> Result<ItemSet, TaskError>;
}

/// What items are made for.
#[derive(Clone, Copy)]
pub struct Asked<'t> {
    /// The model's tokenizer.
    pub tokenizer: &'t dyn Tokenizer,
    /// How prompts are worded.
    pub wording: Wording,
    /// What a prompt and its answer must fit.
    pub room: Room,
}

/// The built-in tasks, in the order in which they are listed.
pub static TASKS: [(TaskName, &dyn Task); 4] = [
    (TaskName::Capitals, &capitals::Entry),
    (TaskName::Math, &math::Entry),
    (TaskName::Squad, &squad::Entry),
    (TaskName::CnnDailymail, &cnn_dailymail::Entry),
];
