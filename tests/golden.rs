//! Golden numbers from the paper's own public code: see tests/golden/README.md.
//!
//! The default model, requantized to F32, with F32 caches and flash attention off, must give
//! the reference's logits. A layer off by one or rows shifted by one must not.

mod common;

use std::sync::Arc;

use common::golden::{Generation, Golden, agree, check, distance, generations, npy_f32, npy_u16};
use common::{golden_engine, golden_planned, outcomes};
use midlayer::engine::{Engine, Outcome, Prompt, Request, Rerun, argmax};
use midlayer::intervention::{Action, Intervention, LayerSpan, PositionSet, States};
use midlayer::runtime::Token;

/// Runs every entry of a golden file by both strategies and compares.
fn compare(file: &str, tolerance: f32, plan: impl Fn(u32) -> Intervention) {
    compare_by(&mut golden_engine(), file, tolerance, &plan);
    let mut planned = golden_planned();
    compare_by(&mut planned, file, tolerance, &plan);
    assert_eq!(planned.work().fallbacks, 0);
}

fn compare_by(
    engine: &mut dyn Engine,
    file: &str,
    tolerance: f32,
    plan: &dyn Fn(u32) -> Intervention,
) {
    let golden = Golden::read(file);
    let prompt = engine.prompt(&golden.prompt).unwrap();
    assert_eq!(prompt.tokens, golden.tokens(), "tokenization");
    let mut requests = vec![Request::new(&prompt)];
    let entries = golden.entries.iter();
    requests.extend(entries.map(|entry| Request::new(&prompt).with(plan(entry.k))));
    let outcomes = outcomes(engine, &requests);
    let clean = &outcomes[0];
    let mut compared = 0;
    for (entry, outcome) in golden.entries.iter().zip(&outcomes[1..]) {
        agree(entry, &clean.logits, &outcome.logits, tolerance)
            .unwrap_or_else(|why| panic!("{file} at layer {}: {why}", entry.k));
        compared += 1;
    }
    assert!(compared >= 7, "{file} holds too few entries");
}

#[test]
fn clean() {
    for file in ["P1_clean", "P3_clean"] {
        let golden = Golden::read(file);
        let mut engine = golden_engine();
        let prompt = engine.prompt(&golden.prompt).unwrap();
        let outcome = engine.run(&Request::new(&prompt)).unwrap();
        check(&golden.entries[0], &outcome.logits, 1e-3).expect(file);
    }
}

#[test]
fn freeze() {
    compare("P1_freeze", 1e-3, Intervention::freeze);
    compare("P3_freeze", 1e-3, Intervention::freeze);
}

#[test]
fn skip_attention() {
    compare("P1_skip", 5e-3, Intervention::skip_attention);
    compare("P3_skip", 5e-3, Intervention::skip_attention);
}

#[test]
fn inject_the_recorded_state() {
    let (shape, hidden) = npy_f32("injection_germany_hidden");
    let mut states = States::new();
    for k in 0..shape[0] {
        states.insert(k as u32, 21, &hidden[k * shape[1]..(k + 1) * shape[1]]);
    }
    let states = Arc::new(states);
    let at = PositionSet::ranges([21..22]);
    compare("P1_injection", 1e-3, |k| {
        Intervention::given(k, states.clone(), at.clone())
    });
}

#[test]
fn inject_the_donors_own_state() {
    let mut engine = golden_engine();
    let donor = engine.prompt("The country Germany").unwrap();
    let states = engine.states(&donor).unwrap();
    let (shape, hidden) = npy_f32("injection_germany_hidden");
    for k in 0..shape[0] {
        let ours = states.get(k as u32, 2).unwrap();
        let reference = &hidden[k * shape[1]..(k + 1) * shape[1]];
        let norm = reference.iter().map(|x| x * x).sum::<f32>().sqrt();
        for (a, b) in ours.iter().zip(reference) {
            assert!((a - b).abs() <= 1e-5 * norm.max(1.0), "layer {k}: {a} {b}");
        }
    }
    let moved = Arc::new(states.moved(&[(2, 21)]));
    let at = PositionSet::ranges([21..22]);
    compare("P1_injection", 1e-3, |k| {
        Intervention::given(k, moved.clone(), at.clone())
    });
}

#[test]
fn shuffle_with_the_recorded_permutations() {
    let golden = Golden::read("P1_shuffle");
    let (shape, permutations) = npy_u16("P1_shuffle_permutations");
    let permutations = Arc::new(permutations);
    let (tokens, width) = (shape[1], shape[2]);
    let ks: Vec<u32> = golden.entries.iter().map(|e| e.k).collect();
    compare("P1_shuffle", 5e-3, |k| {
        let n = ks.iter().position(|x| *x == k).unwrap();
        let permutations = permutations.clone();
        Intervention::custom(k, move |_, position, row| {
            let at = (n * tokens + position as usize) * width;
            let old = row.to_vec();
            for (x, from) in row.iter_mut().zip(&permutations[at..at + width]) {
                *x = old[usize::from(*from)];
            }
        })
    });
}

#[test]
fn random_with_the_recorded_draws() {
    let (shape, draws) = npy_f32("P1_random_seed0_draws");
    let (draws, width) = (Arc::new(draws), shape[1]);
    compare("P1_random_seed0", 5e-3, |k| {
        let draws = draws.clone();
        Intervention::custom(k, move |_, position, row| {
            let at = position as usize * width;
            let draw = &draws[at..at + width];
            let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
            let scale = norm(row) / norm(draw);
            for (x, d) in row.iter_mut().zip(draw) {
                *x = d * scale;
            }
        })
    });
}

/// The paper's generation: a token is clean while it is the last one, manipulated afterwards.
#[test]
fn generation_under_freeze() {
    let mut engine = golden_engine();
    let mut requests = Vec::new();
    for run in generations() {
        let mut request = Request {
            tokens: Golden::read(&format!("{}_clean", run.prompt_id)).tokens(),
            ..Request::default()
        };
        request.plan.extend(run.k.map(Intervention::freeze));
        // The reference does not stop at an end token, so force its tokens and compare the
        // likeliest at each step.
        let (_, forced) = run.new_ids.split_last().unwrap();
        request.continuations = vec![forced.iter().map(|id| Token(*id)).collect()];
        let outcome = engine.run(&request).unwrap();
        says(&run, &outcome);
        requests.push(request.clone());
        let generation = engine.generate(&request, run.new_ids.len(), &mut |_| true);
        let ids: Vec<i32> = generation.unwrap().tokens.iter().map(|t| t.0).collect();
        assert!(run.new_ids.starts_with(&ids), "{}", run.run);
        assert!(
            ids.len() == run.new_ids.len() || engine.ends_generation(Token(*ids.last().unwrap()))
        );
    }
    let mut planned = golden_planned();
    let together = outcomes(&mut planned, &requests);
    for (run, outcome) in generations().iter().zip(&together) {
        says(run, outcome);
    }
    assert_eq!(planned.work().fallbacks, 0);
}

fn says(run: &Generation, outcome: &Outcome) {
    for (step, id) in run.new_ids.iter().enumerate() {
        let likeliest = argmax(outcome.after(0, step));
        assert_eq!(likeliest, Token(*id), "{} step {step}", run.run);
    }
}

/// With the cache as without it, for all five manipulations.
#[test]
fn generation_equals_the_rerun_mode() {
    let golden = Golden::read("P1_clean");
    let mut cached = golden_engine();
    let mut rerun = Rerun::new(golden_engine());
    let donor = cached.prompt("The country Germany").unwrap();
    let states = Arc::new(cached.states(&donor).unwrap().moved(&[(2, 21)]));
    let plans = [
        Intervention::freeze(18),
        Intervention::random(22, 1),
        Intervention::shuffle(22, 1),
        Intervention::skip_attention(20),
        Intervention::given(10, states, PositionSet::ranges([21..22])),
    ];
    for intervention in plans {
        let request = Request {
            tokens: golden.tokens(),
            plan: vec![intervention.clone()],
            ..Request::default()
        };
        let a = cached.generate(&request, 10, &mut |_| true).unwrap();
        let b = rerun.generate(&request, 10, &mut |_| true).unwrap();
        assert_eq!(a.tokens, b.tokens, "{intervention:?}");
        assert!(a.tokens.len() > 1, "{intervention:?}");
    }
}

/// Negative controls: the same comparison fails when the manipulation is off by one.
#[test]
fn off_by_one_is_seen() {
    let golden = Golden::read("P1_freeze");
    let mut engine = golden_engine();
    let prompt = engine.prompt(&golden.prompt).unwrap();
    let by_k = |k: u32| golden.entries.iter().find(|e| e.k == k).unwrap();
    for k in [5, 15, 25] {
        let layer_off = Request::new(&prompt).with(Intervention::freeze(k + 1));
        let outcome = engine.run(&layer_off).unwrap();
        let found = distance(by_k(k), &outcome.logits);
        assert!(
            found > 0.05,
            "layer off by one moved the logits by {found} only"
        );
        // Row i gets the state of token i + 1.
        let outcome = run_with_shifted_rows(&mut engine, &prompt, k);
        let found = distance(by_k(k), &outcome);
        assert!(
            found > 0.05,
            "rows off by one moved the logits by {found} only"
        );
    }
}

fn run_with_shifted_rows(engine: &mut impl Engine, prompt: &Prompt, k: u32) -> Vec<f32> {
    let clean = engine.states(prompt).unwrap();
    let last = prompt.tokens.len() as u32 - 1;
    let n_layer = engine.facts().n_layer;
    let frozen = |shift: u32| {
        let mut states = States::new();
        for layer in k..n_layer {
            for position in 0..last {
                let from = (position + shift).min(last);
                states.insert(layer, position, clean.get(k - 1, from).unwrap());
            }
        }
        Intervention::new(Action::Given(Arc::new(states)), LayerSpan::from(k))
    };
    // Without the shift it is freeze by another way, which must agree with freeze itself.
    let exact = Request::new(prompt).with(frozen(0));
    let freeze = Request::new(prompt).with(Intervention::freeze(k));
    assert_eq!(
        engine.run(&exact).unwrap().logits,
        engine.run(&freeze).unwrap().logits
    );
    let shifted = Request::new(prompt).with(frozen(1));
    engine.run(&shifted).unwrap().logits
}
