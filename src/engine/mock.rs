//! An engine without a model, for tests of what lies above.

use std::sync::Arc;

use super::{Engine, EngineError, Outcome, Prompt, PromptError, Request};
use crate::hook::Touched;
use crate::intervention::States;
use crate::runtime::{Facts, Token};

/// Answers from a hash of the request: the same request gives the same logits, another layer,
/// seed or text gives others. A token is a byte.
pub struct Mock {
    facts: Facts,
    /// Requests run so far.
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
                n_vocab: 256,
                n_ctx_train: 4096,
                quantization: "none".into(),
                bytes: 0,
            },
            runs: 0,
        }
    }
}

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
        let tokens = text.bytes().map(|b| Token(i32::from(b))).collect();
        Ok(Prompt::new(text, tokens, |t| vec![t.0 as u8]))
    }

    fn piece(&self, token: Token) -> String {
        String::from_utf8_lossy(&[token.0 as u8]).into_owned()
    }

    fn run(&mut self, request: &Request) -> Result<Outcome, EngineError> {
        self.runs += 1;
        for intervention in &request.plan {
            intervention.check(self.facts.n_layer)?;
        }
        let plan = format!("{:?}", request.plan);
        let logits = (0..=request.continuation.len())
            .map(|n| {
                let text = request.tokens.iter().chain(&request.continuation[..n]);
                let key = hash(text.map(|t| t.0 as u8).chain(plan.bytes()));
                (0..256u64)
                    .map(|id| (hash((key ^ id).to_le_bytes()) % 1000) as f32 / 100.0)
                    .collect()
            })
            .collect();
        let touched = request
            .plan
            .iter()
            .map(|i| Touched {
                tensor: format!("mock-{}", i.layers.first),
                rows: 1,
            })
            .collect();
        Ok(Outcome { logits, touched })
    }

    fn states(&mut self, prompt: &Prompt) -> Result<Arc<States>, EngineError> {
        let mut states = States::new();
        for layer in 0..self.facts.n_layer {
            for (position, token) in prompt.tokens.iter().enumerate() {
                let row = vec![token.0 as f32; self.facts.n_embd as usize];
                states.insert(layer, position as u32, row);
            }
        }
        Ok(Arc::new(states))
    }
}
