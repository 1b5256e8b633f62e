//! Answers in tokens.

use super::fold::fold;
use crate::engine::{EngineError, Prompt, Tokenizer, Wording};
use crate::runtime::{ChatError, RuntimeError, Token};

/// An answer in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer as text.
    pub text: String,
    /// The tokens of the answer as they follow the prompt.
    pub tokens: Vec<Token>,
    /// How many tokens of nothing but space come first, for tokenizers that keep the space
    /// before a word apart.
    pub(super) lead: usize,
    /// First tokens after the space, of this and of alternative answers, with case and
    /// diacritics folded.
    pub(super) accepted: Vec<String>,
}

impl Answer {
    /// The tokens that say nothing yet: space that the tokenizer keeps apart.
    pub fn lead(&self) -> &[Token] {
        &self.tokens[..self.lead]
    }

    /// Whether `piece`, the text of the token after the leading space, begins an accepted
    /// answer.
    pub fn begins_with(&self, piece: &str) -> bool {
        self.accepted.contains(&fold(piece))
    }
}

/// The part of a generated text that is the answer: without the space before it, up to `stop`,
/// unless that is empty.
pub fn answer_part<'t>(text: &'t str, stop: &str) -> &'t str {
    let text = text.trim_start();
    match stop {
        "" => text.trim_end(),
        stop => text.split(stop).next().unwrap_or(text).trim_end(),
    }
}

/// A prompt, or why an item cannot have one: its text spells out a special token where that
/// cannot be kept apart.
///
/// # Errors
/// The tokenizer's; a model without a template.
pub(super) fn prompt_for(
    tokenizer: &dyn Tokenizer,
    text: &str,
    wording: Wording,
) -> Result<Result<Prompt, String>, EngineError> {
    match wording.prompt(tokenizer, text) {
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
/// The inner one says why the tokens do not line up; the outer one is the tokenizer's.
pub(super) fn answer_after(
    tokenizer: &dyn Tokenizer,
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
        let whole = tokenizer.tokenized(&source.with_data(gap).with_data(text))?;
        let Some(rest) = whole.tokens.strip_prefix(&*prompt.tokens) else {
            return Ok(Err("its answer's tokens merge with the prompt's".into()));
        };
        let is_space = |token: &Token| tokenizer.piece(*token).trim().is_empty();
        let Some(first) = rest.iter().position(|token| !is_space(token)) else {
            return Ok(Err("its answer has no tokens".into()));
        };
        if n == 0 {
            tokens = rest.to_vec();
            lead = first;
        }
        // An alternative with another lead could not be told at the same step.
        if first == lead {
            accepted.push(fold(&tokenizer.piece(rest[first])));
        }
    }
    Ok(Ok(Answer {
        text: answer.to_string(),
        tokens,
        lead,
        accepted,
    }))
}
