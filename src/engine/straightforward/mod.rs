//! One full forward pass for each cell.

mod in_force;
mod text;

use std::collections::HashMap;
use std::sync::Arc;

use in_force::Pins;
use text::Text;

use super::request::Positions;
use super::{Cost, Decode, Engine, EngineError, PromptError, Request, Session, Tokenizer, Work};
use crate::hook::{Capture, Captured, Observed, Row, Touched};
use crate::intervention::{Editor, Intervention, Target};
use crate::runtime::{Context, ContextOptions, Model, RuntimeError, Token};

/// Runs every request from the first token to the last, in one sequence.
pub struct Straightforward {
    context: Context,
    /// Positions that a text may have.
    n_ctx: u32,
    work: Work,
}

const SEQUENCE: u32 = 0;

impl Straightforward {
    /// An engine with a context of its own.
    ///
    /// # Errors
    /// [`RuntimeError`] when the context cannot be made.
    pub fn new(model: Arc<Model>, options: &ContextOptions) -> Result<Self, RuntimeError> {
        Self::with_cells(model, options, options.n_ctx, options.n_seq_max)
    }

    /// An engine whose context has more cells than a text may have positions, and sequences,
    /// for another engine that shares it.
    pub(super) fn with_cells(
        model: Arc<Model>,
        options: &ContextOptions,
        cells: u32,
        sequences: u32,
    ) -> Result<Self, RuntimeError> {
        let roomy = ContextOptions {
            n_ctx: cells,
            n_seq_max: sequences,
            ..options.clone()
        };
        Ok(Self {
            context: Context::new(model, &roomy)?,
            n_ctx: options.n_ctx,
            work: Work::default(),
        })
    }

    /// The context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The context, for an engine that decodes on its own account in between.
    pub(super) fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// The positions that a text may have.
    pub(super) fn positions(&self) -> Positions {
        Positions {
            n_ctx: self.n_ctx,
            learned: self.context.learned_positions(),
        }
    }

    fn n_layer(&self) -> u32 {
        self.context.model().n_layer()
    }

    fn capture(&self, targets: &[Target]) -> Capture {
        Capture {
            targets: targets.to_vec(),
            layers: (0..self.n_layer()).collect(),
            ..Capture::default()
        }
    }

    pub(super) fn decode(
        &mut self,
        rows: &[Row],
        plan: Arc<[Intervention]>,
        pins: Option<Pins>,
        capture: Option<&Capture>,
    ) -> Result<Seen, EngineError> {
        let mut editors = HashMap::new();
        if !plan.is_empty() {
            let mut editor = Editor::new(plan, self.n_layer());
            if let Some((layer, states)) = pins {
                editor = editor.pinned(layer, states);
            }
            editors.insert(SEQUENCE, editor);
        }
        let observed = self.context.decode(rows, editors, capture.cloned())?;
        self.count(rows.len());
        Ok(Seen::from(observed))
    }

    /// Counts a decode of the whole graph.
    pub(super) fn count(&mut self, rows: usize) {
        self.work.layer_rows += rows as u64 * u64::from(self.n_layer());
        self.work.decodes += 1;
    }
}

pub(super) fn row(position: usize, token: Token, last: bool) -> Row {
    Row {
        sequence: SEQUENCE,
        position: position as u32,
        token: token.0,
        prior: !last,
        output: last,
    }
}

/// What a decode of the one sequence gave.
pub(super) struct Seen {
    pub(super) states: Captured,
    touched: Vec<Touched>,
}

impl From<Observed> for Seen {
    fn from(mut observed: Observed) -> Self {
        Self {
            states: observed.states.remove(&SEQUENCE).unwrap_or_default(),
            touched: observed.touched.remove(&SEQUENCE).unwrap_or_default(),
        }
    }
}

impl Engine for Straightforward {
    fn tokenizer(&self) -> &dyn Tokenizer {
        &**self.context.model()
    }

    fn learned_positions(&self) -> Option<u32> {
        self.context.learned_positions()
    }

    fn start<'e>(&'e mut self, request: &Request) -> Result<Box<dyn Session + 'e>, EngineError> {
        request.check(self.n_layer(), self.positions())?;
        Ok(Box::new(Text::start(self, request)?))
    }

    fn work(&self) -> Work {
        Work {
            traffic: self.context.traffic(),
            ..self.work.clone()
        }
    }

    fn cost(&mut self, requests: &[Request]) -> Cost {
        Cost::one_by_one(requests, self.context.options().n_batch as usize)
    }

    fn products(&self, decode: &Decode) -> f64 {
        let anatomy = self.context.anatomy();
        anatomy.map_or(0.0, |anatomy| decode.products(anatomy))
    }

    fn captured(
        &mut self,
        tokens: &[Token],
        first_position: u32,
        targets: &[Target],
    ) -> Result<Captured, EngineError> {
        if tokens.is_empty() {
            return Err(PromptError::Empty.into());
        }
        self.positions()
            .fit(tokens.len() + first_position as usize)?;
        let capture = self.capture(targets);
        let rows: Vec<Row> = tokens
            .iter()
            .enumerate()
            .map(|(i, token)| row(first_position as usize + i, *token, i + 1 == tokens.len()))
            .collect();
        self.context.clear();
        let mut states = Captured::default();
        for rows in rows.chunks(self.context.options().n_batch as usize) {
            let seen = self.decode(rows, Arc::new([]), None, Some(&capture))?;
            states.extend(seen.states);
        }
        Ok(states)
    }
}
