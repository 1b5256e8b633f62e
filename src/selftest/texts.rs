//! The texts that a model is examined with.

use crate::engine::EngineError;
use crate::hook::Row;
use crate::runtime::{Model, Text, Token};

/// Tokens of a prompt.
pub(super) const LENGTH: usize = 12;
/// How many of them two prompts have in common.
pub(super) const SHARED: usize = 8;

/// Two prompts of the same length that begin alike.
pub(super) fn texts(model: &Model) -> Result<(Vec<Token>, Vec<Token>), EngineError> {
    const TEXT: &str = "The capital of France is Paris, and that of Italy, as everyone knows, is a city called Rome.";
    let n_vocab = model.facts().n_vocab.max(4) as i32;
    let spoken = model.tokenize(&Text::data(TEXT)).unwrap_or_default();
    let counted =
        (0..2 * LENGTH as i32).map(|i| Token(3.min(n_vocab - 1) + (i * 7) % (n_vocab - 3)));
    let pool: Vec<Token> = if spoken.len() >= LENGTH + 4 {
        spoken
    } else {
        counted.collect()
    };
    let prompt = pool[..LENGTH].to_vec();
    let mut other = prompt.clone();
    // Another ending: the last of the shared tokens' successors, turned around, and the last
    // token of the text the same.
    let tail = &pool[LENGTH..];
    for (n, token) in other[SHARED..LENGTH - 1].iter_mut().enumerate() {
        *token = tail[n % tail.len()];
    }
    other[1] = tail[tail.len() - 1];
    Ok((prompt, other))
}

/// The rows of a text in a batch, logits wanted of the last.
pub(super) fn rows_of(sequence: u32, tokens: &[Token]) -> Vec<Row> {
    let last = tokens.len() - 1;
    let row = |(i, token): (usize, &Token)| Row {
        sequence,
        position: i as u32,
        token: token.0,
        prior: i < last,
        output: i == last,
    };
    tokens.iter().enumerate().map(row).collect()
}
