//! Texts that go on: continued, generated or run again as longer ones, they are the same.

mod common;

use std::sync::Arc;

use common::tiny::{CLOSE, distance, engine, prompt, request};
use common::{MAIN, attentive};
use midlayer::engine::{Engine, Request, Rerun};
use midlayer::intervention::{Intervention, PositionSet};
use midlayer::runtime::Token;

/// Teacher-forced steps with the cache equal runs of the whole text from scratch, in which every
/// token but the last is manipulated.
#[test]
fn continuing_equals_running_the_longer_text() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        let plans = [
            vec![],
            vec![Intervention::freeze(2)],
            vec![Intervention::random(1, 3)],
            vec![Intervention::shuffle(3, 3)],
            vec![Intervention::skip_attention(2)],
        ];
        let continuation: Vec<Token> = [40, 50, 60].map(Token).to_vec();
        for plan in plans {
            let mut steps = request(plan.clone());
            steps.continuations = vec![continuation.clone()];
            let steps = engine.run(&steps).unwrap();
            for n in 0..=continuation.len() {
                let mut text = request(plan.clone());
                text.tokens.extend(&continuation[..n]);
                let rerun = engine.run(&text).unwrap();
                let moved = distance(steps.after(0, n), &rerun.logits);
                assert!(moved < CLOSE, "{architecture:?} {plan:?} step {n}: {moved}");
            }
        }
    }
}

/// Generation with the cache equals rerunning the whole text at every step, whether generated
/// tokens are manipulated or not, and from whichever step manipulation begins.
#[test]
fn generation_equals_the_rerun_mode() {
    for architecture in attentive() {
        // All of it for the main ones, a part of it for the others.
        let thorough = MAIN.contains(&architecture);
        let n_tokens = if thorough { 12 } else { 5 };
        let mut cached = engine(architecture);
        let mut rerun = Rerun::new(engine(architecture));
        let donor = cached.states(&prompt(12)).unwrap().moved(&[(9, 4)]);
        let at = PositionSet::ranges([4..5]);
        let plans = [
            vec![],
            vec![Intervention::freeze(2)],
            vec![Intervention::random(1, 3)],
            vec![Intervention::shuffle(2, 3)],
            vec![Intervention::skip_attention(2)],
            vec![Intervention::given(1, Arc::new(donor), at)],
        ];
        let mut outputs = Vec::new();
        for plan in plans {
            let settings = [(true, 0), (false, 0), (true, 3), (false, 3)];
            for (manipulate_generated, from_step) in settings {
                if !thorough && (!manipulate_generated || from_step > 0) {
                    continue;
                }
                let what = format!("{architecture:?} {plan:?} {manipulate_generated} {from_step}");
                let request = Request {
                    manipulate_generated,
                    from_step,
                    ..request(plan.clone())
                };
                let a = cached.generate(&request, n_tokens, &mut |_| true).unwrap();
                let b = rerun.generate(&request, n_tokens, &mut |_| true).unwrap();
                assert_eq!(a.tokens.len(), n_tokens, "{what}");
                let close = (a.margins.iter().zip(&b.margins)).all(|(x, y)| (x - y).abs() < CLOSE);
                assert!(a.tokens == b.tokens && close, "{what}");
                outputs.push(a);
            }
        }
        if !thorough {
            continue;
        }
        // Negative control: the settings do make a difference.
        for pair in [(4, 5), (4, 6), (8, 9), (16, 17), (0, 4), (0, 8)] {
            let (a, b) = (&outputs[pair.0], &outputs[pair.1]);
            let same = a.tokens == b.tokens
                && (a.margins.iter().zip(&b.margins)).all(|(x, y)| (x - y).abs() < CLOSE);
            assert!(!same, "{architecture:?} {pair:?}");
        }
        // Clean is clean whatever the settings.
        assert_eq!(outputs[0].tokens, outputs[3].tokens);
    }
}

/// Several continuations of one prompt do not disturb each other.
#[test]
fn continuations_start_over() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        for (manipulate_generated, from_step) in [(true, 0), (false, 0), (true, 2)] {
            let branches = [[40, 50, 60], [41, 51, 61]].map(|b| b.map(Token).to_vec());
            let mut both = request(vec![Intervention::freeze(2)]);
            both.manipulate_generated = manipulate_generated;
            both.from_step = from_step;
            let mut single = both.clone();
            both.continuations = branches.to_vec();
            let both = engine.run(&both).unwrap();
            for (n, branch) in branches.into_iter().enumerate() {
                single.continuations = vec![branch];
                let alone = engine.run(&single).unwrap();
                assert_eq!(both.branches[n], alone.branches[0], "{architecture:?} {n}");
            }
        }
    }
}
