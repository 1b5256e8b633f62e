//! The tokens of a prompt, for people and programs.

use serde::Serialize;

use crate::engine::Prompt;
use crate::intervention::PositionSet;
use crate::runtime::Model;
use crate::shown::plain;

/// A token of a prompt.
#[derive(Serialize)]
pub struct Listed {
    /// Its position, from 0.
    pub position: usize,
    /// Its id.
    pub id: i32,
    /// Its text; bytes that are no text on their own as `<E3>`.
    pub text: String,
    /// Whether manipulations act on it: all tokens but the last are prior.
    pub prior: bool,
    /// Whether a selector takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected: Option<bool>,
}

/// The prompt's tokens, and which of them a selector takes.
pub fn listed(model: &Model, prompt: &Prompt, selected: Option<&PositionSet>) -> Vec<Listed> {
    let last = prompt.tokens.len() - 1;
    let tokens = prompt.tokens.iter().enumerate();
    tokens
        .map(|(position, token)| Listed {
            position,
            id: token.0,
            text: plain(&model.piece(*token)),
            prior: position < last,
            selected: selected.map(|set| position < last && set.contains(position as u32)),
        })
        .collect()
}
