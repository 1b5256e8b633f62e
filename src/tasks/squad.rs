//! SQuAD 1.1: a passage, a question, a short answer. Scored by F1, with exact match beside it.

use std::collections::BTreeMap;

use super::data::Question;
use super::metrics::squad::{exact_match, f1};
use super::usable::usable;
use super::{Item, ItemSet, Room, Scores, Scoring, answer_after, prompt_for};
use crate::engine::{Engine, EngineError, Wording};

/// The squad task.
#[derive(Clone, Debug)]
pub struct Squad {
    /// The questions, in the order of the file.
    pub questions: Vec<Question>,
    /// How the prompt is worded.
    pub wording: Wording,
    /// What a prompt and its answer must fit.
    pub room: Room,
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
                // A passage cut short might not hold its answer any more.
                let fitting = prompt_for(engine, &text, self.wording)?.and_then(|prompt| {
                    self.room.fits(&prompt, MAX_TOKENS)?;
                    Ok(prompt)
                });
                let prompt = match fitting {
                    Ok(prompt) => prompt,
                    Err(reason) => return Ok(Err(reason)),
                };
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

/// A prompt up to its question.
pub(super) fn passage(prompt: &str) -> Option<&str> {
    prompt
        .rsplit_once("\n\nQuestion: ")
        .map(|(before, _)| before)
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
