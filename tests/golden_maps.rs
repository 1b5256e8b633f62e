//! Maps and the logit lens, every cell, against PyTorch: see tests/golden/README.md.

mod common;

use std::ops::ControlFlow;

use common::golden::golden_path;
use common::golden_planned;
use midlayer::engine::{DonorStates, Engine, Means, Planned, Prompt, donor_states, log_softmax};
use midlayer::intervention::{Kind, PositionSet, Site, Target};
use midlayer::maps::{Corruption, Down, Followed, Lens, Map, Measure, Question, draw};
use midlayer::runtime::Token;
use serde::Deserialize;

const TOLERANCE: f64 = 1e-3;

#[derive(Deserialize)]
struct Recorded {
    prompt: String,
    token_ids: Vec<i32>,
    donor: String,
    mean_of: Vec<String>,
    answer: i32,
    foil: i32,
    corrupted: Vec<u32>,
    /// For each token, the column from which on its prediction stays.
    commitments: Vec<Option<usize>>,
    maps: Vec<RecordedMap>,
    lens: Vec<Seen>,
}

#[derive(Deserialize)]
struct RecordedMap {
    map: String,
    measure: String,
    layers: Vec<u32>,
    clean: f64,
    #[serde(default)]
    corrupted: Option<f64>,
    /// By token or head, then by layer.
    values: Vec<Vec<f64>>,
}

/// What the head says of a token's states, by layer.
#[derive(Deserialize)]
struct Seen {
    position: usize,
    top: Vec<Vec<(i32, f32)>>,
    answer: Vec<f32>,
    answer_logprob: Vec<f64>,
    answer_rank: Vec<usize>,
}

fn recorded() -> Recorded {
    let text = std::fs::read_to_string(golden_path("maps/maps.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

impl Recorded {
    fn prompt(&self, engine: &dyn Engine) -> Prompt {
        let prompt = engine.prompt(&self.prompt).unwrap();
        let ids: Vec<i32> = prompt.tokens.iter().map(|token| token.0).collect();
        assert_eq!(ids, self.token_ids, "tokenization");
        prompt
    }

    fn measure(&self, name: &str) -> Measure {
        let one = |token: i32| Followed(vec![Token(token)]);
        match name {
            "logprob" => Measure::LogProbability(one(self.answer)),
            "difference" => Measure::LogitDifference(one(self.answer), vec![one(self.foil)]),
            "kl" => Measure::Kl,
            other => panic!("{other} is no measure"),
        }
    }
}

fn states_of(engine: &mut dyn Engine, donor: &Prompt) -> DonorStates {
    let prior = donor.tokens.len() as u32 - 1;
    let moves: Vec<(u32, u32)> = (0..prior).map(|at| (at, at)).collect();
    donor_states(engine, donor, &moves, &[Site::Residual]).unwrap()
}

fn means(engine: &mut dyn Engine, recorded: &Recorded, prompt: &Prompt) -> DonorStates {
    let texts = recorded.mean_of.iter();
    let texts: Vec<Prompt> = texts.map(|text| engine.prompt(text).unwrap()).collect();
    let means = Means::over(engine, &texts, Target::Input).unwrap();
    let mut states = DonorStates::default();
    let of = means.states(&prompt.tokens, false).unwrap();
    states.put(Site::Residual, of);
    states
}

/// The program's map of what is recorded.
fn drawn(engine: &mut Planned, recorded: &Recorded, of: &RecordedMap) -> Map {
    let prompt = recorded.prompt(engine);
    let anatomy = engine.inspect().anatomy().unwrap().clone();
    let (kind, site): (&str, Site) = match &*of.map {
        "zero" => ("zero", Site::Residual),
        "mean" => ("mean", Site::Residual),
        "patched" | "restored" => ("inject", Site::Residual),
        "attn_out" => ("zero", Site::AttnOut),
        "mlp_out" => ("zero", Site::MlpOut),
        "heads" => ("zero", Site::HEADS),
        other => panic!("{other} is no map"),
    };
    let states = match &*of.map {
        "mean" => Some(means(engine, recorded, &prompt)),
        "patched" => {
            let donor = engine.prompt(&recorded.donor).unwrap();
            Some(states_of(engine, &donor))
        }
        "restored" => Some(states_of(engine, &prompt)),
        _ => None,
    };
    let corrupted = (of.map == "restored").then(|| Corruption {
        kind: Kind::Zero,
        layer: 0,
        positions: PositionSet::ranges(recorded.corrupted.iter().map(|at| *at..at + 1)),
    });
    let question = Question {
        prompt: &prompt,
        kind: kind.parse().unwrap(),
        states,
        sites: vec![site],
        seeds: vec![1],
        layers: of.layers.clone(),
        positions: (0..prompt.tokens.len() as u32 - 1).collect(),
        down: match site == Site::HEADS {
            true => Down::Heads(anatomy.most_heads()),
            false => Down::Tokens,
        },
        corrupted,
        measure: recorded.measure(&of.measure),
    };
    draw(engine, &anatomy, &question, &mut |_, _, _| {
        ControlFlow::Continue(())
    })
    .unwrap()
}

/// The largest difference between cells of a column here and of one there.
fn apart(map: &Map, column: usize, of: &RecordedMap, there: usize) -> f64 {
    let rows = map.values.iter().zip(&of.values);
    let apart = rows.map(|(here, of)| (here[column].unwrap() - of[there]).abs());
    apart.fold(0.0, |most: f64, one| {
        if one > most || one.is_nan() {
            one
        } else {
            most
        }
    })
}

fn agree(names: &[&str]) {
    let recorded = recorded();
    let mut engine = golden_planned();
    for name in names {
        let of = recorded.maps.iter().find(|of| of.map == *name).unwrap();
        let map = drawn(&mut engine, &recorded, of);
        assert_eq!(map.values.len(), of.values.len(), "{name}");
        let near = |a: f64, b: f64, what: &str| {
            assert!((a - b).abs() < TOLERANCE, "{name}, {what}: {a} is not {b}");
        };
        near(map.clean, of.clean, "clean");
        assert_eq!(map.corrupted.is_some(), of.corrupted.is_some(), "{name}");
        if let (Some(here), Some(there)) = (map.corrupted, of.corrupted) {
            near(here, there, "corrupted");
        }
        near(map.floor, 0.0, "noise floor");
        for column in 0..of.layers.len() {
            let found = apart(&map, column, of, column);
            println!("{name}, layer {}: {found:.1e}", of.layers[column]);
            assert!(
                found < TOLERANCE,
                "{name}, layer {}: {found}",
                of.layers[column]
            );
        }
        // A map whose layers are exchanged is told from it.
        let exchanged = apart(&map, 1, of, 2);
        assert!(exchanged > 20.0 * TOLERANCE, "{name}: {exchanged}");
    }
    assert_eq!(engine.work().fallbacks, 0);
}

#[test]
fn maps_of_states_are_pytorchs() {
    agree(&["zero", "mean", "patched", "restored"]);
}

#[test]
fn maps_of_parts_and_heads_are_pytorchs() {
    agree(&["attn_out", "mlp_out", "heads"]);
}

/// Every layer of a few tokens, and the strip of all.
#[test]
fn the_lens_is_pytorchs() {
    let recorded = recorded();
    let mut engine = golden_planned();
    let prompt = recorded.prompt(&engine);
    let n_layer = engine.facts().n_layer;
    let layers: Vec<u32> = (0..=n_layer).collect();
    let mut off: f32 = 0.0;
    let mut compared = 0;
    let told = &mut |reading: midlayer::engine::Reading<'_>| {
        let layer = reading.layer as usize;
        for (at, logits) in (reading.first as usize..).zip(reading.logits) {
            let Some(seen) = recorded.lens.iter().find(|seen| seen.position == at) else {
                continue;
            };
            let answer = (recorded.answer, seen.answer[layer]);
            for (token, logit) in seen.top[layer].iter().chain([&answer]) {
                let apart = (logits[*token as usize] - logit).abs();
                assert!(
                    apart < TOLERANCE as f32,
                    "layer {layer}, token {at}: {apart}"
                );
                off = off.max(apart);
            }
            let logprob = log_softmax(logits)[recorded.answer as usize];
            assert!((logprob - seen.answer_logprob[layer]).abs() < TOLERANCE);
            compared += 1;
        }
        ControlFlow::Continue(())
    };
    engine.lens(&prompt.tokens, &layers, told).unwrap();
    println!("lens: {off:.1e}");
    assert_eq!(compared, recorded.lens.len() * layers.len());

    let positions: Vec<u32> = (0..prompt.tokens.len() as u32).collect();
    let at = (&layers[..layers.len() - 1], &positions[..]);
    let told = &mut |_, _| ControlFlow::Continue(());
    let answer = Some(Token(recorded.answer));
    let lens = Lens::of(&mut engine, &prompt, at, answer, told).unwrap();
    for seen in &recorded.lens {
        for (said, rank) in lens.said[seen.position].iter().zip(&seen.answer_rank) {
            // Deep in the vocabulary neighbours are closer than rounding.
            let found = said.answer.unwrap().rank;
            let slack = rank / 100;
            assert!(found.abs_diff(*rank) <= slack, "{found} is not {rank}");
        }
    }
    let found = lens.commitments().into_iter().zip(&recorded.commitments);
    let decided = found.filter_map(|(found, recorded)| Some((found, (*recorded)?)));
    let (found, recorded): (Vec<usize>, Vec<usize>) = decided.unzip();
    assert!(recorded.len() > 10, "{recorded:?}");
    assert_eq!(found, recorded);
}
