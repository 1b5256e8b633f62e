//! The tasks: items, prompts, and what counts as a right answer.
//!
//! A task makes its items for one tokenizer; which tokens answer, and which tokens a donor's
//! states replace, is settled here, so that nothing above handles text.

mod capitals;
mod cnn_dailymail;
pub mod data;
mod fold;
mod math;
pub mod metrics;
mod squad;
mod usable;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use capitals::{Capitals, country_table};
pub use cnn_dailymail::CnnDailymail;
pub use math::Math;
pub use squad::Squad;

use crate::engine::{Engine, EngineError, Prompt, Wording};
use crate::runtime::{ChatError, RuntimeError, Token};

/// The tasks by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(rename_all = "snake_case")]
pub enum TaskName {
    /// The capital of a country.
    Capitals,
    /// Addition and subtraction.
    Math,
    /// SQuAD 1.1: a short answer from a passage.
    Squad,
    /// CNN/DailyMail: a summary of an article.
    CnnDailymail,
}

impl TaskName {
    /// All of them.
    pub const ALL: [TaskName; 4] = [
        TaskName::Capitals,
        TaskName::Math,
        TaskName::Squad,
        TaskName::CnnDailymail,
    ];

    /// The version of the task's items and prompts: it changes whenever they do.
    pub fn version(self) -> u32 {
        match self {
            TaskName::Capitals | TaskName::Math => 1,
            TaskName::Squad | TaskName::CnnDailymail => 3,
        }
    }

    /// What the task's score is.
    pub fn metric(self) -> &'static str {
        match self {
            TaskName::Capitals | TaskName::Math => "accuracy",
            TaskName::Squad => "F1",
            TaskName::CnnDailymail => "mean of ROUGE-1 and ROUGE-L",
        }
    }

    /// An item's name as people know it: with the country, where it is a country's code.
    pub fn item_title(self, id: &str) -> String {
        let countries = (self == TaskName::Capitals).then(country_table);
        let mut countries = countries.into_iter().flatten();
        match countries.find(|country| country.code == id) {
            Some(country) => format!("{id} ({})", country.name),
            None => id.to_string(),
        }
    }

    /// Whether every score is 0 or 1.
    pub fn is_binary(self) -> bool {
        matches!(self, TaskName::Capitals | TaskName::Math)
    }

    /// The part of a prompt that several items of the task have in common by their data, which
    /// makes them a cluster: the passage of a question.
    pub fn shared_part(self, prompt: &str) -> Option<&str> {
        match self {
            TaskName::Squad => squad::passage(prompt),
            TaskName::Capitals | TaskName::Math | TaskName::CnnDailymail => None,
        }
    }

    /// Whether the task's items come from a data file.
    pub fn reads_data(self) -> bool {
        !self.is_binary()
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskName::Capitals => "capitals",
            TaskName::Math => "math",
            TaskName::Squad => "squad",
            TaskName::CnnDailymail => "cnn_dailymail",
        })
    }
}

impl FromStr for TaskName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<_> = Self::ALL.iter().map(ToString::to_string).collect();
        Self::ALL
            .into_iter()
            .find(|task| task.to_string() == text)
            .ok_or_else(|| format!("'{text}' is not a task; choose from {}", names.join(", ")))
    }
}

/// How an answer is scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// The likeliest token after the prompt begins an accepted answer.
    FirstToken,
    /// Greedy decoding gives exactly the answer: each of its tokens is the likeliest in turn,
    /// and no digit or letter follows.
    WholeAnswer,
    /// A text is generated greedily and compared with references.
    Generated {
        /// Tokens at most.
        max_tokens: usize,
        /// The text that ends the answer.
        stop: &'static str,
        /// What it is compared with.
        references: Vec<String>,
    },
}

/// The scores of a generated text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The task's own metric, between 0 and 1.
    pub score: f64,
    /// Whether the answer is right to the letter (after normalization).
    pub correct: bool,
    /// All metrics by name.
    pub metrics: BTreeMap<String, f64>,
}

impl TaskName {
    /// Scores a generated text. Capitals and math do not generate; their score is 0.
    pub fn score(self, prediction: &str, references: &[String]) -> Scores {
        match self {
            TaskName::Capitals | TaskName::Math => Scores::default(),
            TaskName::Squad => squad::score(prediction, references),
            TaskName::CnnDailymail => cnn_dailymail::score(prediction, references),
        }
    }
}

/// The part of a generated text that is the answer: without the space before it, up to `stop`.
pub fn answer_part<'t>(text: &'t str, stop: &str) -> &'t str {
    let text = text.trim_start();
    text.split(stop).next().unwrap_or(text).trim_end()
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
    /// How it is scored.
    pub scoring: Scoring,
    /// Whether the text was cut to fit the context.
    pub cut: bool,
    /// How to swap the subject, where the task defines it and the tokens allow it.
    pub swap: Option<Swap>,
}

/// A task's items for one tokenizer.
#[derive(Clone, Debug, Default)]
pub struct ItemSet {
    /// The items in a fixed order. For capitals and math every limit is a prefix of it; sets
    /// that are read from a file are sampled evenly.
    pub items: Vec<Item>,
    /// Items that were tried and cannot be used at all: id and reason. Others took their places,
    /// as far as there are any.
    pub left_out: Vec<(String, String)>,
    /// Items without a swap, which `inject` leaves out: id and reason.
    pub without_swap: Vec<(String, String)>,
}

/// How many tokens a text may have, its answer included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    tokens: usize,
    /// Whether it is the model that has no further positions, not the context.
    learned: bool,
}

impl Room {
    /// Room for texts in a context of `n_ctx` positions, of a model that has learned so many, if
    /// it has learned them.
    pub fn new(n_ctx: u32, learned: Option<u32>) -> Self {
        let learned = learned.filter(|positions| *positions < n_ctx);
        Self {
            tokens: learned.unwrap_or(n_ctx) as usize,
            learned: learned.is_some(),
        }
    }

    /// Whether a text fits with so many tokens behind it; else why not.
    fn fits(self, prompt: &Prompt, tail: usize) -> Result<(), String> {
        if prompt.tokens.len() + tail <= self.tokens {
            Ok(())
        } else if self.learned {
            let positions = self.tokens;
            Err(format!("it does not fit the model's {positions} positions"))
        } else {
            Err("it does not fit the context, raise -c".into())
        }
    }
}

/// A prompt, or why an item cannot have one: its text spells out a special token where that
/// cannot be kept apart.
///
/// # Errors
/// The engine's; a model without a template.
fn prompt_for(
    engine: &dyn Engine,
    text: &str,
    wording: Wording,
) -> Result<Result<Prompt, String>, EngineError> {
    match wording.prompt(engine, text) {
        Err(EngineError::Runtime(RuntimeError::Chat(why @ ChatError::SpelledOut { .. }))) => {
            Ok(Err(why.to_string()))
        }
        prompt => prompt.map(Ok),
    }
}

/// Finds an answer's tokens: those of `prompt + answer` after the prompt's own. A space goes
/// between the two unless the prompt ends with one already (chat templates end their own way).
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
        let gap = if prompt.text.ends_with(char::is_whitespace) {
            ""
        } else {
            " "
        };
        let source = prompt.source().clone();
        let whole = engine.tokenized(&source.with_data(gap).with_data(text))?;
        let Some(rest) = whole.tokens.strip_prefix(&*prompt.tokens) else {
            return Ok(Err("its answer's tokens merge with the prompt's".into()));
        };
        let is_space = |token: &Token| engine.piece(*token).trim().is_empty();
        let Some(first) = rest.iter().position(|token| !is_space(token)) else {
            return Ok(Err("its answer has no tokens".into()));
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
