//! An engine without a model, for tests of what lies above.

use std::sync::Mutex;

use super::request::Positions;
use super::{Engine, EngineError, Prompt, PromptError, Request, Session, Tokenizer};
use crate::hook::{Captured, Touched};
use crate::intervention::Target;
use crate::runtime::{ChatDate, Facts, Text, Token, Weights};

/// Answers from a hash of the request: the same request gives the same logits, another layer,
/// seed or text gives others. A token is a word with the space before it, or a single other
/// character.
pub struct Mock {
    facts: Facts,
    /// The words met so far; a word's index is its token.
    words: Mutex<Vec<String>>,
    /// Requests started so far.
    pub runs: usize,
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
                left_out_end: None,
                unrotated: false,
            },
            words: Mutex::default(),
            runs: 0,
        }
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

impl Tokenizer for Mock {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn tokenized(&self, source: &Text) -> Result<Prompt, EngineError> {
        let text = source.as_str();
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
        Ok(Prompt::of(source, tokens, |t| {
            Tokenizer::piece(self, t).into_bytes()
        }))
    }

    fn piece(&self, token: Token) -> String {
        let words = self.words.lock().expect("no panic while held");
        words.get(token.0 as usize).cloned().unwrap_or_default()
    }

    fn text(&self, tokens: &[Token]) -> String {
        tokens.iter().map(|t| Tokenizer::piece(self, *t)).collect()
    }

    fn ends_generation(&self, token: Token) -> bool {
        Tokenizer::piece(self, token) == "."
    }

    fn chat(&self, message: &str, _: ChatDate, _: bool) -> Result<Text, EngineError> {
        let text = Text::markup("user: ").with_data(message);
        Ok(text.with_markup(" assistant:"))
    }
}

impl Engine for Mock {
    fn tokenizer(&self) -> &dyn Tokenizer {
        self
    }

    fn start<'e>(&'e mut self, request: &Request) -> Result<Box<dyn Session + 'e>, EngineError> {
        self.runs += 1;
        let positions = Positions {
            n_ctx: self.facts.n_ctx_train,
            learned: None,
        };
        request.check(self.facts.n_layer, positions)?;
        let touched = request.plan.iter().map(|i| Touched {
            tensor: format!("mock-{}", i.layers.first),
            rows: 1,
        });
        Ok(Box::new(Mocked {
            mock: self,
            touched: touched.collect(),
            logits: logits_of(request, &request.tokens),
            tokens: request.tokens.clone(),
            request: request.clone(),
        }))
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

/// A text under way.
struct Mocked<'e> {
    mock: &'e Mock,
    request: Request,
    tokens: Vec<Token>,
    logits: Vec<f32>,
    touched: Vec<Touched>,
}

fn logits_of(request: &Request, tokens: &[Token]) -> Vec<f32> {
    let produced = tokens.len() - request.tokens.len();
    let plan = format!("{:?}", request.plan_at(produced));
    let text = tokens.iter().flat_map(|t| t.0.to_le_bytes());
    let key = hash(text.chain(plan.bytes()));
    (0..VOCABULARY as u64)
        .map(|id| (hash((key ^ id).to_le_bytes()) % 1000) as f32 / 100.0)
        .collect()
}

impl Session for Mocked<'_> {
    fn tokenizer(&self) -> &dyn Tokenizer {
        self.mock
    }

    fn logits(&self) -> &[f32] {
        &self.logits
    }

    fn advance(&mut self, token: Token) -> Result<&[f32], EngineError> {
        self.tokens.push(token);
        self.logits = logits_of(&self.request, &self.tokens);
        Ok(&self.logits)
    }

    fn back(&mut self) -> Result<(), EngineError> {
        self.tokens.truncate(self.request.tokens.len());
        self.logits = logits_of(&self.request, &self.tokens);
        Ok(())
    }

    fn touched(&self) -> &[Touched] {
        &self.touched
    }
}
