//! The planned strategy against the straightforward one.

#[path = "../common/mod.rs"]
mod common;

mod batches;
mod drawn;
mod whole;

use std::sync::Arc;

use common::tiny::{CLOSE, N_LAYER, distance, model, options};
use common::{MAIN, attentive, outcomes};
use midlayer::engine::{Ending, Engine, Outcome, Planned, Request, Straightforward, argmax, top};
use midlayer::intervention::{Extent, Intervention, Kind, PositionSet};
use midlayer::runtime::{Architecture, ContextOptions, FlashAttention, Model, Token};

/// The same where flash attention computes in F16: the straightforward strategy differs from
/// itself by as much when a batch is cut.
const CLOSE_FLASH: f32 = 2e-2;

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
            Kind::Hide,
            Kind::Zero,
            Kind::Scale,
            Kind::SkipLayer,
        ] {
            if !kind.is_defined(k, N_LAYER) {
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

/// One in `every` of them, not the same ones for all architectures.
fn some_plans(architecture: Architecture, every: usize) -> Vec<Vec<Intervention>> {
    let first = architecture as usize % every;
    plans().into_iter().skip(first).step_by(every).collect()
}

fn compare(requests: &[Request], planned: &[Outcome], slow: &[Outcome], close: f32, what: &str) {
    for ((request, a), b) in requests.iter().zip(planned).zip(slow) {
        let what = format!("{what} {:?}", request.plan);
        let apart = distance(&a.logits, &b.logits);
        assert!(apart < close, "{what}: {apart}");
        let best = top(&b.logits, 2);
        if best[0].1 - best[1].1 > 2.0 * close {
            assert_eq!(argmax(&a.logits), best[0].0, "{what}");
        }
        assert_eq!(a.generated, b.generated, "{what}");
        assert_eq!(a.branches.len(), b.branches.len(), "{what}");
        for (a, b) in a.branches.iter().flatten().zip(b.branches.iter().flatten()) {
            let apart = distance(a, b);
            assert!(apart < close, "{what}, continued: {apart}");
        }
        let lengths = |o: &Outcome| o.branches.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(a), lengths(b), "{what}");
    }
}

/// Runs requests by both strategies and compares; the planned engine is given back.
fn check(
    model: &Arc<Model>,
    options: &ContextOptions,
    parallel: u32,
    requests: &[Request],
    what: &str,
) -> Planned {
    let mut planned = Planned::new(model.clone(), options, parallel).unwrap();
    let mut slow = Straightforward::new(model.clone(), options).unwrap();
    let fast = outcomes(&mut planned, requests);
    let close = match options.flash_attention {
        FlashAttention::Off => CLOSE,
        _ => CLOSE_FLASH,
    };
    compare(requests, &fast, &outcomes(&mut slow, requests), close, what);
    planned
}

fn check_in_parts(
    model: &Arc<Model>,
    options: &ContextOptions,
    parallel: u32,
    requests: &[Request],
    what: &str,
) {
    let planned = check(model, options, parallel, requests, what);
    assert_eq!(planned.work().fallbacks, 0, "{what}: {:?}", planned.work());
}

/// With forced continuations, an empty one among them, and a greedy one.
fn continued(request: Request) -> Request {
    Request {
        continuations: vec![vec![Token(4), Token(9)], vec![], vec![Token(50)]],
        generate: Some(Ending {
            max_tokens: 4,
            stop: "\n".into(),
        }),
        ..request
    }
}

#[test]
fn every_manipulation_gives_the_same_next_token() {
    for architecture in attentive() {
        let plans = match MAIN.contains(&architecture) {
            true => plans(),
            false => some_plans(architecture, 7),
        };
        let requests: Vec<Request> = plans.into_iter().map(|plan| request(0, plan)).collect();
        let what = format!("{architecture:?}");
        check_in_parts(&model(architecture), &options(), 16, &requests, &what);
    }
}

/// Of a clean run those states alone are read that a request begins with: of the last token, of
/// those from the first one touched on, of all prior ones, of none.
#[test]
fn only_states_that_are_needed_are_read() {
    let model = model(Architecture::Llama);
    let n = text(0).len() as u64;
    let some = PositionSet::ranges([5..7]);
    let asked = [
        (vec![], 0),
        (vec![Intervention::skip_attention(2)], 1),
        (vec![Intervention::random(2, 7).at(some)], n - 5),
        (vec![Intervention::freeze(2)], n),
    ];
    for (plan, rows) in asked {
        let mut engine = Planned::new(model.clone(), &options(), 8).unwrap();
        outcomes(&mut engine, &[request(0, vec![]), request(0, plan)]);
        let width = u64::from(model.facts().n_embd) * size_of::<f32>() as u64;
        let read = engine.work().traffic.read;
        assert_eq!(read, rows * u64::from(N_LAYER) * width, "{rows} rows");
    }
}

/// Freeze on just the positions that are prior in the prompt: tokens that follow are not among
/// them and stay clean.
#[test]
fn tokens_that_follow_are_frozen_only_where_they_are_named() {
    let model = model(Architecture::Llama);
    let last = text(1).len() as u32 - 1;
    let until = |end| {
        let freeze = Intervention::freeze(1).at(PositionSet::below(end));
        continued(request(1, vec![freeze]))
    };
    let requests = [until(last), until(last + 1), until(last + 2)];
    check_in_parts(&model, &options(), 8, &requests, "positions");
    let mut engine = Planned::new(model, &options(), 8).unwrap();
    let outcomes = outcomes(&mut engine, &requests);
    let after = |n: usize| outcomes[n].after(0, 2);
    assert!(distance(after(0), after(1)) > CLOSE && distance(after(1), after(2)) > CLOSE);
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
                manipulate_generated,
                ..continued(request(1, plan))
            });
            let requests: Vec<Request> = requests.collect();
            let what = format!("{architecture:?}, generated tokens {manipulate_generated}");
            check_in_parts(&model(architecture), &options(), 16, &requests, &what);
        }
    }
    for architecture in attentive().filter(|a| !MAIN.contains(a)) {
        let plans = some_plans(architecture, 23).into_iter();
        let requests: Vec<Request> = plans.map(|plan| continued(request(1, plan))).collect();
        let what = format!("{architecture:?}, continued");
        check_in_parts(&model(architecture), &options(), 16, &requests, &what);
    }
}
