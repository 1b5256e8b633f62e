//! What an engine is asked.

use super::{EngineError, Prompt, PromptError};
use crate::intervention::Intervention;
use crate::runtime::{RuntimeError, Token};

/// When a greedy continuation ends, besides the model's own end tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// After so many tokens.
    pub max_tokens: usize,
    /// Once the text, without the space that it begins with, contains this; empty for nothing
    /// of the kind.
    pub stop: String,
}

impl Ending {
    /// Whether `text` goes on.
    pub fn goes_on(&self, text: &str) -> bool {
        self.stop.is_empty() || !text.trim_start().contains(&self.stop)
    }
}

/// One text to run: a prompt, what to do to its prior tokens, and tokens that follow.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt's tokens; the last one is not prior.
    pub tokens: Vec<Token>,
    /// What is done, in this order where several act on one row. Empty for a clean run.
    pub plan: Vec<Intervention>,
    /// Texts appended after the prompt, each on its own and token by token.
    pub continuations: Vec<Vec<Token>>,
    /// Whether to continue the prompt greedily as well, and until when.
    pub generate: Option<Ending>,
    /// Whether tokens after the prompt are manipulated too: a token is clean while it is the
    /// last one and manipulated from the next step on, as in the paper's reference code. If
    /// not, the prompt's prior tokens alone are manipulated.
    pub manipulate_generated: bool,
    /// The step at which manipulation begins: 0 with the prompt, `t` when so many tokens
    /// follow it, all of them clean until then.
    pub from_step: usize,
    /// Where to cut the prompt into several batches: batch shapes change rounding, which is how
    /// the noise floor is measured. Empty for one batch.
    pub cuts: Vec<usize>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            plan: Vec::new(),
            continuations: Vec::new(),
            generate: None,
            manipulate_generated: true,
            from_step: 0,
            cuts: Vec::new(),
        }
    }
}

impl Request {
    /// A clean run of a prompt.
    pub fn new(prompt: &Prompt) -> Self {
        Self {
            tokens: prompt.tokens.clone(),
            ..Self::default()
        }
    }

    /// The same with one more intervention.
    pub fn with(mut self, intervention: Intervention) -> Self {
        self.plan.push(intervention);
        self
    }

    /// The first intervention that names no token of the prompt, so that it would change
    /// nothing before tokens follow.
    pub fn idle(&self) -> Option<&Intervention> {
        let n = self.tokens.len() as u32;
        self.plan.iter().find(|intervention| {
            let end = n.saturating_sub(u32::from(!intervention.action.touches_last()));
            intervention.tokens.count_below(end) == 0
        })
    }

    /// Checks that the request can be run: the plan is one for a model of `n_layer` layers, and
    /// the prompt with all that may follow it has a position for each token.
    ///
    /// # Errors
    /// [`EngineError::Plan`], [`PromptError::Empty`], those of [`Positions::fit`].
    pub(super) fn check(&self, n_layer: u32, positions: Positions) -> Result<(), EngineError> {
        for intervention in &self.plan {
            intervention.check(n_layer)?;
        }
        if self.tokens.is_empty() {
            return Err(PromptError::Empty.into());
        }
        let forced = self.continuations.iter().map(Vec::len).max().unwrap_or(0);
        // The last token of a generation is never decoded.
        let generated = self.generate.as_ref().map_or(0, |e| e.max_tokens);
        let follow = forced.max(generated.saturating_sub(1));
        positions.fit(self.tokens.len() + follow)
    }

    /// The largest number of tokens that may follow the prompt.
    pub fn longest_tail(&self) -> usize {
        let forced = self.continuations.iter().map(Vec::len).max().unwrap_or(0);
        let generated = self.generate.as_ref().map_or(0, |e| e.max_tokens);
        forced.max(generated)
    }

    /// How many tokens are run after the prompt, of each text that follows it: the last one
    /// that is generated is not.
    pub(crate) fn steps(&self) -> impl Iterator<Item = usize> {
        let forced = self.continuations.iter().map(Vec::len);
        let generated = self.generate.iter();
        let generated = generated.map(|ending| ending.max_tokens.saturating_sub(1));
        forced.chain(generated).filter(|length| *length > 0)
    }

    /// How many texts follow the prompt, and how many cells they take at most.
    pub(super) fn tails(&self) -> (usize, usize) {
        let forced = self.continuations.iter().map(Vec::len);
        let generated = self.generate.iter().map(|ending| ending.max_tokens);
        let lengths = forced.chain(generated).filter(|length| *length > 0);
        lengths.fold((0, 0), |(n, cells), length| (n + 1, cells + length + 1))
    }

    /// The plan as it is in force after `produced` tokens have followed the prompt.
    pub(crate) fn plan_at(&self, produced: usize) -> Vec<Intervention> {
        if produced < self.from_step {
            return Vec::new();
        }
        let mut plan = self.plan.clone();
        if !self.manipulate_generated {
            // The token that is last when manipulation begins is never decoded again.
            let last = (self.tokens.len() + self.from_step) as u32 - 1;
            for intervention in &mut plan {
                let end = last + u32::from(intervention.action.touches_last());
                intervention.tokens = intervention.tokens.below_only(end);
            }
        }
        plan
    }
}

/// The positions that a text may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Positions {
    /// Those of the context.
    pub n_ctx: u32,
    /// Those of the model, where it has learned each.
    pub learned: Option<u32>,
}

impl Positions {
    /// Checks that a text of so many tokens has a position for each.
    ///
    /// # Errors
    /// [`RuntimeError::TooFewPositions`], [`RuntimeError::TooLong`].
    pub fn fit(self, tokens: usize) -> Result<(), EngineError> {
        let n_ctx = self.n_ctx;
        match self.learned {
            Some(positions) if tokens > positions as usize => {
                Err(RuntimeError::TooFewPositions { tokens, positions }.into())
            }
            _ if tokens > n_ctx as usize => Err(RuntimeError::TooLong { tokens, n_ctx }.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intervention_on_no_token_is_idle() {
        let request = |n: usize, intervention| {
            let tokens = vec![Token(1); n];
            Request {
                tokens,
                ..Request::default()
            }
            .with(intervention)
        };
        assert!(request(1, Intervention::freeze(1)).idle().is_some());
        assert!(request(2, Intervention::freeze(1)).idle().is_none());
        assert!(request(1, Intervention::skip_attention(1)).idle().is_none());
    }
}
