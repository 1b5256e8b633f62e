//! The tasks: items, prompts, and what counts as a right answer.
//!
//! A task makes its items for one tokenizer; which tokens answer, and which tokens a donor's
//! states replace, is settled here, so that nothing above handles text.

mod capitals;
mod fold;
mod math;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use capitals::{Capitals, country_table};
pub use math::Math;

use crate::engine::{Engine, EngineError, Prompt};
use crate::runtime::Token;

/// The tasks by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskName {
    /// The capital of a country.
    Capitals,
    /// Addition and subtraction.
    Math,
}

impl TaskName {
    /// All of them.
    pub const ALL: [TaskName; 2] = [TaskName::Capitals, TaskName::Math];

    /// The version of the task's items and prompts: it changes whenever they do.
    pub fn version(self) -> u32 {
        1
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskName::Capitals => "capitals",
            TaskName::Math => "math",
        })
    }
}

impl FromStr for TaskName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|task| task.to_string() == text)
            .ok_or_else(|| format!("'{text}' is not a task; choose from capitals, math"))
    }
}

/// When an answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// The likeliest token after the prompt begins an accepted answer.
    FirstToken,
    /// Greedy decoding gives exactly the answer: each of its tokens is the likeliest in turn,
    /// and no digit or letter follows.
    WholeAnswer,
}

/// An answer in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer as text.
    pub text: String,
    /// The tokens of the answer as they follow the prompt.
    pub tokens: Vec<Token>,
    /// How many tokens of nothing but space come first, for tokenizers that keep the space
    /// before a word apart.
    lead: usize,
    /// First tokens after the space, of this and of alternative answers, with case and
    /// diacritics folded.
    accepted: Vec<String>,
}

impl Answer {
    /// The tokens that say nothing yet: space that the tokenizer keeps apart.
    pub fn lead(&self) -> &[Token] {
        &self.tokens[..self.lead]
    }

    /// Whether `piece`, the text of the token after the leading space, begins an accepted
    /// answer.
    pub fn begins_with(&self, piece: &str) -> bool {
        self.accepted.contains(&fold::fold(piece))
    }
}

/// For `inject`: another prompt's states, where they go, and what the model should then answer.
#[derive(Clone, Debug)]
pub struct Swap {
    /// The prompt whose states are taken.
    pub donor: Prompt,
    /// (donor position, position in the item's prompt) of each token that is replaced.
    pub moves: Vec<(u32, u32)>,
    /// The answer if the model believes the injected states.
    pub answer: Answer,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Item {
    /// Stable name within the task.
    pub id: String,
    /// The prompt.
    pub prompt: Prompt,
    /// The right answer.
    pub answer: Answer,
    /// When it counts.
    pub scoring: Scoring,
    /// How to swap the subject, where the task defines it and the tokens allow it.
    pub swap: Option<Swap>,
}

/// A task's items for one tokenizer.
#[derive(Clone, Debug, Default)]
pub struct ItemSet {
    /// The items, in a fixed order of which every limit is a prefix.
    pub items: Vec<Item>,
    /// Items that could not be used at all: id and reason.
    pub left_out: Vec<(String, String)>,
    /// Items without a swap, which `inject` leaves out: id and reason.
    pub without_swap: Vec<(String, String)>,
}

/// Finds an answer's tokens: those of `prompt + answer` after the prompt's own.
///
/// # Errors
/// The inner one says why the tokens do not line up; the outer one is the engine's.
fn answer_after(
    engine: &dyn Engine,
    prompt: &Prompt,
    answer: &str,
    alternatives: &[&str],
) -> Result<Result<Answer, String>, EngineError> {
    let mut accepted = Vec::new();
    let mut tokens = Vec::new();
    let mut lead = 0;
    for (n, text) in std::iter::once(&answer).chain(alternatives).enumerate() {
        let whole = engine.prompt(&format!("{} {text}", prompt.text))?;
        let Some(rest) = whole.tokens.strip_prefix(&*prompt.tokens) else {
            return Ok(Err(format!(
                "the tokens of {text:?} merge with the prompt's"
            )));
        };
        let is_space = |token: &Token| engine.piece(*token).trim().is_empty();
        let Some(first) = rest.iter().position(|token| !is_space(token)) else {
            return Ok(Err(format!("{text:?} has no tokens")));
        };
        if n == 0 {
            tokens = rest.to_vec();
            lead = first;
        }
        // An alternative with another lead could not be told at the same step.
        if first == lead {
            accepted.push(fold::fold(&engine.piece(rest[first])));
        }
    }
    Ok(Ok(Answer {
        text: answer.to_string(),
        tokens,
        lead,
        accepted,
    }))
}
