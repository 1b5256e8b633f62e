//! What an engine says beforehand that requests cost is what it then computes.

mod common;

use std::ops::ControlFlow;

use common::tiny::{N_LAYER, model, options};
use midlayer::engine::{Cost, Ending, Engine, Planned, Request, Shape, Straightforward, Strategy};
use midlayer::intervention::{Extent, Intervention, Kind, PositionSet, Site};
use midlayer::runtime::{Architecture, ContextOptions, Token};

/// Texts of different lengths that begin with the same twelve tokens.
fn text(n: i32) -> Vec<Token> {
    let token = |i: i32| Token(3 + (i * 7 + if i < 12 { 0 } else { n }) % 89);
    (0..18 + n % 5).map(token).collect()
}

/// Every manipulation, extent, site and choice of tokens that a sweep can ask for.
fn plans() -> Vec<Vec<Intervention>> {
    let mut plans = vec![vec![]];
    let kinds = Kind::ALL.into_iter();
    for kind in kinds.filter(|kind| !kind.manipulation().needs().states()) {
        for extent in [Extent::Paper, Extent::Window(2)] {
            for tokens in [PositionSet::all(), PositionSet::all_but_first(4)] {
                let ends = [kind.first_layer(), N_LAYER - 1];
                for k in ends.into_iter().filter(|k| kind.is_defined(*k, N_LAYER)) {
                    plans.push(vec![kind.intervention(k, 1, extent, tokens.clone(), None)]);
                }
            }
        }
        if [Kind::Freeze, Kind::Random].contains(&kind) {
            let at = |site| {
                let all = PositionSet::all();
                kind.intervention(2, 1, Extent::Paper, all, None).on(site)
            };
            plans.push(vec![at(Site::Keys)]);
            plans.push(vec![at(Site::Keys), at(Site::Values)]);
        }
    }
    plans
}

/// A request's tails: none, forced ones, generated ones, all of them.
fn tails() -> Vec<(Vec<Vec<Token>>, Option<Ending>)> {
    let forced = vec![vec![Token(4), Token(9)], vec![], vec![Token(50)]];
    let ending = |max_tokens| Ending {
        max_tokens,
        stop: "\n".into(),
    };
    vec![
        (vec![], None),
        (forced.clone(), None),
        (vec![], Some(ending(5))),
        (vec![], Some(ending(1))),
        (forced, Some(ending(4))),
    ]
}

fn compare(engine: &mut dyn Engine, requests: &[Request], what: &str) -> Cost {
    let cost = engine.cost(requests);
    let before = engine.work();
    engine
        .run_all(requests, &mut |_, _| ControlFlow::Continue(()))
        .unwrap();
    let work = engine.work();
    assert_eq!(work.fallbacks, 0, "{what}: {:?}", work.reason);
    let computed = (
        work.layer_rows - before.layer_rows,
        work.cache_rows - before.cache_rows,
        work.decodes - before.decodes,
    );
    let said = (
        cost.layer_rows(N_LAYER),
        cost.cache_rows(N_LAYER),
        cost.decodes.len() as u64,
    );
    assert_eq!(said, computed, "{what}");
    cost
}

#[test]
fn cost_is_what_is_computed() {
    let model = model(Architecture::Llama);
    for (n_batch, parallel) in [(64, 16), (24, 8)] {
        let options = ContextOptions {
            n_batch,
            n_ubatch: 24,
            ..options()
        };
        let mut planned = Planned::new(model.clone(), &options, parallel).unwrap();
        let mut slow = Straightforward::new(model.clone(), &options).unwrap();
        for (continuations, generate) in tails() {
            for (from_step, manipulate_generated) in [(0, true), (0, false), (2, true)] {
                if parallel == 8 && (continuations.is_empty() || from_step > 0) {
                    continue;
                }
                let of = |texts: i32| -> Vec<Request> {
                    let requests = plans().into_iter().flat_map(|plan| {
                        (0..texts).map(move |n| Request {
                            tokens: text(n),
                            plan: plan.clone(),
                            ..Request::default()
                        })
                    });
                    let requests = requests.map(|request| Request {
                        continuations: continuations.clone(),
                        generate: generate.clone(),
                        from_step,
                        manipulate_generated,
                        ..request
                    });
                    requests.collect()
                };
                let what = format!(
                    "batches of {n_batch}, {continuations:?}, {generate:?}, from {from_step}, \
                     generated {manipulate_generated}"
                );
                let requests = of(if from_step > 0 { 1 } else { 3 });
                let cost = compare(&mut planned, &requests, &what);
                let shape = Shape {
                    strategy: Strategy::Planned,
                    n_layer: N_LAYER,
                    n_batch: n_batch as usize,
                    n_ubatch: 24,
                    sequences: parallel,
                };
                assert_eq!(shape.cost(&requests), cost, "without an engine, {what}");
                if parallel == 16 {
                    compare(&mut slow, &of(1), "straightforward");
                }
            }
        }
    }
}

/// A prompt that is cut, as the noise floor cuts it.
#[test]
fn cuts_cost_batches_and_no_rows() {
    let model = model(Architecture::Llama);
    let mut engine = Straightforward::new(model.clone(), &options()).unwrap();
    let mut planned = Planned::new(model, &options(), 16).unwrap();
    for cuts in [vec![7], vec![17], vec![3, 9], vec![]] {
        let request = Request {
            tokens: text(0),
            cuts: cuts.clone(),
            ..Request::default()
        };
        let requests = [request];
        let cost = compare(&mut engine, &requests, "straightforward");
        assert_eq!(cost.decodes.len(), cuts.len() + 1);
        assert_eq!(cost.layer_rows(N_LAYER), 18 * u64::from(N_LAYER));
        compare(&mut planned, &requests, "planned");
    }
}

/// With recurrent layers: all rows from the layers touched up, and whole where tokens follow.
#[test]
fn recurrent_layers_cost_what_is_computed() {
    for architecture in [Architecture::FalconH1, Architecture::Qwen35] {
        let options = ContextOptions {
            n_batch: 12,
            n_ubatch: 12,
            ..options()
        };
        let model = model(architecture);
        let mut planned = Planned::new(model, &options, 8).unwrap();
        let plans = [1, 2, 3].map(|k| vec![Intervention::random(k, 1)]);
        let plans = plans.into_iter().chain([vec![]]);
        let request = |plan: Vec<Intervention>, n| Request {
            tokens: text(n),
            plan,
            ..Request::default()
        };
        let requests = plans.flat_map(|plan| (0..3).map(move |n| request(plan.clone(), n)));
        let requests: Vec<Request> = requests.collect();
        let cost = compare(&mut planned, &requests, "recurrent");
        let rows = (18 + 19 + 20) * (3 + 2 + 1 + 4);
        assert_eq!(cost.layer_rows(N_LAYER), rows, "{architecture}");
        let followed: Vec<Request> = requests
            .iter()
            .map(|request| Request {
                continuations: vec![vec![Token(4)]],
                manipulate_generated: false,
                ..request.clone()
            })
            .collect();
        let whole = planned.cost(&followed).layer_rows(N_LAYER);
        assert_eq!(whole, (18 + 19 + 20 + 3) * 4 * 4, "{architecture}");
    }
}

/// A model whose graph cannot be cut is priced whole.
#[test]
fn what_cannot_be_cut_is_priced_whole() {
    let model = model(Architecture::Deepseek32);
    let mut planned = Planned::new(model, &options(), 16).unwrap();
    let request = |plan| Request {
        tokens: text(0),
        plan,
        ..Request::default()
    };
    let requests = [request(vec![]), request(vec![Intervention::random(3, 1)])];
    let cost = planned.cost(&requests);
    assert_eq!(cost.layer_rows(N_LAYER), 2 * 18 * u64::from(N_LAYER));
    let before = planned.work().layer_rows;
    planned
        .run_all(&requests, &mut |_, _| ControlFlow::Continue(()))
        .unwrap();
    assert_eq!(planned.work().layer_rows - before, cost.layer_rows(N_LAYER));
}
