//! What an engine answers.

use super::argmax;
use crate::hook::Touched;
use crate::runtime::Token;

/// What a run gave.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Logits over the vocabulary after the prompt.
    pub logits: Vec<f32>,
    /// The greedy continuation, an end-of-generation token included if one came; empty where
    /// none was asked for.
    pub generated: Vec<Token>,
    /// At each of its steps, by how much the likeliest token's logit exceeded the second's.
    pub margins: Vec<f32>,
    /// For each continuation, the logits after each of its tokens.
    pub branches: Vec<Vec<Vec<f32>>>,
    /// Tensors written to, and how many rows of each.
    pub touched: Vec<Touched>,
}

impl Outcome {
    /// The likeliest token after the prompt.
    pub fn argmax(&self) -> Token {
        argmax(&self.logits)
    }

    /// The logits after the first `n` tokens of a continuation.
    pub fn after(&self, continuation: usize, n: usize) -> &[f32] {
        match n.checked_sub(1) {
            None => &self.logits,
            Some(n) => &self.branches[continuation][n],
        }
    }
}

/// A greedy continuation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generation {
    /// Logits over the vocabulary after the prompt.
    pub logits: Vec<f32>,
    /// The tokens, an end-of-generation token included if one came.
    pub tokens: Vec<Token>,
    /// At each step, by how much the likeliest token's logit exceeded the second's: below the
    /// noise floor, the choice was rounding's.
    pub margins: Vec<f32>,
    /// Tensors written to, and how many rows of each.
    pub touched: Vec<Touched>,
}
