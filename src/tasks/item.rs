//! Items: what is asked, and how an answer is scored.

use std::collections::BTreeMap;
use std::ops::Range;

use super::answer::answer_after;
use super::{Answer, Metric};
use crate::engine::{EngineError, Prompt, Tokenizer};

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
        stop: String,
        /// What it is compared with.
        references: Vec<String>,
        /// What it is scored by.
        metric: Metric,
    },
    /// The answer is likelier than every other choice, by its log-probability.
    Choices {
        /// The other choices.
        others: Vec<Answer>,
        /// Whether log-probabilities are divided by how many tokens a choice has.
        normalised: bool,
    },
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

/// The name of the part that a question is about.
pub const SUBJECT: &str = "subject";

/// Parts of a prompt by name, and where each is: ranges of positions.
pub type Parts = BTreeMap<String, Vec<Range<usize>>>;

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
    /// Answers that the right one is compared with: the logit difference.
    pub foils: Vec<Answer>,
    /// Parts of the prompt by name, each in one or several places, in tokens: `subject`.
    pub parts: Parts,
    /// How to swap the subject, where the task defines it and the tokens allow it.
    pub swap: Option<Swap>,
}

impl Item {
    /// The tokens of a text in the place of this item's answer.
    ///
    /// # Errors
    /// The inner one says why the text has none of its own there; the outer one is the
    /// tokenizer's.
    pub fn answered(
        &self,
        tokenizer: &dyn Tokenizer,
        text: &str,
    ) -> Result<Result<Answer, String>, EngineError> {
        answer_after(tokenizer, &self.prompt, text.trim(), &[])
    }
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
    pub(super) fn fits(self, prompt: &Prompt, tail: usize) -> Result<(), String> {
        if prompt.tokens.len() + tail <= self.tokens {
            Ok(())
        } else if self.learned {
            let positions = self.tokens;
            Err(format!("it does not fit the model's {positions} positions"))
        } else {
            Err("it does not fit the context (`n_ctx`)".into())
        }
    }
}
