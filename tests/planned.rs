//! The planned strategy against the straightforward one.

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use common::tiny::{CLOSE, N_LAYER, distance, model, options};
use common::{MAIN, attentive, default_model_at, outcomes};
use midlayer::engine::{
    Ending, Engine, EngineError, Outcome, Planned, Request, Straightforward, Wording, argmax, kl,
    top,
};
use midlayer::intervention::{Extent, Intervention, Kind, PositionSet, Site, States};
use midlayer::runtime::{Architecture, ContextOptions, FlashAttention, Model, ModelOptions, Token};
use midlayer::tasks::{Capitals, Room};
use proptest::prelude::*;

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

/// Texts that begin alike travel together, whatever the shapes of batches and the number of
/// sequences; flash attention computes the same.
#[test]
fn every_shape_gives_the_same() {
    let shapes = [
        ("as usual", options(), 64),
        ("few sequences", options(), 8),
        (
            "small micro-batches",
            ContextOptions {
                n_ubatch: 7,
                ..options()
            },
            32,
        ),
        (
            "small batches",
            ContextOptions {
                n_batch: 10,
                n_ubatch: 10,
                ..options()
            },
            32,
        ),
        (
            "flash attention",
            ContextOptions {
                flash_attention: FlashAttention::On,
                ..options()
            },
            64,
        ),
    ];
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma3,
        Architecture::Gpt2,
    ] {
        let model = model(architecture);
        for (shape, options, parallel) in &shapes {
            // Each text meets a third of the plans.
            let plans = plans();
            let requests: Vec<Request> = (0..3)
                .flat_map(|n| plans.iter().skip(n).step_by(3).map(move |p| (n, p.clone())))
                .map(|(n, plan)| request(n as i32, plan))
                .enumerate()
                .map(|(n, request)| match n % 3 {
                    0 => continued(request),
                    _ => request,
                })
                .map(|request| match options.flash_attention {
                    FlashAttention::Off => request,
                    // Where rounding chooses a token, greedy continuations part.
                    _ => Request {
                        generate: None,
                        ..request
                    },
                })
                .collect();
            let what = format!("{architecture:?}, {shape}");
            check_in_parts(&model, options, *parallel, &requests, &what);
        }
    }
}

/// A clean run with its last token apart, as sweeps measure their noise floor with: the same
/// numbers as the straightforward engine's with such a cut, and continued like it.
#[test]
fn a_clean_run_cut_before_its_last_token_is_that_token_alone() {
    for architecture in [Architecture::Llama, Architecture::Gemma3] {
        let model = model(architecture);
        let requests: Vec<Request> = (0..3)
            .map(|n| request(n, vec![]))
            .flat_map(|clean| {
                let cut = Request {
                    cuts: vec![clean.tokens.len() - 1],
                    ..clean.clone()
                };
                [clean, cut]
            })
            .map(continued)
            .collect();
        let planned = check(&model, &options(), 32, &requests, "clean again");
        let work = planned.work();
        assert_eq!(work.fallbacks, 0);
        let rows: usize = requests.iter().step_by(2).map(|r| r.tokens.len()).sum();
        // Each continuation decodes rows of its own; the prompts are not decoded twice.
        let tails = 6 * (3 + 4) * N_LAYER as usize;
        let most = (rows + 3) * N_LAYER as usize + tails;
        assert!(work.layer_rows <= most as u64, "{work:?}");
    }
}

/// A clean run decodes the same batch, so it gives the same bits.
#[test]
fn where_batches_are_the_same_so_are_the_bits() {
    let model = model(Architecture::Llama);
    let requests = [
        request(0, vec![]),
        request(0, vec![Intervention::freeze(2)]),
    ];
    let mut planned = Planned::new(model.clone(), &options(), 16).unwrap();
    let mut slow = Straightforward::new(model, &options()).unwrap();
    let (a, b) = (
        outcomes(&mut planned, &requests),
        outcomes(&mut slow, &requests),
    );
    assert_eq!(a[0].logits, b[0].logits);
}

/// On a quantized model the strategies differ as one strategy differs from itself when a batch
/// is cut, and not by more: both distances are taken over the same cells.
#[test]
fn a_quantized_model_differs_by_its_noise_floor() {
    let model = Model::load(&default_model_at("q8_0"), &ModelOptions::default()).unwrap();
    let model = Arc::new(model);
    let options = ContextOptions {
        n_ctx: 256,
        n_batch: 256,
        threads: 1,
        ..ContextOptions::default()
    };
    let mut slow = Straightforward::new(model.clone(), &options).unwrap();
    let mut planned = Planned::new(model, &options, 16).unwrap();
    let task = Capitals {
        shots: 5,
        wording: Wording::default(),
        room: Room::new(options.n_ctx, None),
    };
    let prompt = task
        .items(slow.tokenizer(), 1)
        .unwrap()
        .items
        .remove(0)
        .prompt;
    let mut cells = Vec::new();
    for k in [1, 8, 15, 22, 28] {
        let all = |kind: Kind| kind.intervention(k, 1, Extent::Paper, PositionSet::all(), None);
        let kinds = [
            Kind::Freeze,
            Kind::Random,
            Kind::Shuffle,
            Kind::SkipAttention,
        ];
        cells.extend(kinds.map(|kind| Request::new(&prompt).with(all(kind))));
    }
    let cut = |request: &Request| Request {
        cuts: vec![7],
        ..request.clone()
    };
    let (fast, whole) = (outcomes(&mut planned, &cells), outcomes(&mut slow, &cells));
    let pieces = outcomes(&mut slow, &cells.iter().map(cut).collect::<Vec<_>>());
    let mean = |others: &[Outcome]| {
        let each = whole
            .iter()
            .zip(others)
            .map(|(a, b)| kl(&a.logits, &b.logits));
        each.sum::<f64>() / others.len() as f64
    };
    let (between, floor) = (mean(&fast), mean(&pieces));
    assert!(floor > 1e-5, "the floor was not measured: {floor}");
    assert!(
        between < 2.0 * floor,
        "{between} between strategies, {floor} the floor"
    );
    assert_eq!(planned.work().fallbacks, 0);
}

/// Keys and values, late beginnings and cuts are the straightforward strategy's by design.
#[test]
fn what_has_no_part_runs_whole() {
    let keys = Intervention::freeze(2).on(Site::Keys);
    let requests = [
        request(0, vec![]),
        request(0, vec![keys, Intervention::freeze(2).on(Site::Values)]),
        Request {
            from_step: 1,
            ..continued(request(0, vec![Intervention::freeze(2)]))
        },
        Request {
            cuts: vec![5],
            ..request(0, vec![Intervention::random(1, 1)])
        },
    ];
    check_in_parts(
        &model(Architecture::Llama),
        &options(),
        8,
        &requests,
        "whole",
    );
}

#[test]
fn wrong_requests_are_refused_before_anything_runs() {
    let mut planned = Planned::new(model(Architecture::Llama), &options(), 8).unwrap();
    let long = Request {
        tokens: vec![Token(3); 65],
        ..Request::default()
    };
    let beyond = request(0, vec![Intervention::random(N_LAYER, 1)]);
    for wrong in [long, beyond, Request::default()] {
        let mut none = |_, _| panic!("nothing is handed over");
        let result = planned.run_all(&[request(0, vec![]), wrong], &mut none);
        assert!(result.is_err());
    }
    assert_eq!(planned.work().decodes, 0);
}

/// After an error or a stop the engine goes on as new.
#[test]
fn stopped_it_begins_anew() {
    let mut planned = Planned::new(model(Architecture::Llama), &options(), 8).unwrap();
    let requests: Vec<Request> = plans().into_iter().map(|p| request(0, p)).collect();
    let mut seen = 0;
    let result = planned.run_all(&requests, &mut |_, _| {
        seen += 1;
        if seen == 9 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(result, Err(EngineError::Stopped)));
    assert_eq!(seen, 9);
    let mut slow = Straightforward::new(model(Architecture::Llama), &options()).unwrap();
    let fast = outcomes(&mut planned, &requests);
    compare(
        &requests,
        &fast,
        &outcomes(&mut slow, &requests),
        CLOSE,
        "after a stop",
    );
}

fn any_intervention() -> impl Strategy<Value = Intervention> {
    let kinds = prop::sample::select(vec![
        Kind::Freeze,
        Kind::Random,
        Kind::Shuffle,
        Kind::SkipAttention,
        Kind::Hide,
        Kind::Zero,
        Kind::Inject,
        Kind::Scale,
        Kind::SkipLayer,
        Kind::Itself,
    ]);
    let extents = prop_oneof![
        Just(Extent::Paper),
        Just(Extent::From),
        Just(Extent::Only),
        (1..4u32).prop_map(Extent::Window),
    ];
    let positions = prop_oneof![
        3 => Just(PositionSet::all()),
        1 => (0..20u32).prop_map(PositionSet::all_but_first),
        1 => (0..20u32).prop_map(PositionSet::below),
        2 => prop::collection::vec((0..20u32, 1..4u32), 1..3).prop_map(|ranges| {
            PositionSet::ranges(ranges.into_iter().map(|(at, n)| at..at + n))
        }),
    ];
    (kinds, 0..N_LAYER, extents, positions, 0..4u64).prop_map(|(kind, k, extent, at, seed)| {
        let above = kind.manipulation().layers_above();
        let k = k.clamp(kind.first_layer(), N_LAYER - 1 - above);
        let donor = (kind == Kind::Inject).then(|| {
            // States for the tokens named, wherever a window may reach.
            let mut states = States::new();
            for layer in 0..N_LAYER {
                for position in 0..40 {
                    let row: Vec<f32> = (0..64).map(|i| ((i * 7 + position) % 11) as f32).collect();
                    states.insert(layer, position, row);
                }
            }
            Arc::new(states)
        });
        kind.intervention(k, seed, extent, at, donor)
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let plan = prop::collection::vec(any_intervention(), 0..3);
    let tails = prop::collection::vec(prop::collection::vec(3..80i32, 0..4), 0..3);
    let generate = prop::option::of(1..5usize);
    (0..5i32, plan, tails, generate, any::<bool>()).prop_map(
        |(n, plan, tails, generate, manipulate_generated)| Request {
            continuations: tails
                .into_iter()
                .map(|tail| tail.into_iter().map(Token).collect())
                .collect(),
            generate: generate.map(|max_tokens| Ending {
                max_tokens,
                stop: "\n".into(),
            }),
            manipulate_generated,
            ..request(n, plan)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn random_plans_give_the_same(
        architecture in prop::sample::select(vec![
            Architecture::Llama, Architecture::Gemma3, Architecture::Gpt2, Architecture::Qwen2,
        ]),
        requests in prop::collection::vec(any_request(), 1..12),
        parallel in 8..40u32,
    ) {
        let what = format!("{architecture:?}, {parallel} sequences");
        check_in_parts(&model(architecture), &options(), parallel, &requests, &what);
    }
}
