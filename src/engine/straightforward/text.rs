//! The text at hand: a prompt and what has been appended, under the plan in force.

use std::sync::Arc;

use super::in_force::{InForce, Pins};
use super::{SEQUENCE, Straightforward, row};
use crate::engine::{Engine, EngineError, Request, Session, Tokenizer};
use crate::hook::{Capture, Captured, Row, Touched};
use crate::intervention::{Action, Intervention, States, Target};
use crate::runtime::Token;

pub(super) struct Text<'e> {
    engine: &'e mut Straightforward,
    request: Request,
    /// The prompt and what has been appended.
    tokens: Vec<Token>,
    in_force: InForce,
    touched: Vec<Touched>,
    logits: Vec<f32>,
    /// Those after the prompt.
    logits_of_prompt: Vec<f32>,
    /// Whether an error left its cells as nobody knows.
    broken: bool,
}

impl<'e> Text<'e> {
    /// Runs the prompt of a request, which has been checked.
    pub fn start(engine: &'e mut Straightforward, request: &Request) -> Result<Self, EngineError> {
        let mut text = Self {
            engine,
            request: request.clone(),
            tokens: request.tokens.clone(),
            in_force: InForce::default(),
            touched: Vec::new(),
            logits: Vec::new(),
            logits_of_prompt: Vec::new(),
            broken: false,
        };
        text.prefill()?;
        text.logits_of_prompt.clone_from(&text.logits);
        Ok(text)
    }

    fn n_layer(&self) -> u32 {
        self.engine.n_layer()
    }

    /// How many tokens have been appended.
    fn produced(&self) -> usize {
        self.tokens.len() - self.request.tokens.len()
    }

    /// Decodes the text from its beginning under the plan in force.
    ///
    /// Where keys or values are rewritten, prior tokens' own residual streams must stay what
    /// they are without it, so the text is decoded twice: once to see those streams, and once
    /// with them held while the cache's rows are rewritten.
    fn prefill(&mut self) -> Result<(), EngineError> {
        self.in_force = InForce::new(self.request.plan_at(self.produced()));
        let stream = self.in_force.stream.clone();
        let hides = stream.iter().any(|i| i.target() == Target::Mask);
        self.engine.context.follow_cells(hides);
        if self.in_force.cache.is_empty() {
            self.decode_all(stream, None, None, true)?;
            return Ok(());
        }
        let inputs = self.engine.capture(&[Target::Input]);
        let own = self.decode_all(stream, None, Some(&inputs), false)?;
        self.in_force.own = Arc::new(own.inputs);
        for n in 0..self.in_force.cache.len() {
            if let Some((plan, capture)) = self.recompute(n) {
                let states = self.decode_all(plan, None, Some(&capture), false)?;
                self.in_force.frozen[n].extend(states);
            }
        }
        let (plan, pins) = self.in_force.carried_out();
        let states = self.decode_all(plan, pins, Some(&inputs), true)?;
        self.in_force.learn(states);
        Ok(())
    }

    /// What to run so that the keys and values that freeze asks for are computed: every layer
    /// of the span on the state saved below it.
    fn recompute(&self, n: usize) -> Option<(Vec<Intervention>, Capture)> {
        let freeze = &self.in_force.cache[n];
        if !matches!(freeze.action, Action::Freeze) {
            return None;
        }
        let layers = (0..self.n_layer()).filter(|l| freeze.layers.contains(*l));
        let mut saved = States::new();
        for position in 0..self.tokens.len() as u32 {
            if let Some(state) = self.in_force.own.get(freeze.layers.first - 1, position) {
                for layer in layers.clone() {
                    saved.insert(layer, position, state);
                }
            }
        }
        let given = Intervention::new(Action::Given(Arc::new(saved)), freeze.layers)
            .at(freeze.tokens.clone());
        let capture = Capture {
            layers: layers.collect(),
            ..self.engine.capture(&[freeze.target()])
        };
        Some((vec![given], capture))
    }

    /// Decodes the text from its beginning, in batches that end at the request's cuts and at the
    /// largest batch allowed. `counts` tells whether tensors written to are noted.
    fn decode_all(
        &mut self,
        plan: Vec<Intervention>,
        pins: Option<Pins>,
        capture: Option<&Capture>,
        counts: bool,
    ) -> Result<Captured, EngineError> {
        self.engine.context.clear();
        let n_batch = self.engine.context.options().n_batch as usize;
        let n = self.tokens.len();
        let mut states = Captured::default();
        let mut start = 0;
        // An editor is carried over from batch to batch only by what it saved of a row, and a
        // row is in one batch.
        let plan: Arc<[Intervention]> = plan.into();
        while start < n {
            let cuts = self.request.cuts.iter().copied();
            let end = cuts.filter(|c| *c > start).min().unwrap_or(n);
            let end = end.min(start + n_batch).min(n);
            let rows: Vec<Row> = (start..end)
                .map(|i| row(i, self.tokens[i], i + 1 == n))
                .collect();
            let seen = self
                .engine
                .decode(&rows, plan.clone(), pins.clone(), capture)?;
            states.extend(seen.states);
            if counts {
                Touched::add(&mut self.touched, &seen.touched);
            }
            if end == n {
                self.keep_logits(rows.len() - 1)?;
            }
            start = end;
        }
        Ok(states)
    }

    /// Keeps the logits of a row of the latest decode.
    fn keep_logits(&mut self, row: usize) -> Result<(), EngineError> {
        self.logits.clear();
        self.logits
            .extend_from_slice(self.engine.context.logits(row)?);
        Ok(())
    }

    /// Decodes the newest token, and the one before it once more where that becomes prior.
    fn step(&mut self) -> Result<(), EngineError> {
        let newest = self.tokens.len() - 1;
        let mut rows = Vec::new();
        if self.request.manipulate_generated {
            // The token before was clean while it was the last one; it is decoded again, now
            // prior, together with the token that follows it.
            let position = newest - 1;
            let again = row(position, self.tokens[position], false);
            for n in 0..self.in_force.cache.len() {
                if let Some((plan, capture)) = self.recompute(n) {
                    self.engine.context.rewind(SEQUENCE, position as u32)?;
                    let seen = self
                        .engine
                        .decode(&[again], plan.into(), None, Some(&capture))?;
                    self.in_force.frozen[n].extend(seen.states);
                }
            }
            self.engine.context.rewind(SEQUENCE, position as u32)?;
            rows.push(again);
        }
        rows.push(row(newest, self.tokens[newest], true));
        let (plan, pins) = self.in_force.carried_out();
        let inputs = self.engine.capture(&[Target::Input]);
        let capture = pins.is_some().then_some(&inputs);
        let seen = self.engine.decode(&rows, plan.into(), pins, capture)?;
        Touched::add(&mut self.touched, &seen.touched);
        self.in_force.learn(seen.states);
        self.keep_logits(rows.len() - 1)
    }
}

impl Session for Text<'_> {
    fn tokenizer(&self) -> &dyn Tokenizer {
        self.engine.tokenizer()
    }

    fn logits(&self) -> &[f32] {
        &self.logits
    }

    fn advance(&mut self, token: Token) -> Result<&[f32], EngineError> {
        if self.broken {
            return Err(EngineError::Broken);
        }
        self.engine.positions().fit(self.tokens.len() + 1)?;
        self.broken = true;
        self.tokens.push(token);
        if self.produced() == self.request.from_step {
            // Manipulation begins here: every token so far, but the last, becomes prior under it.
            self.prefill()?;
        } else {
            self.step()?;
        }
        self.broken = false;
        Ok(&self.logits)
    }

    fn back(&mut self) -> Result<(), EngineError> {
        let n = self.request.tokens.len();
        if self.broken {
            return Err(EngineError::Broken);
        }
        if self.tokens.len() == n {
            return Ok(());
        }
        self.broken = true;
        self.tokens.truncate(n);
        if self.request.from_step > 0 {
            // The prompt's cells may have been manipulated since.
            self.prefill()?;
        } else {
            self.engine.context.rewind(SEQUENCE, n as u32)?;
        }
        self.broken = false;
        self.logits.clone_from(&self.logits_of_prompt);
        Ok(())
    }

    fn touched(&self) -> &[Touched] {
        &self.touched
    }
}
