//! One full forward pass for each cell.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Cost, Decode, Engine, EngineError, Prompt, PromptError, Request, Work};
use crate::hook::{Capture, Captured, Observed, Row, Touched};
use crate::intervention::{Action, Editor, Intervention, States, Target};
use crate::runtime::{Context, ContextOptions, Facts, Model, RuntimeError, Token};

/// Runs every request from the first token to the last, in one sequence.
pub struct Straightforward {
    context: Context,
    /// Positions that a text may have.
    n_ctx: u32,
    text: Text,
    work: Work,
}

/// The text at hand.
#[derive(Default)]
struct Text {
    request: Request,
    /// The prompt and what has been appended.
    tokens: Vec<Token>,
    session: Session,
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
            text: Text::default(),
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

    /// Checks that so many tokens fit.
    pub(super) fn check(&self, tokens: usize) -> Result<(), EngineError> {
        let n_ctx = self.n_ctx;
        if tokens > n_ctx as usize {
            return Err(RuntimeError::TooLong { tokens, n_ctx }.into());
        }
        if tokens == 0 {
            return Err(PromptError::Empty.into());
        }
        Ok(())
    }

    /// Decodes the text at hand from its beginning under the plan in force.
    ///
    /// Where keys or values are rewritten, prior tokens' own residual streams must stay what
    /// they are without it, so the text is decoded twice: once to see those streams, and once
    /// with them held while the cache's rows are rewritten.
    fn prefill(&mut self) -> Result<(), EngineError> {
        let produced = self.text.tokens.len() - self.text.request.tokens.len();
        let plan = self.text.request.plan_at(produced);
        self.text.session.begin(plan);
        if self.text.session.cache.is_empty() {
            let plan = self.text.session.stream.clone();
            self.decode_text(plan, None, None, true)?;
            return Ok(());
        }
        let stream = self.text.session.stream.clone();
        let inputs = self.capture(&[Target::Input]);
        let own = self.decode_text(stream, None, Some(&inputs), false)?;
        self.text.session.own = Arc::new(own.inputs);
        for n in 0..self.text.session.cache.len() {
            if let Some((plan, capture)) = self.recompute(n) {
                let states = self.decode_text(plan, None, Some(&capture), false)?;
                self.text.session.frozen[n].extend(states);
            }
        }
        let (plan, pins) = self.text.session.in_force();
        let states = self.decode_text(plan, pins, Some(&inputs), true)?;
        self.text.session.learn(states);
        Ok(())
    }

    /// What to run so that the keys and values that freeze asks for are computed: every layer
    /// of the span on the state saved below it.
    fn recompute(&self, n: usize) -> Option<(Vec<Intervention>, Capture)> {
        let session = &self.text.session;
        let freeze = &session.cache[n];
        if !matches!(freeze.action, Action::Freeze) {
            return None;
        }
        let layers = (0..self.facts().n_layer).filter(|l| freeze.layers.contains(*l));
        let mut saved = States::new();
        for position in 0..self.text.tokens.len() as u32 {
            if let Some(state) = session.own.get(freeze.layers.first - 1, position) {
                for layer in layers.clone() {
                    saved.insert(layer, position, state);
                }
            }
        }
        let given = Intervention::new(Action::Given(Arc::new(saved)), freeze.layers)
            .at(freeze.tokens.clone());
        let capture = Capture {
            layers: layers.collect(),
            ..self.capture(&[freeze.target()])
        };
        Some((vec![given], capture))
    }

    fn capture(&self, targets: &[Target]) -> Capture {
        Capture {
            targets: targets.to_vec(),
            layers: (0..self.facts().n_layer).collect(),
        }
    }

    /// Decodes the text at hand from its beginning, in batches that end at the request's cuts
    /// and at the largest batch allowed. `counts` tells whether tensors written to are noted.
    fn decode_text(
        &mut self,
        plan: Vec<Intervention>,
        pins: Option<Pins>,
        capture: Option<&Capture>,
        counts: bool,
    ) -> Result<Captured, EngineError> {
        self.context.clear();
        let n_batch = self.context.options().n_batch as usize;
        let n = self.text.tokens.len();
        let mut states = Captured::default();
        let mut start = 0;
        // An editor is carried over from batch to batch only by what it saved of a row, and a
        // row is in one batch.
        let plan: Arc<[Intervention]> = plan.into();
        while start < n {
            let cuts = self.text.request.cuts.iter().copied();
            let end = cuts.filter(|c| *c > start).min().unwrap_or(n);
            let end = end.min(start + n_batch).min(n);
            let rows: Vec<Row> = (start..end)
                .map(|i| row(i, self.text.tokens[i], i + 1 == n))
                .collect();
            let seen = self.decode(&rows, plan.clone(), pins.clone(), capture)?;
            states.extend(seen.states);
            if counts {
                Touched::add(&mut self.text.session.touched, &seen.touched);
            }
            start = end;
        }
        Ok(states)
    }

    fn decode(
        &mut self,
        rows: &[Row],
        plan: Arc<[Intervention]>,
        pins: Option<Pins>,
        capture: Option<&Capture>,
    ) -> Result<Seen, EngineError> {
        let mut editors = HashMap::new();
        if !plan.is_empty() {
            let mut editor = Editor::new(plan, self.context.model().n_layer());
            if let Some((layer, states)) = pins {
                editor = editor.pinned(layer, states);
            }
            editors.insert(SEQUENCE, editor);
        }
        self.text.session.last_row = rows.len() - 1;
        let observed = self.context.decode(rows, editors, capture.cloned())?;
        self.work.layer_rows += rows.len() as u64 * u64::from(self.facts().n_layer);
        self.work.decodes += 1;
        Ok(Seen::from(observed))
    }

    fn logits(&self) -> Result<Vec<f32>, EngineError> {
        Ok(self.context.logits(self.text.session.last_row)?.to_vec())
    }

    fn begin(&mut self, request: &Request) {
        self.text = Text {
            tokens: request.tokens.clone(),
            request: request.clone(),
            session: Session::default(),
        };
    }
}

fn row(position: usize, token: Token, last: bool) -> Row {
    Row {
        sequence: SEQUENCE,
        position: position as u32,
        token: token.0,
        prior: !last,
        output: last,
    }
}

/// What a decode of the one sequence gave.
struct Seen {
    states: Captured,
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

/// The layer above which own streams are held, and the states they are held at.
type Pins = (u32, Arc<States>);

/// The plan in force, and what is known of the text at hand.
#[derive(Default)]
struct Session {
    /// Interventions on the residual stream and on attention.
    stream: Vec<Intervention>,
    /// Interventions on keys and values.
    cache: Vec<Intervention>,
    /// For each of those that is a freeze, keys and values computed from saved states.
    frozen: Vec<Captured>,
    /// Where keys or values are rewritten: every token's own states entering every layer.
    own: Arc<States>,
    touched: Vec<Touched>,
    /// The row of the latest decode that has logits.
    last_row: usize,
}

impl Session {
    fn begin(&mut self, plan: Vec<Intervention>) {
        let (cache, stream): (Vec<_>, Vec<_>) = plan
            .into_iter()
            .partition(|i| matches!(i.target(), Target::Keys | Target::Values));
        self.frozen = vec![Captured::default(); cache.len()];
        self.stream = stream;
        self.cache = cache;
        self.own = Arc::default();
    }

    /// The plan as editors carry it out, and what they hold still.
    fn in_force(&self) -> (Vec<Intervention>, Option<Pins>) {
        let mut plan = self.stream.clone();
        for (intervention, frozen) in self.cache.iter().zip(&self.frozen) {
            let mut intervention = intervention.clone();
            if matches!(intervention.action, Action::Freeze) {
                let states = match intervention.target() {
                    Target::Keys => &frozen.keys,
                    _ => &frozen.values,
                };
                intervention.action = Action::Given(Arc::new(states.clone()));
            }
            plan.push(intervention);
        }
        let first = self.cache.iter().map(|i| i.layers.first).min();
        (plan, first.map(|layer| (layer, self.own.clone())))
    }

    /// Takes up the newest token's own states.
    fn learn(&mut self, states: Captured) {
        Arc::make_mut(&mut self.own).extend(states.inputs);
    }
}

impl Engine for Straightforward {
    fn facts(&self) -> &Facts {
        self.context.model().facts()
    }

    fn prompt(&self, text: &str) -> Result<Prompt, EngineError> {
        let model = self.context.model();
        let tokens = model.tokenize(text)?;
        if text.is_empty() || tokens.is_empty() {
            return Err(PromptError::Empty.into());
        }
        let special = tokens.iter().take_while(|t| model.is_control(**t)).count();
        let mut prompt = Prompt::new(text, tokens, |t| model.piece(t));
        prompt.special = special;
        Ok(prompt)
    }

    fn piece(&self, token: Token) -> String {
        String::from_utf8_lossy(&self.context.model().piece(token)).into_owned()
    }

    fn text(&self, tokens: &[Token]) -> String {
        let model = self.context.model();
        let spoken = tokens.iter().filter(|t| !model.ends_generation(**t));
        let bytes: Vec<u8> = spoken.flat_map(|t| model.piece(*t)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn ends_generation(&self, token: Token) -> bool {
        self.context.model().ends_generation(token)
    }

    fn chat(&self, message: &str) -> Result<String, EngineError> {
        Ok(self.context.model().chat(message)?)
    }

    fn start(&mut self, request: &Request) -> Result<Vec<f32>, EngineError> {
        let n_layer = self.facts().n_layer;
        for intervention in &request.plan {
            intervention.check(n_layer)?;
        }
        let forced = request.continuations.iter().map(Vec::len).max();
        self.check(request.tokens.len())?;
        self.check(request.tokens.len() + forced.unwrap_or(0))?;
        self.begin(request);
        self.prefill()?;
        self.logits()
    }

    fn advance(&mut self, token: Token) -> Result<Vec<f32>, EngineError> {
        self.check(self.text.tokens.len() + 1)?;
        let position = self.text.tokens.len() - 1;
        let newest = self.text.tokens[position];
        self.text.tokens.push(token);
        let produced = self.text.tokens.len() - self.text.request.tokens.len();
        if produced == self.text.request.from_step {
            // Manipulation begins here: every token so far, but the last, becomes prior under it.
            self.prefill()?;
            return self.logits();
        }
        let mut rows = Vec::new();
        if self.text.request.manipulate_generated {
            // The newest token was clean while it was the last one; it is decoded again, now
            // prior, together with the token that follows it.
            let again = row(position, newest, false);
            for n in 0..self.text.session.cache.len() {
                if let Some((plan, capture)) = self.recompute(n) {
                    self.context.rewind(SEQUENCE, position as u32)?;
                    let seen = self.decode(&[again], plan.into(), None, Some(&capture))?;
                    self.text.session.frozen[n].extend(seen.states);
                }
            }
            self.context.rewind(SEQUENCE, position as u32)?;
            rows.push(again);
        }
        rows.push(row(position + 1, token, true));
        let (plan, pins) = self.text.session.in_force();
        let inputs = self.capture(&[Target::Input]);
        let capture = pins.is_some().then_some(&inputs);
        let seen = self.decode(&rows, plan.into(), pins, capture)?;
        Touched::add(&mut self.text.session.touched, &seen.touched);
        self.text.session.learn(seen.states);
        self.logits()
    }

    fn back(&mut self) -> Result<(), EngineError> {
        let Text {
            request, tokens, ..
        } = &mut self.text;
        let n = request.tokens.len();
        if tokens.len() == n {
            return Ok(());
        }
        tokens.truncate(n);
        if request.from_step > 0 {
            // The prompt's cells may have been manipulated since.
            self.prefill()?;
        } else {
            self.context.rewind(SEQUENCE, n as u32)?;
        }
        Ok(())
    }

    fn work(&self) -> Work {
        self.work.clone()
    }

    fn cost(&mut self, requests: &[Request]) -> Cost {
        Cost::one_by_one(requests, self.context.options().n_batch as usize)
    }

    fn products(&self, decode: &Decode) -> f64 {
        let anatomy = self.context.anatomy();
        anatomy.map_or(0.0, |anatomy| decode.products(anatomy))
    }

    fn touched(&self) -> Vec<Touched> {
        self.text.session.touched.clone()
    }

    fn captured(
        &mut self,
        tokens: &[Token],
        first_position: u32,
        targets: &[Target],
    ) -> Result<Captured, EngineError> {
        self.check(tokens.len() + first_position as usize)?;
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
