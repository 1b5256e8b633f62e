//! An engine without a model, for tests of what lies above.

use std::sync::Mutex;

use super::{Engine, EngineError, Prompt, PromptError, Request};
use crate::hook::{Captured, Touched};
use crate::intervention::Target;
use crate::runtime::{Facts, Token, Weights};

/// Answers from a hash of the request: the same request gives the same logits, another layer,
/// seed or text gives others. A token is a word with the space before it, or a single other
/// character.
pub struct Mock {
    facts: Facts,
    /// The words met so far; a word's index is its token.
    words: Mutex<Vec<String>>,
    /// Requests started so far.
    pub runs: usize,
    request: Request,
    tokens: Vec<Token>,
}

impl Mock {
    /// A mock of a model with `n_layer` layers.
    pub fn new(n_layer: u32) -> Self {
        Self {
            facts: Facts {
                architecture: "mock".into(),
                name: "mock".into(),
                n_layer,
                n_embd: 8,
                n_vocab: VOCABULARY as u32,
                n_ctx_train: 4096,
                quantization: "none".into(),
                bytes: 0,
                n_params: 0,
                weights: Weights::default(),
                guesses_splitting: false,
            },
            words: Mutex::default(),
            runs: 0,
            request: Request::default(),
            tokens: Vec::new(),
        }
    }

    fn logits(&self) -> Vec<f32> {
        let produced = self.tokens.len() - self.request.tokens.len();
        let plan = format!("{:?}", self.request.plan_at(produced));
        let text = self.tokens.iter().flat_map(|t| t.0.to_le_bytes());
        let key = hash(text.chain(plan.bytes()));
        (0..VOCABULARY as u64)
            .map(|id| (hash((key ^ id).to_le_bytes()) % 1000) as f32 / 100.0)
            .collect()
    }

    fn word(&self, word: &str) -> Token {
        let mut words = self.words.lock().expect("no panic while held");
        let known = words.iter().position(|w| w == word);
        let id = known.unwrap_or_else(|| {
            words.push(word.to_string());
            words.len() - 1
        });
        assert!(id < VOCABULARY, "the mock has met too many words");
        Token(id as i32)
    }
}

const VOCABULARY: usize = 1024;

fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Engine for Mock {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn prompt(&self, text: &str) -> Result<Prompt, EngineError> {
        if text.is_empty() {
            return Err(PromptError::Empty.into());
        }
        let mut words: Vec<String> = Vec::new();
        for c in text.chars() {
            match words.last_mut() {
                Some(word) if c.is_alphanumeric() && !word.ends_with(['\n', ':', '?']) => {
                    word.push(c);
                }
                _ => words.push(c.to_string()),
            }
        }
        let tokens = words.iter().map(|w| self.word(w)).collect();
        Ok(Prompt::new(text, tokens, |t| self.piece(t).into_bytes()))
    }

    fn piece(&self, token: Token) -> String {
        let words = self.words.lock().expect("no panic while held");
        words.get(token.0 as usize).cloned().unwrap_or_default()
    }

    fn text(&self, tokens: &[Token]) -> String {
        tokens.iter().map(|t| self.piece(*t)).collect()
    }

    fn ends_generation(&self, token: Token) -> bool {
        self.piece(token) == "."
    }

    fn chat(&self, message: &str) -> Result<String, EngineError> {
        Ok(format!("user: {message} assistant:"))
    }

    fn start(&mut self, request: &Request) -> Result<Vec<f32>, EngineError> {
        self.runs += 1;
        for intervention in &request.plan {
            intervention.check(self.facts.n_layer)?;
        }
        self.request = request.clone();
        self.tokens = request.tokens.clone();
        Ok(self.logits())
    }

    fn advance(&mut self, token: Token) -> Result<Vec<f32>, EngineError> {
        self.tokens.push(token);
        Ok(self.logits())
    }

    fn back(&mut self) -> Result<(), EngineError> {
        self.tokens.truncate(self.request.tokens.len());
        Ok(())
    }

    fn touched(&self) -> Vec<Touched> {
        let touched = self.request.plan.iter().map(|i| Touched {
            tensor: format!("mock-{}", i.layers.first),
            rows: 1,
        });
        touched.collect()
    }

    fn captured(
        &mut self,
        tokens: &[Token],
        first_position: u32,
        _targets: &[Target],
    ) -> Result<Captured, EngineError> {
        let mut states = Captured::default();
        for layer in 0..self.facts.n_layer {
            for (position, token) in (first_position..).zip(tokens) {
                let row = vec![token.0 as f32; self.facts.n_embd as usize];
                states.inputs.insert(layer, position, row);
            }
        }
        Ok(states)
    }
}
