//! When: runs a prompt under interventions and returns the logits that follow.
//!
//! [`Engine`] is what everything above sees, so a [`Mock`] can stand in for a model.
//! [`Straightforward`] computes every cell by a full forward pass: slow, simple, and the oracle
//! for anything faster.

mod cost;
mod donor;
mod logits;
mod mock;
mod noise;
mod outcome;
mod part;
mod planned;
mod prompt;
mod request;
mod rerun;
mod select;
mod straightforward;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

pub use cost::{Cost, Decode, Shape};
pub use donor::{DonorStates, donor_states, filler_states};
pub use logits::{argmax, kl, likeliest, log_softmax, rank, top};
pub use mock::Mock;
pub use noise::NoiseFloor;
pub use outcome::{Generation, Outcome};
pub use part::{Occurrence, TextPart};
pub use planned::Planned;
pub use prompt::{Prompt, PromptError};
pub use request::{Ending, Request};
pub use rerun::Rerun;
pub use select::TokenSelector;
pub use straightforward::Straightforward;

use crate::hook::{Captured, Touched};
use crate::intervention::{PlanError, States, Target};
use crate::runtime::{Facts, RuntimeError, Token};

/// An error of an engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// llama.cpp or the hook failed.
    #[error(transparent)]
    Runtime(RuntimeError),
    /// An intervention does not fit the model.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A prompt or a part of it cannot be used.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The caller wanted no more outcomes, or asked to stop (see [`crate::runtime::Stop`]).
    #[error("stopped")]
    Stopped,
}

impl From<RuntimeError> for EngineError {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::Stopped => EngineError::Stopped,
            error => EngineError::Runtime(error),
        }
    }
}

/// How cells are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Every cell a full pass: [`Straightforward`].
    Straightforward,
    /// Only what differs, many cells at once: [`Planned`].
    Planned,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strategy::Straightforward => "straightforward",
            Strategy::Planned => "planned",
        })
    }
}

/// What an engine has computed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Rows times layers, run through attention and MLP.
    pub layer_rows: u64,
    /// Rows times layers of which only keys and values were computed.
    pub cache_rows: u64,
    /// Batches.
    pub decodes: u64,
    /// Requests that were computed whole although a part of the graph should have done, and
    /// why the first of them was.
    pub fallbacks: u64,
    /// See `fallbacks`.
    pub reason: Option<String>,
}

/// Runs prompts under interventions.
pub trait Engine {
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

    /// Runs a request's prompt and returns the logits that follow it.
    ///
    /// # Errors
    /// [`EngineError`]; an intervention that did not touch what it names is one.
    fn start(&mut self, request: &Request) -> Result<Vec<f32>, EngineError>;

    /// Appends a token to the text that was started and returns the logits that follow it.
    ///
    /// # Errors
    /// [`EngineError`].
    fn advance(&mut self, token: Token) -> Result<Vec<f32>, EngineError>;

    /// Forgets the tokens appended after the prompt.
    ///
    /// # Errors
    /// [`EngineError`].
    fn back(&mut self) -> Result<(), EngineError>;

    /// Tensors written to since the request was started.
    fn touched(&self) -> Vec<Touched>;

    /// Runs a request with its continuations.
    ///
    /// # Errors
    /// [`EngineError`].
    fn run(&mut self, request: &Request) -> Result<Outcome, EngineError> {
        let mut outcome = Outcome::default();
        if let Some(ending) = &request.generate {
            let mut go_on = |text: &str| ending.goes_on(text);
            let generation = self.generate(request, ending.max_tokens, &mut go_on)?;
            outcome.logits = generation.logits;
            outcome.generated = generation.tokens;
            outcome.margins = generation.margins;
        } else {
            outcome.logits = self.start(request)?;
        }
        let mut appended = outcome.generated.len() > 1;
        for continuation in &request.continuations {
            if appended && !continuation.is_empty() {
                self.back()?;
            }
            appended |= !continuation.is_empty();
            let steps = continuation.iter().map(|token| self.advance(*token));
            outcome.branches.push(steps.collect::<Result<_, _>>()?);
        }
        outcome.touched = self.touched();
        Ok(outcome)
    }

    /// Whether requests on different texts cost less together.
    fn shares(&self) -> bool {
        false
    }

    /// What has been computed so far.
    fn work(&self) -> Work {
        Work::default()
    }

    /// What it would compute for requests that are handed over together, as far as that can be
    /// known: a pure function of the requests, the model and the settings.
    fn cost(&mut self, requests: &[Request]) -> Cost {
        Cost::one_by_one(requests, usize::MAX)
    }

    /// Products of a weight and a value that a decode takes (of experts, of those that are
    /// chosen); without a model, a row of a layer is as good as any.
    fn products(&self, decode: &Decode) -> f64 {
        decode.rows as f64 * f64::from(decode.cut.layers(self.facts().n_layer))
    }

    /// Runs requests, sharing between them what an engine can share, and hands each outcome
    /// over as soon as it is there, with the request's index. A request without a plan comes
    /// before later ones on the same text; beyond that the order is the engine's.
    ///
    /// # Errors
    /// [`EngineError`]; [`EngineError::Stopped`] when `done` wants no more.
    fn run_all(
        &mut self,
        requests: &[Request],
        done: &mut dyn FnMut(usize, Outcome) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        for (n, request) in requests.iter().enumerate() {
            let outcome = self.run(request)?;
            if done(n, outcome).is_break() {
                return Err(EngineError::Stopped);
            }
        }
        Ok(())
    }

    /// Continues a request's prompt greedily, by at most `max` tokens, until the model ends the
    /// text or `go_on`, shown the text so far, says no.
    ///
    /// # Errors
    /// [`EngineError`].
    fn generate(
        &mut self,
        request: &Request,
        max: usize,
        go_on: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generation, EngineError> {
        let mut logits = self.start(request)?;
        let mut generation = Generation {
            logits: logits.clone(),
            ..Generation::default()
        };
        while generation.tokens.len() < max {
            let (token, margin) = likeliest(&logits);
            generation.tokens.push(token);
            generation.margins.push(margin);
            let text = self.text(&generation.tokens);
            let end = self.ends_generation(token) || !go_on(&text);
            if end || generation.tokens.len() == max {
                break;
            }
            logits = self.advance(token)?;
        }
        generation.touched = self.touched();
        Ok(generation)
    }

    /// What a clean run of `tokens`, the first of them at `first_position`, leaves in every
    /// layer: the states entering it, its keys, its values, as far as `targets` names them.
    /// Keys carry their position within them, so a donor's must be computed where they are to
    /// be put.
    ///
    /// # Errors
    /// [`EngineError`].
    fn captured(
        &mut self,
        tokens: &[Token],
        first_position: u32,
        targets: &[Target],
    ) -> Result<Captured, EngineError>;

    /// The states entering every layer, of every token, in a clean run of the prompt.
    ///
    /// # Errors
    /// [`EngineError`].
    fn states(&mut self, prompt: &Prompt) -> Result<Arc<States>, EngineError> {
        let captured = self.captured(&prompt.tokens, 0, &[Target::Input])?;
        Ok(Arc::new(captured.inputs))
    }

    /// Measures the noise floor on `prompts`, for a cut after the seventh token (or the middle
    /// of a shorter prompt) and for one before the last token.
    ///
    /// # Errors
    /// [`EngineError`].
    fn noise_floor(&mut self, prompts: &[Prompt]) -> Result<Vec<NoiseFloor>, EngineError> {
        noise::floor(self, prompts)
    }
}
