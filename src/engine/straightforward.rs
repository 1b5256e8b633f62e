//! One full forward pass for each cell.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Engine, EngineError, Outcome, Prompt, PromptError, Request};
use crate::hook::{Capture, Row, Touched};
use crate::intervention::{Editor, States};
use crate::runtime::{Context, ContextOptions, Facts, Model, RuntimeError, Token};

/// Runs every request from the first token to the last, in one sequence.
pub struct Straightforward {
    context: Context,
}

const SEQUENCE: u32 = 0;

impl Straightforward {
    /// An engine with a context of its own.
    ///
    /// # Errors
    /// [`RuntimeError`] when the context cannot be made.
    pub fn new(model: Arc<Model>, options: &ContextOptions) -> Result<Self, RuntimeError> {
        Ok(Self {
            context: Context::new(model, options)?,
        })
    }

    /// The context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    fn check(&self, tokens: usize) -> Result<(), EngineError> {
        let n_ctx = self.context.options().n_ctx;
        if tokens > n_ctx as usize {
            return Err(RuntimeError::TooLong { tokens, n_ctx }.into());
        }
        if tokens == 0 {
            return Err(PromptError::Empty.into());
        }
        Ok(())
    }

    /// Decodes a prompt in batches that end at `cuts` and at the largest batch allowed.
    fn prefill(
        &mut self,
        tokens: &[Token],
        cuts: &[usize],
        session: &mut Session,
        capture: Option<&Capture>,
    ) -> Result<States, EngineError> {
        let n_batch = self.context.options().n_batch as usize;
        let mut states = States::new();
        let mut start = 0;
        while start < tokens.len() {
            let next_cut = cuts.iter().copied().filter(|c| *c > start).min();
            let end = next_cut
                .unwrap_or(tokens.len())
                .min(start + n_batch)
                .min(tokens.len());
            let rows: Vec<Row> = (start..end)
                .map(|i| row(i, tokens[i], i + 1 == tokens.len()))
                .collect();
            let observed = session.decode(&mut self.context, &rows, capture.cloned())?;
            states.extend(observed);
            start = end;
        }
        Ok(states)
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

/// The editor of one request, carried from decode to decode.
struct Session {
    editor: Option<Editor>,
    touched: Vec<Touched>,
}

impl Session {
    fn new(request: &Request, n_layer: u32) -> Self {
        let plan: Arc<[_]> = request.plan.clone().into();
        Self {
            editor: (!plan.is_empty()).then(|| Editor::new(plan, n_layer)),
            touched: Vec::new(),
        }
    }

    fn decode(
        &mut self,
        context: &mut Context,
        rows: &[Row],
        capture: Option<Capture>,
    ) -> Result<States, RuntimeError> {
        let editors: HashMap<u32, Editor> = self
            .editor
            .take()
            .map(|e| (SEQUENCE, e))
            .into_iter()
            .collect();
        let edits = !editors.is_empty();
        let mut observed = context.decode(rows, editors, capture)?;
        if edits {
            self.editor = observed.editors.remove(&SEQUENCE);
        }
        for touched in observed.touched {
            match self.touched.iter_mut().find(|t| t.tensor == touched.tensor) {
                Some(known) => known.rows += touched.rows,
                None => self.touched.push(touched),
            }
        }
        Ok(observed.states)
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

    fn run(&mut self, request: &Request) -> Result<Outcome, EngineError> {
        let n_layer = self.facts().n_layer;
        for intervention in &request.plan {
            intervention.check(n_layer)?;
        }
        let longest = request.continuations.iter().map(Vec::len).max();
        self.check(request.tokens.len())?;
        self.check(request.tokens.len() + longest.unwrap_or(0))?;
        self.context.clear();
        let mut session = Session::new(request, n_layer);
        let tokens = &request.tokens;
        self.prefill(tokens, &request.cuts, &mut session, None)?;
        let last_row = tokens.len() - 1 - self.last_batch_start(tokens.len(), &request.cuts);
        let logits = self.context.logits(last_row)?.to_vec();
        let branches = request
            .continuations
            .iter()
            .map(|continuation| self.continue_with(tokens, continuation, &mut session))
            .collect::<Result<_, _>>()?;
        Ok(Outcome {
            logits,
            branches,
            touched: session.touched,
        })
    }

    fn states(&mut self, prompt: &Prompt) -> Result<Arc<States>, EngineError> {
        self.check(prompt.tokens.len())?;
        self.context.clear();
        let n_layer = self.facts().n_layer;
        let capture = Capture {
            layers: (0..n_layer).collect(),
            sequence: SEQUENCE,
        };
        let mut session = Session::new(&Request::default(), n_layer);
        let states = self.prefill(&prompt.tokens, &[], &mut session, Some(&capture))?;
        Ok(Arc::new(states))
    }
}

impl Straightforward {
    /// The logits after each token of a continuation. The newest token was clean while it was
    /// the last one; it is decoded again, now prior, together with the token that follows it.
    fn continue_with(
        &mut self,
        tokens: &[Token],
        continuation: &[Token],
        session: &mut Session,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let mut newest = *tokens.last().expect("checked not to be empty");
        let mut logits = Vec::new();
        for (n, &token) in continuation.iter().enumerate() {
            let position = tokens.len() - 1 + n;
            self.context.rewind(SEQUENCE, position as u32)?;
            let rows = [row(position, newest, false), row(position + 1, token, true)];
            session.decode(&mut self.context, &rows, None)?;
            logits.push(self.context.logits(1)?.to_vec());
            newest = token;
        }
        Ok(logits)
    }

    /// Where the batch that holds the last token begins.
    fn last_batch_start(&self, n: usize, cuts: &[usize]) -> usize {
        let n_batch = self.context.options().n_batch as usize;
        let cut = cuts.iter().copied().filter(|c| *c < n).max().unwrap_or(0);
        cut + (n - cut - 1) / n_batch * n_batch
    }
}
