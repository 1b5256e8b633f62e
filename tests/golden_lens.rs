//! The logit lens against PyTorch: see tests/golden/README.md.

mod common;

use std::collections::HashMap;
use std::ops::ControlFlow;

use midlayer::engine::{Engine, log_softmax};

#[derive(serde::Deserialize)]
struct GoldenLens {
    prompt: String,
    token_ids: Vec<i32>,
    answer: usize,
    layers: Vec<GoldenLayer>,
}

#[derive(serde::Deserialize)]
struct GoldenLayer {
    layer: u32,
    /// By token.
    top: Vec<Vec<(usize, f32)>>,
    answer_logprob: Vec<f64>,
    entropy: Vec<f64>,
}

/// Final norm and head of transformers' Llama on each of its hidden states
/// (vendor/golden/lens.py).
#[test]
fn the_lens_is_pytorchs() {
    let golden: GoldenLens = serde_json::from_str(include_str!("golden/maps/lens.json")).unwrap();
    let mut engine = common::golden_engine();
    let prompt = engine.prompt(&golden.prompt).unwrap();
    let ids: Vec<i32> = prompt.tokens.iter().map(|token| token.0).collect();
    assert_eq!(ids, golden.token_ids);
    let mut compared = 0;
    for golden_layer in &golden.layers {
        let layer = golden_layer.layer;
        // The layer below is to be told from it.
        let mut told: HashMap<(u32, u32), Vec<f32>> = HashMap::new();
        let looked = engine.lens(&prompt.tokens, &[layer - 1, layer], &mut |reading| {
            let rows = (reading.first..).zip(reading.logits);
            told.extend(rows.map(|(at, logits)| ((reading.layer, at), logits.to_vec())));
            ControlFlow::Continue(())
        });
        looked.unwrap();
        let apart = |layer: u32, at: usize| {
            let logits = &told[&(layer, at as u32)];
            let apart = golden_layer.top[at].iter();
            let apart = apart.map(|(id, logit)| (logits[*id] - logit).abs());
            apart.fold(0.0, f32::max)
        };
        for at in 0..ids.len() {
            let logits = &told[&(layer, at as u32)];
            let found = apart(layer, at);
            assert!(found < 1e-3, "layer {layer}, token {at}: {found}");
            let logprobs = log_softmax(logits);
            let off = logprobs[golden.answer] - golden_layer.answer_logprob[at];
            assert!(off.abs() < 1e-3, "layer {layer}, token {at}: {off}");
            let entropy: f64 = logprobs.iter().map(|x| -x.exp() * x).sum();
            let off = entropy - golden_layer.entropy[at];
            assert!(off.abs() < 1e-3, "layer {layer}, token {at}: {off}");
            compared += 1;
        }
        let last = ids.len() - 1;
        let below = apart(layer - 1, last);
        assert!(below > 0.1, "layer {layer}: {below}");
    }
    assert_eq!(compared, 6 * 26);
}
