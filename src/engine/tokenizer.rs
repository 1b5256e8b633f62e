//! What is known of a model without running it: its facts, and text as tokens.

use super::{EngineError, Prompt, PromptError};
use crate::runtime::{ChatDate, Facts, Model, Text, Token};

/// A model's tokenizer, and the facts of the model.
pub trait Tokenizer {
    /// The model's facts.
    fn facts(&self) -> &Facts;

    /// Tokenizes a text.
    ///
    /// # Errors
    /// A model without vocabulary, an empty text.
    fn tokenized(&self, text: &Text) -> Result<Prompt, EngineError>;

    /// Tokenizes a text that is markup: special tokens that it spells out are these tokens.
    ///
    /// # Errors
    /// As [`Self::tokenized`].
    fn prompt(&self, text: &str) -> Result<Prompt, EngineError> {
        self.tokenized(&Text::markup(text))
    }

    /// The text of a token.
    fn piece(&self, token: Token) -> String;

    /// The text of several tokens, without those that end a generation.
    fn text(&self, tokens: &[Token]) -> String;

    /// Whether a token ends a generation.
    fn ends_generation(&self, token: Token) -> bool;

    /// The model's chat template around a user's message, up to where the answer begins. The
    /// template is markup; so is the message where `parse_special` says so.
    ///
    /// # Errors
    /// A model without a template, a template that refuses the message.
    fn chat(&self, message: &str, date: ChatDate, parse_special: bool)
    -> Result<Text, EngineError>;
}

impl Tokenizer for Model {
    fn facts(&self) -> &Facts {
        self.facts()
    }

    fn tokenized(&self, text: &Text) -> Result<Prompt, EngineError> {
        let tokens = self.tokenize(text)?;
        if text.as_str().is_empty() || tokens.is_empty() {
            return Err(PromptError::Empty.into());
        }
        let special = self.own_before(&tokens);
        let mut prompt = Prompt::of(text, tokens, |t| Model::piece(self, t));
        prompt.special = special;
        Ok(prompt)
    }

    fn piece(&self, token: Token) -> String {
        String::from_utf8_lossy(&Model::piece(self, token)).into_owned()
    }

    fn text(&self, tokens: &[Token]) -> String {
        let spoken = tokens.iter().filter(|t| !Model::ends_generation(self, **t));
        let bytes: Vec<u8> = spoken.flat_map(|t| Model::piece(self, *t)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn ends_generation(&self, token: Token) -> bool {
        Model::ends_generation(self, token)
    }

    fn chat(
        &self,
        message: &str,
        date: ChatDate,
        parse_special: bool,
    ) -> Result<Text, EngineError> {
        Ok(Model::chat(self, message, date, parse_special)?)
    }
}
