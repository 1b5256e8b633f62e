//! What is known of a model without running it: its facts, and text as tokens.

use super::{EngineError, Prompt, PromptError};
use crate::runtime::{Facts, Model, Token};

/// A model's tokenizer, and the facts of the model.
pub trait Tokenizer {
    /// The model's facts.
    fn facts(&self) -> &Facts;

    /// Tokenizes a text.
    ///
    /// # Errors
    /// A model without vocabulary, an empty text.
    fn prompt(&self, text: &str) -> Result<Prompt, EngineError>;

    /// The text of a token.
    fn piece(&self, token: Token) -> String;

    /// The text of several tokens, without those that end a generation.
    fn text(&self, tokens: &[Token]) -> String;

    /// Whether a token ends a generation.
    fn ends_generation(&self, token: Token) -> bool;

    /// The model's chat template around a user's message, up to where the answer begins.
    ///
    /// # Errors
    /// A model without a template.
    fn chat(&self, message: &str) -> Result<String, EngineError>;
}

impl Tokenizer for Model {
    fn facts(&self) -> &Facts {
        self.facts()
    }

    fn prompt(&self, text: &str) -> Result<Prompt, EngineError> {
        let tokens = self.tokenize(text)?;
        if text.is_empty() || tokens.is_empty() {
            return Err(PromptError::Empty.into());
        }
        let special = tokens.iter().take_while(|t| self.is_control(**t)).count();
        let mut prompt = Prompt::new(text, tokens, |t| Model::piece(self, t));
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

    fn chat(&self, message: &str) -> Result<String, EngineError> {
        Ok(Model::chat(self, message)?)
    }
}
