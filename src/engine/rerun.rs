//! The paper's own way of generating: the whole text again at every step, with no cache.

use super::{Engine, EngineError, Request, Session, Straightforward, Tokenizer};
use crate::hook::{Captured, Touched};
use crate::intervention::Target;
use crate::runtime::Token;

/// Appends tokens by running the longer text from its beginning, every token but the last under
/// the plan. Slow; it is what generation with a cache is checked against.
pub struct Rerun {
    inner: Straightforward,
}

impl Rerun {
    /// Reruns on the engine's context.
    pub fn new(inner: Straightforward) -> Self {
        Self { inner }
    }
}

impl Engine for Rerun {
    fn tokenizer(&self) -> &dyn Tokenizer {
        self.inner.tokenizer()
    }

    fn learned_positions(&self) -> Option<u32> {
        self.inner.learned_positions()
    }

    fn start<'e>(&'e mut self, request: &Request) -> Result<Box<dyn Session + 'e>, EngineError> {
        request.check(self.facts().n_layer, self.inner.positions())?;
        let mut session = Rerunning {
            inner: &mut self.inner,
            request: request.clone(),
            tokens: request.tokens.clone(),
            logits: Vec::new(),
            logits_of_prompt: Vec::new(),
            touched: Vec::new(),
        };
        session.rerun()?;
        session.logits_of_prompt.clone_from(&session.logits);
        Ok(Box::new(session))
    }

    fn captured(
        &mut self,
        tokens: &[Token],
        first_position: u32,
        targets: &[Target],
    ) -> Result<Captured, EngineError> {
        self.inner.captured(tokens, first_position, targets)
    }
}

/// A text and what its latest run gave.
struct Rerunning<'e> {
    inner: &'e mut Straightforward,
    request: Request,
    tokens: Vec<Token>,
    logits: Vec<f32>,
    logits_of_prompt: Vec<f32>,
    touched: Vec<Touched>,
}

impl Rerunning<'_> {
    fn rerun(&mut self) -> Result<(), EngineError> {
        let produced = self.tokens.len() - self.request.tokens.len();
        let outcome = self.inner.run(&Request {
            tokens: self.tokens.clone(),
            plan: self.request.plan_at(produced),
            cuts: self.request.cuts.clone(),
            ..Request::default()
        })?;
        self.logits = outcome.logits;
        self.touched = outcome.touched;
        Ok(())
    }
}

impl Session for Rerunning<'_> {
    fn tokenizer(&self) -> &dyn Tokenizer {
        self.inner.tokenizer()
    }

    fn logits(&self) -> &[f32] {
        &self.logits
    }

    fn advance(&mut self, token: Token) -> Result<&[f32], EngineError> {
        self.tokens.push(token);
        self.rerun()?;
        Ok(&self.logits)
    }

    fn back(&mut self) -> Result<(), EngineError> {
        self.tokens.truncate(self.request.tokens.len());
        self.logits.clone_from(&self.logits_of_prompt);
        Ok(())
    }

    fn touched(&self) -> &[Touched] {
        &self.touched
    }
}
