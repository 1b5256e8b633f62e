//! A model's own chat template.

use super::{ChatDate, ChatError, ChatMessage, ChatTemplate, ChatTokens};
use crate::runtime::{Model, RuntimeError, Text};

/// The key of a file's chat template; with a dot and a name behind it, of one for some use.
const TEMPLATE: &str = "tokenizer.chat_template";

impl Model {
    /// The model's own chat template.
    ///
    /// # Errors
    /// [`RuntimeError::Chat`] where the file holds none that is for every use, or one that is
    /// not well formed.
    pub fn chat_template(&self, date: ChatDate) -> Result<ChatTemplate, RuntimeError> {
        let source = self.inner.meta_val_str(TEMPLATE).map_err(|_| {
            let names: Vec<String> = self.named_templates().collect();
            if names.is_empty() {
                ChatError::None
            } else {
                ChatError::OnlyNamed(names.join(", "))
            }
        })?;
        Ok(ChatTemplate::new(&source, self.chat_tokens(), date)?)
    }

    /// The names of templates that are for certain uses.
    fn named_templates(&self) -> impl Iterator<Item = String> {
        let keys = (0..self.inner.meta_count()).map(|n| self.inner.meta_key_by_index(n));
        keys.filter_map(|key| Some(key.ok()?.strip_prefix(TEMPLATE)?.strip_prefix('.')?.into()))
    }

    /// The tokens that templates know by name: those that the file names, and for SentencePiece
    /// vocabularies those that they have by themselves.
    fn chat_tokens(&self) -> ChatTokens {
        let vocab = self.inner.vocab();
        let implied = self.tokenizer.as_ref().is_some_and(|t| t.sentence_piece);
        let special = [
            ("bos_token", "bos", vocab.bos(), implied),
            ("eos_token", "eos", vocab.eos(), implied),
            ("sep_token", "seperator", vocab.sep(), false),
            ("pad_token", "padding", vocab.pad(), false),
            ("mask_token", "mask", vocab.mask(), false),
        ];
        let named = special.into_iter().filter(|(_, key, token, implied)| {
            let key = format!("tokenizer.ggml.{key}_token_id");
            token.0 >= 0 && (*implied || self.inner.meta_val_str(&key).is_ok())
        });
        let text = |token| String::from_utf8_lossy(&self.piece(token)).into_owned();
        ChatTokens {
            special: named
                .map(|(name, _, token, _)| (name, text(token)))
                .collect(),
        }
    }

    /// The model's own chat template around a user's message, up to where the answer begins. The
    /// template's text is markup, and so is the message if `parse_special` says so.
    ///
    /// # Errors
    /// [`RuntimeError::Chat`]; also for a message that spells out a special token, but that the
    /// template changes, so that where it stands cannot be told.
    pub fn chat(
        &self,
        message: &str,
        date: ChatDate,
        parse_special: bool,
    ) -> Result<Text, RuntimeError> {
        let template = self.chat_template(date)?;
        if parse_special {
            let text = template.render(&[ChatMessage::new("user", message)])?;
            return Ok(Text::markup(&text));
        }
        if let Some(text) = template.render_apart(message)? {
            return Ok(text);
        }
        let tokenizer = self.tokenizer.as_ref().ok_or(RuntimeError::NoVocabulary)?;
        match tokenizer.spelled_out(message) {
            Some(token) => Err(ChatError::SpelledOut { token }.into()),
            None => Ok(Text::markup(
                &template.render(&[ChatMessage::new("user", message)])?,
            )),
        }
    }
}
