//! One full forward pass for each cell.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Engine, EngineError, Prompt, PromptError, Request};
use crate::hook::{Capture, Row, Touched};
use crate::intervention::{Editor, Intervention, States};
use crate::runtime::{Context, ContextOptions, Facts, Model, RuntimeError, Token};

/// Runs every request from the first token to the last, in one sequence.
pub struct Straightforward {
    context: Context,
    text: Text,
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
        Ok(Self {
            context: Context::new(model, options)?,
            text: Text::default(),
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

    /// Decodes the text at hand from its beginning, in batches that end at the request's cuts
    /// and at the largest batch allowed, under the plan in force. Returns captured states.
    fn prefill(&mut self, capture: Option<&Capture>) -> Result<States, EngineError> {
        let Text {
            request,
            tokens,
            session,
        } = &mut self.text;
        let produced = tokens.len() - request.tokens.len();
        session.begin(request.plan_at(produced), self.context.model().n_layer());
        self.context.clear();
        let n_batch = self.context.options().n_batch as usize;
        let mut states = States::new();
        let mut start = 0;
        while start < tokens.len() {
            let next_cut = request.cuts.iter().copied().filter(|c| *c > start).min();
            let end = next_cut
                .unwrap_or(tokens.len())
                .min(start + n_batch)
                .min(tokens.len());
            let rows: Vec<Row> = (start..end)
                .map(|i| row(i, tokens[i], i + 1 == tokens.len()))
                .collect();
            states.extend(session.decode(&mut self.context, &rows, capture.cloned())?);
            session.last_row = rows.len() - 1;
            start = end;
        }
        Ok(states)
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

/// The editor of one request, carried from decode to decode.
#[derive(Default)]
struct Session {
    editor: Option<Editor>,
    touched: Vec<Touched>,
    /// The row of the latest decode that has logits.
    last_row: usize,
}

impl Session {
    fn begin(&mut self, plan: Vec<Intervention>, n_layer: u32) {
        self.editor = (!plan.is_empty()).then(|| Editor::new(plan.into(), n_layer));
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
        let longest = request.continuations.iter().map(Vec::len).max();
        self.check(request.tokens.len())?;
        self.check(request.tokens.len() + longest.unwrap_or(0))?;
        self.begin(request);
        self.prefill(None)?;
        self.logits()
    }

    fn advance(&mut self, token: Token) -> Result<Vec<f32>, EngineError> {
        self.check(self.text.tokens.len() + 1)?;
        let Text {
            request,
            tokens,
            session,
        } = &mut self.text;
        let newest = *tokens.last().expect("a text was started");
        let position = tokens.len() - 1;
        tokens.push(token);
        let produced = tokens.len() - request.tokens.len();
        if produced == request.from_step {
            // Manipulation begins here: every token so far, but the last, becomes prior under it.
            self.prefill(None)?;
            return self.logits();
        }
        let mut rows = Vec::new();
        if request.manipulate_generated {
            // The newest token was clean while it was the last one; it is decoded again, now
            // prior, together with the token that follows it.
            self.context.rewind(SEQUENCE, position as u32)?;
            rows.push(row(position, newest, false));
        }
        rows.push(row(position + 1, token, true));
        session.decode(&mut self.context, &rows, None)?;
        session.last_row = rows.len() - 1;
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
            self.prefill(None)?;
        } else {
            self.context.rewind(SEQUENCE, n as u32)?;
        }
        Ok(())
    }

    fn touched(&self) -> Vec<Touched> {
        self.text.session.touched.clone()
    }

    fn states(&mut self, prompt: &Prompt) -> Result<Arc<States>, EngineError> {
        self.check(prompt.tokens.len())?;
        let capture = Capture {
            layers: (0..self.facts().n_layer).collect(),
            sequence: SEQUENCE,
        };
        self.begin(&Request::new(prompt));
        Ok(Arc::new(self.prefill(Some(&capture))?))
    }
}
