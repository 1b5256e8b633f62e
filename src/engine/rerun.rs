//! The paper's own way of generating: the whole text again at every step, with no cache.

use super::{Engine, EngineError, Prompt, Request, Straightforward};
use crate::hook::{Captured, Touched};
use crate::intervention::Target;
use crate::runtime::{Facts, Token};

/// Appends tokens by running the longer text from its beginning, every token but the last under
/// the plan. Slow; it is what generation with a cache is checked against.
pub struct Rerun {
    inner: Straightforward,
    request: Request,
    tokens: Vec<Token>,
}

impl Rerun {
    /// Reruns on the engine's context.
    pub fn new(inner: Straightforward) -> Self {
        Self {
            inner,
            request: Request::default(),
            tokens: Vec::new(),
        }
    }

    fn rerun(&mut self) -> Result<Vec<f32>, EngineError> {
        let produced = self.tokens.len() - self.request.tokens.len();
        self.inner.start(&Request {
            tokens: self.tokens.clone(),
            plan: self.request.plan_at(produced),
            cuts: self.request.cuts.clone(),
            ..Request::default()
        })
    }
}

impl Engine for Rerun {
    fn facts(&self) -> &Facts {
        self.inner.facts()
    }

    fn prompt(&self, text: &str) -> Result<Prompt, EngineError> {
        self.inner.prompt(text)
    }

    fn piece(&self, token: Token) -> String {
        self.inner.piece(token)
    }

    fn text(&self, tokens: &[Token]) -> String {
        self.inner.text(tokens)
    }

    fn ends_generation(&self, token: Token) -> bool {
        self.inner.ends_generation(token)
    }

    fn chat(&self, message: &str) -> Result<String, EngineError> {
        self.inner.chat(message)
    }

    fn start(&mut self, request: &Request) -> Result<Vec<f32>, EngineError> {
        self.request = request.clone();
        self.tokens = request.tokens.clone();
        for intervention in &request.plan {
            intervention.check(self.facts().n_layer)?;
        }
        self.rerun()
    }

    fn advance(&mut self, token: Token) -> Result<Vec<f32>, EngineError> {
        self.tokens.push(token);
        self.rerun()
    }

    fn back(&mut self) -> Result<(), EngineError> {
        self.tokens.truncate(self.request.tokens.len());
        Ok(())
    }

    fn touched(&self) -> Vec<Touched> {
        self.inner.touched()
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
