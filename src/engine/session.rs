//! A text under way, token by token.

use super::{EngineError, Generation, Outcome, Request, Tokenizer, likeliest};
use crate::hook::Touched;
use crate::runtime::Token;

/// A text that [`Engine::start`](super::Engine::start) began. It borrows the engine, so that
/// nothing else can run in the cells that it stands on as long as it lives.
pub trait Session {
    /// The model's facts and tokenizer.
    fn tokenizer(&self) -> &dyn Tokenizer;

    /// The logits that follow the newest token.
    fn logits(&self) -> &[f32];

    /// Appends a token and returns the logits that follow it.
    ///
    /// # Errors
    /// [`EngineError`]; after one the text cannot be continued.
    fn advance(&mut self, token: Token) -> Result<&[f32], EngineError>;

    /// Forgets the tokens appended after the prompt.
    ///
    /// # Errors
    /// [`EngineError`]; after one the text cannot be continued.
    fn back(&mut self) -> Result<(), EngineError>;

    /// Tensors written to since the prompt was started.
    fn touched(&self) -> &[Touched];
}

/// Carries out what a request asks for after its prompt, with which the session began.
pub(super) fn outcome(
    session: &mut dyn Session,
    request: &Request,
) -> Result<Outcome, EngineError> {
    let mut outcome = Outcome {
        logits: session.logits().to_vec(),
        ..Outcome::default()
    };
    if let Some(ending) = &request.generate {
        let mut go_on = |text: &str| ending.goes_on(text);
        let generation = generation(session, ending.max_tokens, &mut go_on)?;
        outcome.generated = generation.tokens;
        outcome.margins = generation.margins;
    }
    let mut appended = outcome.generated.len() > 1;
    for continuation in &request.continuations {
        if appended && !continuation.is_empty() {
            session.back()?;
        }
        appended |= !continuation.is_empty();
        let steps = continuation.iter().map(|token| {
            let logits = session.advance(*token)?;
            Ok(logits.to_vec())
        });
        let steps: Result<_, EngineError> = steps.collect();
        outcome.branches.push(steps?);
    }
    outcome.touched = session.touched().to_vec();
    Ok(outcome)
}

/// See [`Engine::generate`](super::Engine::generate).
pub(super) fn generation(
    session: &mut dyn Session,
    max: usize,
    go_on: &mut dyn FnMut(&str) -> bool,
) -> Result<Generation, EngineError> {
    let mut generation = Generation {
        logits: session.logits().to_vec(),
        ..Generation::default()
    };
    while generation.tokens.len() < max {
        let (token, margin) = likeliest(session.logits());
        generation.tokens.push(token);
        generation.margins.push(margin);
        let tokenizer = session.tokenizer();
        let text = tokenizer.text(&generation.tokens);
        let end = tokenizer.ends_generation(token) || !go_on(&text);
        if end || generation.tokens.len() == max {
            break;
        }
        session.advance(token)?;
    }
    generation.touched = session.touched().to_vec();
    Ok(generation)
}
