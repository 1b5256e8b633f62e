//! When: runs a prompt under interventions and returns the logits that follow.
//!
//! [`Engine`] is what everything above sees, so a [`Mock`] can stand in for a model.
//! [`Straightforward`] computes every cell by a full forward pass: slow, simple, and the oracle
//! for anything faster.

mod captured;
mod cost;
mod donor;
mod elsewhere;
mod lens;
mod logits;
mod means;
mod mock;
mod noise;
mod outcome;
mod part;
mod planned;
mod prompt;
mod request;
mod rerun;
mod select;
mod session;
mod straightforward;
mod tokenizer;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

pub use cost::{Cost, Decode, Shape};
pub use donor::{DonorStates, donor_states, filler_states, scaffold_states};
pub use lens::Reading;
pub use logits::{Spread, argmax, kl, likeliest, log_softmax, log_sum, logprob, rank, top};
pub use means::{Means, read_texts};
pub use mock::Mock;
pub use noise::NoiseFloor;
pub use outcome::{Generation, Outcome};
pub use part::{Occurrence, TextPart};
pub use planned::Planned;
pub use prompt::{Prompt, PromptError, Wording};
pub use request::{Ending, Request};
pub use rerun::Rerun;
pub use select::TokenSelector;
pub use session::Session;
pub use straightforward::Straightforward;
pub use tokenizer::Tokenizer;

use crate::hook::{Captured, Traffic};
use crate::intervention::{PlanError, States, Target};
use crate::runtime::{ChatDate, Facts, RuntimeError, Text, Token};

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
    /// An earlier error left the text's cells as nobody knows.
    #[error("an earlier error broke this text off; start it again")]
    Broken,
    /// One of several requests failed.
    #[error("{error}")]
    Request {
        /// Its index among them.
        index: usize,
        /// Why.
        error: Box<EngineError>,
    },
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

impl EngineError {
    /// The error as that of one of several requests.
    fn of(self, index: usize) -> Self {
        match self {
            Self::Stopped | Self::Request { .. } => self,
            error => Self::Request {
                index,
                error: Box::new(error),
            },
        }
    }

    /// Which of several requests failed, and why. An error of them all has no index.
    pub fn request(self) -> (Option<usize>, EngineError) {
        match self {
            Self::Request { index, error } => (Some(index), *error),
            error => (None, error),
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
    /// What passed between the host and the memory that the model is computed in.
    pub traffic: Traffic,
}

/// Runs prompts under interventions.
pub trait Engine {
    /// The model's facts and tokenizer.
    fn tokenizer(&self) -> &dyn Tokenizer;

    /// Runs a request's prompt, to be continued token by token. The context must have room for
    /// what the request says may follow.
    ///
    /// The session borrows the engine: nothing else can run in the cells that it stands on.
    ///
    /// ```
    /// # use midlayer::engine::{Engine, EngineError, Prompt, Request};
    /// # use midlayer::runtime::Token;
    /// fn continued(engine: &mut dyn Engine, a: &Request, b: &Prompt) -> Result<(), EngineError> {
    ///     let mut session = engine.start(a)?;
    ///     session.advance(Token(1))?;
    ///     drop(session);
    ///     engine.states(b)?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// ```compile_fail,E0499
    /// # use midlayer::engine::{Engine, EngineError, Prompt, Request};
    /// # use midlayer::runtime::Token;
    /// fn mixed_up(engine: &mut dyn Engine, a: &Request, b: &Prompt) -> Result<(), EngineError> {
    ///     let mut session = engine.start(a)?;
    ///     engine.states(b)?;
    ///     session.advance(Token(1))?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`EngineError`]; an intervention that did not touch what it names is one.
    fn start<'e>(&'e mut self, request: &Request) -> Result<Box<dyn Session + 'e>, EngineError>;

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

    /// Runs requests, sharing between them what an engine can share, and hands each outcome
    /// over as soon as it is there, with the request's index. A request without a plan comes
    /// before later ones on the same text; beyond that the order is the engine's.
    ///
    /// # Errors
    /// [`EngineError::Request`] where one of them is at fault, [`EngineError::Stopped`] when
    /// `done` wants no more, others.
    fn run_all(
        &mut self,
        requests: &[Request],
        done: &mut dyn FnMut(usize, Outcome) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        for (n, request) in requests.iter().enumerate() {
            let session = self.start(request);
            let outcome = session.and_then(|mut s| session::outcome(s.as_mut(), request));
            let outcome = outcome.map_err(|error| error.of(n))?;
            if done(n, outcome).is_break() {
                return Err(EngineError::Stopped);
            }
        }
        Ok(())
    }

    /// Runs one request with its continuations.
    ///
    /// # Errors
    /// [`EngineError`].
    fn run(&mut self, request: &Request) -> Result<Outcome, EngineError> {
        let mut outcome = None;
        self.run_all(std::slice::from_ref(request), &mut |_, made| {
            outcome = Some(made);
            ControlFlow::Continue(())
        })
        .map_err(|error| error.request().1)?;
        Ok(outcome.expect("every request has its outcome"))
    }

    /// The logits that follow a request's prompt; what should follow the prompt is left out.
    ///
    /// # Errors
    /// [`EngineError`].
    fn logits(&mut self, request: &Request) -> Result<Vec<f32>, EngineError> {
        let prompt_alone = Request {
            continuations: Vec::new(),
            generate: None,
            ..request.clone()
        };
        Ok(self.run(&prompt_alone)?.logits)
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
        let with_room = Request {
            generate: Some(Ending {
                max_tokens: max,
                stop: String::new(),
            }),
            ..request.clone()
        };
        session::generation(self.start(&with_room)?.as_mut(), max, go_on)
    }

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
    /// [`EngineError::Request`] with the index of the prompt at fault.
    fn noise_floor(&mut self, prompts: &[Prompt]) -> Result<Vec<NoiseFloor>, EngineError> {
        noise::floor(self, prompts)
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

    /// [`Tokenizer::facts`].
    fn facts(&self) -> &Facts {
        self.tokenizer().facts()
    }

    /// [`Tokenizer::tokenized`].
    ///
    /// # Errors
    /// A model without vocabulary, an empty text.
    fn tokenized(&self, text: &Text) -> Result<Prompt, EngineError> {
        self.tokenizer().tokenized(text)
    }

    /// [`Tokenizer::prompt`].
    ///
    /// # Errors
    /// A model without vocabulary, an empty text.
    fn prompt(&self, text: &str) -> Result<Prompt, EngineError> {
        self.tokenizer().prompt(text)
    }

    /// [`Tokenizer::piece`].
    fn piece(&self, token: Token) -> String {
        self.tokenizer().piece(token)
    }

    /// [`Tokenizer::text`].
    fn text(&self, tokens: &[Token]) -> String {
        self.tokenizer().text(tokens)
    }

    /// [`Tokenizer::ends_generation`].
    fn ends_generation(&self, token: Token) -> bool {
        self.tokenizer().ends_generation(token)
    }

    /// [`Tokenizer::chat`].
    ///
    /// # Errors
    /// A model without a template, a template that refuses the message.
    fn chat(
        &self,
        message: &str,
        date: ChatDate,
        parse_special: bool,
    ) -> Result<Text, EngineError> {
        self.tokenizer().chat(message, date, parse_special)
    }

    /// How many positions a text may have at most, where the model has learned each.
    fn learned_positions(&self) -> Option<u32> {
        None
    }
}
