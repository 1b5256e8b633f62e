//! Tiny random models made in memory, and how results on them are compared.

use std::collections::HashMap;
use std::sync::Arc;

use midlayer::engine::{Engine, Outcome, Prompt, Request, Straightforward};
use midlayer::hook::{Capture, Observed, Row};
use midlayer::intervention::{Editor, Intervention};
use midlayer::runtime::{
    Architecture, Context, ContextOptions, Model, RuntimeError, Synthetic, Token,
};

use super::exact_options;

/// Layers of every tiny model.
pub const N_LAYER: u32 = 4;
/// Bit-equality is asked for where batch shapes are the same, this of a logit elsewhere.
pub const CLOSE: f32 = 1e-3;
/// What real noise must exceed.
pub const FAR: f32 = 1e-2;

pub fn options() -> ContextOptions {
    ContextOptions {
        n_ctx: 64,
        n_batch: 64,
        ..exact_options()
    }
}

pub fn model(architecture: Architecture) -> Arc<Model> {
    Arc::new(Synthetic::new(architecture).build().unwrap())
}

pub fn engine(architecture: Architecture) -> Straightforward {
    Straightforward::new(model(architecture), &options()).unwrap()
}

pub fn tokens(n: i32) -> Vec<Token> {
    (0..n).map(|i| Token(3 + (i * 7) % 89)).collect()
}

pub fn prompt(n: i32) -> Prompt {
    Prompt::new("", tokens(n), |_| Vec::new())
}

pub fn request(plan: Vec<Intervention>) -> Request {
    Request {
        tokens: tokens(20),
        plan,
        ..Request::default()
    }
}

pub fn run(engine: &mut Straightforward, plan: Vec<Intervention>) -> Outcome {
    engine.run(&request(plan)).unwrap()
}

/// Decodes a text, its last token among those that a plan may touch.
pub fn decode(
    context: &mut Context,
    tokens: &[Token],
    plan: Vec<Intervention>,
    capture: Option<Capture>,
) -> Result<(Vec<f32>, Observed), RuntimeError> {
    let last = tokens.len() - 1;
    let row = |(i, token): (usize, &Token)| Row {
        sequence: 0,
        position: i as u32,
        token: token.0,
        prior: true,
        output: i == last,
    };
    let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
    let editors = HashMap::from([(0, Editor::new(plan.into(), N_LAYER))]);
    context.clear();
    let observed = context.decode(&rows, editors, capture)?;
    Ok((context.logits(last)?.to_vec(), observed))
}

/// The largest difference of a logit; infinite where one is no number.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| {
        if d.is_nan() {
            f32::INFINITY
        } else {
            most.max(d)
        }
    })
}
