//! SQuAD 1.1: a passage, a question, a short answer. Scored by F1, with exact match beside it.

use std::collections::BTreeMap;

use super::data::Question;
use super::metrics::squad::{exact_match, f1};
use super::usable::usable;
use super::{Item, ItemSet, Scores, Scoring, answer_after, prompt_for};
use crate::engine::{Engine, EngineError};

/// The squad task.
#[derive(Clone, Debug)]
pub struct Squad {
    /// The questions, in the order of the file.
    pub questions: Vec<Question>,
    /// Whether the prompt goes into the model's chat template.
    pub chat: bool,
    /// Tokens that fit the context.
    pub n_ctx: usize,
}

/// Tokens of an answer at most: SQuAD's are short.
const MAX_TOKENS: usize = 24;

/// What precedes each passage: the instruction and one example, written for this task.
const EXAMPLE: &str = "Answer the question with a few words from the passage.

Passage: The old lighthouse at Carrow Point was built of grey granite in 1874 and stands forty \
metres above the sea. Its lamp was lit with oil until 1931, when a cable from the village brought \
electricity.

Question: How high does the lighthouse stand above the sea?
Answer: forty metres";

impl Squad {
    /// Makes the items for the engine's tokenizer: `limit` questions that can be used, spread
    /// over the file so that they are not all about one passage.
    ///
    /// # Errors
    /// The engine's.
    pub fn items(&self, engine: &dyn Engine, limit: usize) -> Result<ItemSet, EngineError> {
        usable(
            &self.questions,
            |q| &q.id,
            limit,
            |question| {
                let text = format!(
                    "{EXAMPLE}\n\nPassage: {}\n\nQuestion: {}\nAnswer:",
                    question.context, question.question
                );
                let prompt = prompt_for(engine, &text, self.chat)?;
                if prompt.tokens.len() + MAX_TOKENS > self.n_ctx {
                    // A passage cut short might not hold its answer any more.
                    return Ok(Err("the passage does not fit the context".into()));
                }
                let Some(first) = question.answers.first() else {
                    return Ok(Err("it has no answer".into()));
                };
                let answer = answer_after(engine, &prompt, first, &[])?;
                Ok(answer.map(|answer| Item {
                    id: question.id.clone(),
                    prompt,
                    answer,
                    scoring: Scoring::Generated {
                        max_tokens: MAX_TOKENS,
                        stop: "\n",
                        references: question.answers.clone(),
                    },
                    cut: false,
                    swap: None,
                }))
            },
        )
    }
}

pub(super) fn score(prediction: &str, references: &[String]) -> Scores {
    let f1 = f1(prediction, references);
    let exact = exact_match(prediction, references);
    Scores {
        score: f1,
        correct: exact,
        metrics: BTreeMap::from([
            ("f1".to_string(), f1),
            ("exact_match".to_string(), f64::from(u8::from(exact))),
        ]),
    }
}
