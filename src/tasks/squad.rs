//! SQuAD 1.1: a passage, a question, a short answer. Scored by F1, with exact match beside it.

use super::data::{self, Question};
use super::usable::usable;
use super::{
    Asked, Item, ItemSet, Metric, Parts, Room, Scoring, Task, TaskError, TaskSpec, answer_after,
    prompt_for,
};
use crate::engine::{EngineError, Tokenizer, Wording};

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
/// What stands before a question.
const QUESTION: &str = "\n\nQuestion: ";

const EXAMPLE: &str = "Answer the question with a few words from the passage.

Passage: The old lighthouse at Carrow Point was built of grey granite in 1874 and stands forty \
metres above the sea. Its lamp was lit with oil until 1931, when a cable from the village brought \
electricity.

Question: How high does the lighthouse stand above the sea?
Answer: forty metres";

impl Squad {
    /// Makes the items for a tokenizer: `limit` questions that can be used, spread
    /// over the file so that they are not all about one passage.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn items(&self, tokenizer: &dyn Tokenizer, limit: usize) -> Result<ItemSet, EngineError> {
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
                let fitting = prompt_for(tokenizer, &text, self.wording)?.and_then(|prompt| {
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
                let answer = answer_after(tokenizer, &prompt, first, &[])?;
                Ok(answer.map(|answer| Item {
                    id: question.id.clone(),
                    prompt,
                    answer,
                    scoring: Scoring::Generated {
                        max_tokens: MAX_TOKENS,
                        stop: "\n".into(),
                        references: question.answers.clone(),
                        metric: Metric::F1,
                    },
                    cut: false,
                    foils: Vec::new(),
                    parts: Parts::new(),
                    swap: None,
                }))
            },
        )
    }
}

/// The task, as the list of tasks has it.
pub(super) struct Entry;

impl Task for Entry {
    fn sentence(&self) -> &'static str {
        "SQuAD 1.1: a short answer from a passage"
    }

    fn example(&self) -> String {
        "Passage: ...\\n\\nQuestion: ...\\nAnswer: -> a few words".into()
    }

    fn version(&self) -> u32 {
        3
    }

    fn metric(&self) -> Metric {
        Metric::F1
    }

    fn reads_data(&self) -> bool {
        true
    }

    /// The question.
    fn title(&self, id: &str, prompt: &str) -> String {
        let asked = prompt.rsplit_once(QUESTION);
        let question = asked.and_then(|(_, rest)| rest.lines().next());
        question.unwrap_or(id).to_string()
    }

    /// The prompt up to its question.
    fn shared_part<'p>(&self, prompt: &'p str) -> Option<&'p str> {
        let split = prompt.rsplit_once(QUESTION);
        split.map(|(before, _)| before)
    }

    fn items(&self, spec: &TaskSpec, asked: Asked<'_>) -> Result<ItemSet, TaskError> {
        let squad = Squad {
            questions: match spec.data_path() {
                None => data::sample_squad(),
                Some(path) => data::read_squad(path)?,
            },
            wording: asked.wording,
            room: asked.room,
        };
        Ok(squad.items(asked.tokenizer, spec.limit)?)
    }
}
