//! The planned strategy against the straightforward one.

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use common::exact_options;
use midlayer::engine::{Ending, Engine, Outcome, Planned, Request, Straightforward, argmax};
use midlayer::intervention::{Extent, Intervention, Kind, PositionSet};
use midlayer::runtime::{Architecture, ContextOptions, Model, Synthetic, Token};

const N_LAYER: u32 = 4;
/// What the two strategies may differ by on an F32 model.
const CLOSE: f32 = 1e-3;

fn options() -> ContextOptions {
    ContextOptions {
        n_ctx: 64,
        n_batch: 64,
        ..exact_options()
    }
}

fn model(architecture: Architecture) -> Arc<Model> {
    Arc::new(Synthetic::new(architecture).build().unwrap())
}

/// Texts of different lengths that begin with the same twelve tokens.
fn text(n: i32) -> Vec<Token> {
    let token = |i: i32| Token(3 + (i * 7 + if i < 12 { 0 } else { n }) % 89);
    (0..18 + n % 5).map(token).collect()
}

fn request(n: i32, plan: Vec<Intervention>) -> Request {
    Request {
        tokens: text(n),
        plan,
        ..Request::default()
    }
}

/// Every manipulation at every layer.
fn plans() -> Vec<Vec<Intervention>> {
    let mut plans = vec![vec![]];
    for k in 0..N_LAYER {
        for kind in [
            Kind::Freeze,
            Kind::Random,
            Kind::Shuffle,
            Kind::SkipAttention,
            Kind::Zero,
        ] {
            if k < kind.first_layer() {
                continue;
            }
            for extent in [Extent::Paper, Extent::From, Extent::Only, Extent::Window(2)] {
                for tokens in [
                    PositionSet::all(),
                    PositionSet::all_but_first(3),
                    PositionSet::ranges([5..7, 14..15]),
                ] {
                    plans.push(vec![kind.intervention(k, 7, extent, tokens, None)]);
                }
            }
        }
    }
    plans.push(vec![Intervention::random(1, 3), Intervention::freeze(3)]);
    let double = |_: u32, _: u32, row: &mut [f32]| row.iter_mut().for_each(|x| *x *= 2.0);
    plans.push(vec![Intervention::custom(2, double)]);
    plans
}

fn all(engine: &mut dyn Engine, requests: &[Request]) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; requests.len()];
    let mut order = Vec::new();
    engine
        .run_all(requests, &mut |n, outcome| {
            assert!(outcomes[n].is_none(), "request {n} came twice");
            order.push(n);
            outcomes[n] = Some(outcome);
            ControlFlow::Continue(())
        })
        .unwrap();
    let clean = |n: &usize| requests[*n].plan.is_empty();
    for (at, n) in order.iter().enumerate().filter(|(_, n)| clean(n)) {
        let early = order[..at]
            .iter()
            .any(|m| requests[*m].tokens == requests[*n].tokens && !clean(m));
        assert!(!early, "a clean run comes before the others on its text");
    }
    outcomes.into_iter().map(Option::unwrap).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |m, d| {
        if d.is_nan() {
            f32::INFINITY
        } else {
            f32::max(m, d)
        }
    })
}

fn compare(requests: &[Request], planned: &[Outcome], slow: &[Outcome], what: &str) {
    for ((request, a), b) in requests.iter().zip(planned).zip(slow) {
        let what = format!("{what} {:?}", request.plan);
        let apart = distance(&a.logits, &b.logits);
        assert!(apart < CLOSE, "{what}: {apart}");
        assert_eq!(argmax(&a.logits), argmax(&b.logits), "{what}");
        assert_eq!(a.generated, b.generated, "{what}");
        assert_eq!(a.branches.len(), b.branches.len(), "{what}");
        for (a, b) in a.branches.iter().flatten().zip(b.branches.iter().flatten()) {
            let apart = distance(a, b);
            assert!(apart < CLOSE, "{what}, continued: {apart}");
        }
        let lengths = |o: &Outcome| o.branches.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(a), lengths(b), "{what}");
    }
}

fn check(model: &Arc<Model>, options: &ContextOptions, requests: &[Request], what: &str) {
    let mut planned = Planned::new(model.clone(), options, 16).unwrap();
    let mut slow = Straightforward::new(model.clone(), options).unwrap();
    let fast = all(&mut planned, requests);
    compare(requests, &fast, &all(&mut slow, requests), what);
    assert_eq!(planned.work().fallbacks, 0, "{what}: {:?}", planned.work());
}

#[test]
fn every_manipulation_gives_the_same_next_token() {
    for architecture in Architecture::ALL
        .into_iter()
        .filter(|a| *a != Architecture::Mamba)
    {
        let requests: Vec<Request> = plans().into_iter().map(|plan| request(0, plan)).collect();
        check(
            &model(architecture),
            &options(),
            &requests,
            &format!("{architecture:?}"),
        );
    }
}

/// Forced and greedy continuations, with generated tokens manipulated and not.
#[test]
fn every_manipulation_gives_the_same_continuations() {
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma3,
        Architecture::Gpt2,
    ] {
        for manipulate_generated in [true, false] {
            let requests = plans().into_iter().map(|plan| Request {
                continuations: vec![vec![Token(4), Token(9)], vec![], vec![Token(50)]],
                generate: Some(Ending {
                    max_tokens: 4,
                    stop: "\n".into(),
                }),
                manipulate_generated,
                ..request(1, plan)
            });
            let requests: Vec<Request> = requests.collect();
            let what = format!("{architecture:?}, generated tokens {manipulate_generated}");
            check(&model(architecture), &options(), &requests, &what);
        }
    }
}
