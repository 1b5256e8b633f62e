//! A run as JSON: the lines of `midlayer try -o json`.

use serde::Serialize;

use super::{Answer, Listed, Run};
use crate::engine::{Outcome, Prompt, argmax, kl, log_sum, top};
use crate::hook::Touched;
use crate::runtime::{Model, Token};
use crate::shown::{json, plain};

/// What `--help` says of the lines.
pub const FIELDS: &str = "\
Fields of -o json, one object a line, the clean run first:
  manipulation   clean, or what was done, as freeze or inject@8+freeze
  layer          the layer k, counted from 0; null for the clean run and where the name says all
  seed           of random and shuffle
  argmax         the likeliest next token: id, text, probability
  kl             Kullback-Leibler divergence from the clean next-token distribution, nats
  answers        for each answer followed, or the clean run's likeliest token: text, its tokens (id, text),
                 probability (the product over its tokens), logprob (its natural logarithm),
                 rank (of its first token, 1 is the likeliest)
  top            the 20 likeliest next tokens: id, text, probability, logit
  prompt         of the clean run only: text, and tokens (position, id, text, prior, selected)
  wrote          tensors that rows were written to: tensor, rows (l_out-14 is what layer 14
                 gives, the state entering layer 15)
  generated      of a generated text: text, and tokens (id, text, margin: by how much the token's
                 logit exceeded the second one's)
Probabilities are from 0 to 1. Bytes that are no text on their own are written <E3>.";

/// One line. The first is the clean run.
#[derive(Serialize)]
pub struct Line {
    manipulation: String,
    layer: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    argmax: Likely,
    kl: f64,
    answers: Vec<Followed>,
    top: Vec<Likely>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wrote: Vec<Wrote>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generated: Option<Generated>,
}

#[derive(Serialize)]
struct Likely {
    id: i32,
    text: String,
    probability: f64,
    logit: f32,
}

#[derive(Serialize)]
struct Followed {
    text: String,
    tokens: Vec<Piece>,
    probability: f64,
    logprob: f64,
    rank: usize,
}

#[derive(Serialize)]
struct Piece {
    id: i32,
    text: String,
}

#[derive(Serialize)]
struct Text {
    text: String,
    tokens: Vec<Listed>,
}

#[derive(Serialize)]
struct Wrote {
    tensor: String,
    rows: usize,
}

#[derive(Serialize)]
struct Generated {
    text: String,
    tokens: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    id: i32,
    text: String,
    margin: f32,
}

impl Line {
    /// The line of a run, or of the clean run.
    pub fn new(
        model: &Model,
        run: Option<&Run>,
        answers: &[Answer],
        clean: &Outcome,
        outcome: &Outcome,
    ) -> Self {
        let text = |token: Token| plain(&model.piece(token));
        let log_sum = log_sum(&outcome.logits);
        let likely = |token: Token| Likely {
            id: token.0,
            text: text(token),
            probability: (f64::from(outcome.logits[token.0 as usize]) - log_sum).exp(),
            logit: outcome.logits[token.0 as usize],
        };
        let followed = |answer: &Answer| {
            let chance = answer.chance(outcome);
            let piece = |token: &Token| Piece {
                id: token.0,
                text: text(*token),
            };
            Followed {
                text: answer.text.clone(),
                tokens: answer.tokens.iter().map(piece).collect(),
                probability: chance.logprob.exp(),
                logprob: chance.logprob,
                rank: chance.rank,
            }
        };
        let wrote = |touched: &Touched| Wrote {
            tensor: touched.tensor.clone(),
            rows: touched.rows,
        };
        Self {
            manipulation: run.map_or("clean".into(), |run| run.name.clone()),
            layer: run.and_then(|run| run.layer),
            seed: run.and_then(|run| run.seed),
            argmax: likely(argmax(&outcome.logits)),
            kl: kl(&clean.logits, &outcome.logits),
            answers: answers.iter().map(followed).collect(),
            top: top(&outcome.logits, 20)
                .into_iter()
                .map(|(token, _)| likely(token))
                .collect(),
            prompt: None,
            wrote: outcome.touched.iter().map(wrote).collect(),
            generated: None,
        }
    }

    /// The same with the prompt.
    pub fn with_prompt(mut self, prompt: &Prompt, tokens: Vec<Listed>) -> Self {
        self.prompt = Some(Text {
            text: prompt.text.clone(),
            tokens,
        });
        self
    }

    /// The same with what was generated.
    pub fn with_generated(mut self, model: &Model, outcome: &Outcome) -> Self {
        let text = plain(&continued(model, outcome));
        let steps = outcome.generated.iter().zip(&outcome.margins);
        let tokens = steps.map(|(token, margin)| Step {
            id: token.0,
            text: plain(&model.piece(*token)),
            margin: *margin,
        });
        self.generated = Some(Generated {
            text,
            tokens: tokens.collect(),
        });
        self
    }

    /// The line as JSON.
    pub fn text(&self) -> String {
        let text = serde_json::to_string(self).expect("plain data");
        format!("{}\n", json(&text))
    }
}

/// The bytes of what was generated, without an end token.
pub fn continued(model: &Model, outcome: &Outcome) -> Vec<u8> {
    let spoken = outcome.generated.iter();
    let spoken = spoken.filter(|token| !model.ends_generation(**token));
    spoken.flat_map(|token| model.piece(*token)).collect()
}
