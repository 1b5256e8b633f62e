//! SQuAD 1.1: a passage, a question, a short answer. Scored by F1, with exact match beside it.

use std::collections::BTreeMap;

use super::data::Question;
use super::metrics::squad::{exact_match, f1};
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
    /// Makes the items for the engine's tokenizer: `limit` questions, spread over the file so
    /// that they are not all about one passage.
    ///
    /// # Errors
    /// The engine's.
    pub fn items(&self, engine: &dyn Engine, limit: usize) -> Result<ItemSet, EngineError> {
        let mut set = ItemSet::default();
        for question in super::data::spread(&self.questions, limit) {
            let text = format!(
                "{EXAMPLE}\n\nPassage: {}\n\nQuestion: {}\nAnswer:",
                question.context, question.question
            );
            let prompt = prompt_for(engine, &text, self.chat)?;
            let leave_out = |reason: String| (question.id.clone(), reason);
            if prompt.tokens.len() + MAX_TOKENS > self.n_ctx {
                // A passage cut short might not hold its answer any more.
                let reason = "the passage does not fit the context".to_string();
                set.left_out.push(leave_out(reason));
                continue;
            }
            let Some(first) = question.answers.first() else {
                set.left_out.push(leave_out("it has no answer".into()));
                continue;
            };
            match answer_after(engine, &prompt, first, &[])? {
                Err(reason) => set.left_out.push(leave_out(reason)),
                Ok(answer) => set.items.push(Item {
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
                }),
            }
        }
        Ok(set)
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
