//! Uneven layers by both strategies.

use std::sync::Arc;

use midlayer::engine::{Engine, EngineError, Planned, Request, Straightforward};
use midlayer::hook::{Capture, HookFault};
use midlayer::intervention::{
    Action, Intervention, Kind, LayerSpan, PositionSet, Site, States, Target,
};
use midlayer::runtime::{Architecture, Context, RuntimeError, Token};

use super::{LAYERS, all, fault, hybrids, request, tokens};
use crate::common::outcomes;
use crate::common::tiny::{CLOSE, N_LAYER, decode, distance, engine, model, options};

/// Both strategies give the same, layer by layer, where layers share a state, have an MLP alone,
/// or heads of another number.
#[test]
fn uneven_layers_are_the_same_by_both_strategies() {
    for architecture in [
        Architecture::Deci,
        Architecture::DeciLinear,
        Architecture::Openelm,
    ] {
        let model = model(architecture);
        let mut planned = Planned::new(model.clone(), &options(), 8).unwrap();
        let mut slow = Straightforward::new(model, &options()).unwrap();
        let mut plans = vec![vec![]];
        for k in LAYERS {
            plans.push(vec![Intervention::random(k, 3)]);
            plans.push(vec![Intervention::shuffle(k, 3)]);
            plans.push(vec![Intervention::new(
                Kind::Zero.action(0, None),
                LayerSpan::window(k, 2),
            )]);
            plans.push(vec![
                Intervention::random(k, 3).at(PositionSet::ranges([8..13])),
            ]);
            if k > 0 {
                plans.push(vec![Intervention::freeze(k)]);
                let window = LayerSpan::window(k, 2);
                plans.push(vec![Intervention::new(Action::Freeze, window)]);
                plans.push(vec![
                    Intervention::random(k - 1, 3),
                    Intervention::freeze(k),
                ]);
            }
            if architecture.has_attention(k) {
                plans.push(vec![Intervention::skip_attention(k)]);
            }
        }
        let follow = |request: Request| Request {
            continuations: vec![vec![Token(9), Token(17), Token(5)]],
            ..request
        };
        let requests: Vec<Request> = plans.into_iter().map(|p| follow(request(p))).collect();
        let fast = outcomes(&mut planned, &requests);
        for (request, fast) in requests.iter().zip(fast) {
            let slow = slow.run(request).unwrap();
            let what = format!("{architecture} {:?}", request.plan);
            let branches = fast
                .branches
                .iter()
                .flatten()
                .zip(slow.branches.iter().flatten());
            let apart = branches.map(|(a, b)| distance(a, b)).fold(0.0, f32::max);
            let apart = apart.max(distance(&fast.logits, &slow.logits));
            assert!(apart < CLOSE, "{what}: {apart}");
            assert_eq!(fast.branches[0].len(), 3, "{what}");
        }
        assert_eq!(planned.work().fallbacks, 0, "{architecture}");
    }
}

/// In hybrid models the layers that have keys and values have them like any other.
#[test]
fn hybrid_models_own_entries_given_back_are_clean() {
    for architecture in hybrids().filter(|a| !a.is_latent()) {
        let mut engine = engine(architecture);
        let clean = engine.run(&request(vec![])).unwrap().logits;
        let layers = LAYERS.into_iter().filter(|l| architecture.has_cache(*l));
        let layers: Vec<u32> = layers.collect();
        let mut context = Context::new(model(architecture), &options()).unwrap();
        let mut entries = |tokens: &[Token]| {
            let capture = Capture {
                targets: vec![Target::Keys, Target::Values],
                layers: layers.iter().copied().collect(),
                ..Capture::default()
            };
            let (_, mut seen) = decode(&mut context, tokens, vec![], Some(capture)).unwrap();
            seen.states.remove(&0).unwrap()
        };
        let (own, other) = (entries(&tokens(0)), entries(&tokens(31)));
        let mut give = |keys: &States, values: &States| {
            let mut plan = Vec::new();
            for layer in &layers {
                for (site, states) in [(Site::Keys, keys), (Site::Values, values)] {
                    let states = Arc::new(states.clone());
                    let given = Intervention::given(*layer, states, PositionSet::all());
                    plan.push(given.on(site));
                }
            }
            engine.run(&request(plan)).unwrap().logits
        };
        assert_eq!(give(&own.keys, &own.values), clean, "{architecture}");
        for (keys, values) in [(&own.keys, &other.values), (&other.keys, &own.values)] {
            let moved = distance(&give(keys, values), &clean);
            assert!(moved > CLOSE, "{architecture}: {moved}");
        }
    }
}

/// Where a graph cannot be computed in part, the planned strategy runs whole, says why, and
/// gives the same.
#[test]
fn planned_runs_whole_what_it_cannot_cut() {
    for architecture in all().filter(|a| a.is_sparse()) {
        let skip = (0..N_LAYER).filter(|l| architecture.has_attention(*l));
        let skip = skip.map(|l| Intervention::new(Action::SkipAttention, LayerSpan::only(l)));
        let plans = [
            vec![],
            vec![Intervention::random(1, 3)],
            vec![Intervention::shuffle(2, 3)],
            vec![Intervention::freeze(2)],
            skip.collect(),
        ];
        // Texts that begin alike, that do not, and of several lengths.
        let text = |n: usize| match n {
            0 => tokens(0),
            1 => [&tokens(0)[..9], &tokens(31)[..5]].concat(),
            _ => tokens(17)[..16].to_vec(),
        };
        let of = |n: usize| {
            let on = |plan: &Vec<Intervention>| Request {
                tokens: text(n),
                plan: plan.clone(),
                ..Request::default()
            };
            plans.iter().map(on).collect::<Vec<_>>()
        };
        for requests in [of(0), [of(0), of(1)].concat(), [of(0), of(2)].concat()] {
            let mut planned = Planned::new(model(architecture), &options(), 8).unwrap();
            let mut slow = engine(architecture);
            let fast = outcomes(&mut planned, &requests);
            let slow = outcomes(&mut slow, &requests);
            for ((request, a), b) in requests.iter().zip(&fast).zip(&slow) {
                let apart = distance(&a.logits, &b.logits);
                assert!(apart < CLOSE, "{architecture} {:?}: {apart}", request.plan);
            }
            let work = planned.work();
            let manipulated = requests.iter().filter(|r| !r.plan.is_empty()).count();
            assert!(work.fallbacks >= manipulated as u64, "{architecture}");
            let reason = work.reason.unwrap();
            let why = "sparse attention";
            assert!(reason.contains(why), "{architecture}: {reason}");
        }
    }
}

/// Where upper layers read what lower ones keep, both strategies do the same, or refuse the same.
#[test]
fn borrowed_keys_and_values_are_minded_by_both_strategies() {
    let model = model(Architecture::Gemma4);
    let mut planned = Planned::new(model.clone(), &options(), 8).unwrap();
    let mut slow = Straightforward::new(model, &options()).unwrap();
    let mut plans = vec![
        vec![],
        vec![Intervention::random(0, 3)],
        vec![Intervention::new(
            Kind::Zero.action(0, None),
            LayerSpan::from(0),
        )],
    ];
    plans.extend(LAYERS.map(|k| vec![Intervention::skip_attention(k)]));
    let requests: Vec<Request> = plans.into_iter().map(request).collect();
    let fast = outcomes(&mut planned, &requests);
    for (request, fast) in requests.iter().zip(fast) {
        let slow = slow.run(request).unwrap();
        let apart = distance(&fast.logits, &slow.logits);
        assert!(apart < CLOSE, "{:?}: {apart}", request.plan);
    }
    assert_eq!(planned.work().fallbacks, 0);
    for k in 1..N_LAYER {
        let above = request(vec![Intervention::random(k, 3)]);
        let mut none = |_, _| panic!("nothing is handed over");
        let refused = planned.run_all(std::slice::from_ref(&above), &mut none);
        let expected = fault(slow.run(&above));
        assert!(matches!(expected, HookFault::Borrowed { layer, .. } if layer == k));
        match refused.unwrap_err().request().1 {
            EngineError::Runtime(RuntimeError::Hook(fault)) => assert_eq!(fault, expected),
            other => panic!("{k}: {other}"),
        }
    }
    let reason = planned.work().reason.unwrap();
    assert!(reason.contains("below the cut"), "{reason}");
}
