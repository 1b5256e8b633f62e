//! When: runs a prompt under interventions and returns the logits that follow.
//!
//! [`Engine`] is what everything above sees, so a [`Mock`] can stand in for a model.
//! [`Straightforward`] computes every cell by a full forward pass: slow, simple, and the oracle
//! for anything faster.

mod donor;
mod logits;
mod mock;
mod planned;
mod prompt;
mod rerun;
mod select;
mod straightforward;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

pub use donor::{donor_states, filler_states};
pub use logits::{argmax, kl, log_softmax, rank, top};
pub use mock::Mock;
pub use planned::Planned;
pub use prompt::{Prompt, PromptError};
pub use rerun::Rerun;
pub use select::TokenSelector;
pub use straightforward::Straightforward;

use crate::hook::{Captured, Touched};
use crate::intervention::{Intervention, PlanError, States, Target};
use crate::runtime::{Facts, RuntimeError, Token};

/// An error of an engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// llama.cpp or the hook failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// An intervention does not fit the model.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A prompt or a part of it cannot be used.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The caller wanted no more outcomes.
    #[error("stopped")]
    Stopped,
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

/// When a greedy continuation ends, besides the model's own end tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// After so many tokens.
    pub max_tokens: usize,
    /// Once the text, without the space that it begins with, contains this.
    pub stop: String,
}

impl Ending {
    /// Whether `text` goes on.
    pub fn goes_on(&self, text: &str) -> bool {
        !text.trim_start().contains(&self.stop)
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

    /// The largest number of tokens that may follow the prompt.
    pub fn longest_tail(&self) -> usize {
        let forced = self.continuations.iter().map(Vec::len).max().unwrap_or(0);
        let generated = self.generate.as_ref().map_or(0, |e| e.max_tokens);
        forced.max(generated)
    }

    /// How many texts follow the prompt, and how many cells they take at most.
    fn tails(&self) -> (usize, usize) {
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

/// What a run gave.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Logits over the vocabulary after the prompt.
    pub logits: Vec<f32>,
    /// The greedy continuation, an end-of-generation token included if one came; empty where
    /// none was asked for.
    pub generated: Vec<Token>,
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

/// The difference between clean runs of the same prompt in different batch shapes: an effect
/// below it is none.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NoiseFloor {
    /// Where the prompt was cut.
    pub shape: String,
    /// Prompts measured.
    pub prompts: usize,
    /// Largest difference of a logit.
    pub max_logit: f64,
    /// Mean KL divergence from the run in one batch, in nats.
    pub mean_kl: f64,
    /// Largest KL divergence, in nats.
    pub max_kl: f64,
    /// How often the likeliest token changed.
    pub argmax_changes: usize,
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
            let best = top(&logits, 2);
            let token = best[0].0;
            generation.tokens.push(token);
            let second = best.get(1).map_or(f32::NEG_INFINITY, |b| b.1);
            generation.margins.push(best[0].1 - second);
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
        let early = |n: usize| if n > 14 { 7 } else { n / 2 };
        let shapes: [(&str, &dyn Fn(usize) -> usize); 2] = [
            ("cut after the first seven tokens", &early),
            ("cut before the last token", &|n| n - 1),
        ];
        let mut floors = Vec::new();
        for (shape, cut) in shapes {
            let mut floor = NoiseFloor {
                shape: shape.to_string(),
                prompts: 0,
                max_logit: 0.0,
                mean_kl: 0.0,
                max_kl: 0.0,
                argmax_changes: 0,
            };
            for prompt in prompts.iter().filter(|p| p.tokens.len() >= 2) {
                let whole = self.run(&Request::new(prompt))?;
                let mut request = Request::new(prompt);
                request.cuts = vec![cut(prompt.tokens.len())];
                let pieces = self.run(&request)?;
                let (a, b) = (&whole.logits, &pieces.logits);
                let difference = a
                    .iter()
                    .zip(b)
                    .map(|(x, y)| f64::from((x - y).abs()))
                    .fold(0.0, f64::max);
                let divergence = kl(a, b);
                floor.prompts += 1;
                floor.max_logit = floor.max_logit.max(difference);
                floor.mean_kl += divergence;
                floor.max_kl = floor.max_kl.max(divergence);
                floor.argmax_changes += usize::from(argmax(a) != argmax(b));
            }
            floor.mean_kl /= floor.prompts.max(1) as f64;
            floors.push(floor);
        }
        Ok(floors)
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
