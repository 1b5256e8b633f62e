//! Outcomes for somebody who waits: as soon as they are there, in order, and no more of them
//! once a stop is asked for.

mod common;

use std::ops::ControlFlow;

use common::tiny::{CLOSE, N_LAYER, distance, model, options, request};
use midlayer::engine::{Engine, EngineError, Planned, Request, Straightforward};

use midlayer::intervention::{Extent, Kind, PositionSet};
use midlayer::runtime::{Architecture, ContextOptions, Stop, Token};

fn planned(options: &ContextOptions) -> Planned {
    Planned::new(model(Architecture::Llama), options, 16)
        .unwrap()
        .eager()
}

/// A clean run, then each kind at every layer, as a user lists them.
fn requests(kinds: &[Kind]) -> Vec<Request> {
    let mut requests = vec![request(vec![])];
    for kind in kinds {
        requests.extend((kind.first_layer()..N_LAYER).map(|k| {
            let at = PositionSet::all();
            request(vec![kind.intervention(k, 1, Extent::Paper, at, None)])
        }));
    }
    requests
}

#[test]
fn outcomes_come_in_the_order_of_the_requests_and_are_the_same() {
    let requests = requests(&[Kind::Random, Kind::SkipAttention, Kind::Freeze]);
    let mut slow = Straightforward::new(model(Architecture::Llama), &options()).unwrap();
    let mut order = Vec::new();
    let mut engine = planned(&options());
    let done = &mut |n: usize, outcome: midlayer::engine::Outcome| {
        order.push(n);
        let expected = slow.run(&requests[n]).unwrap();
        let apart = distance(&outcome.logits, &expected.logits);
        assert!(apart < CLOSE, "request {n}: {apart}");
        assert_eq!(outcome.touched.is_empty(), n == 0);
        ControlFlow::Continue(())
    };
    engine.run_all(&requests, done).unwrap();
    assert_eq!(order, (0..requests.len()).collect::<Vec<_>>());
    assert_eq!(engine.work().fallbacks, 0);
}

/// What has been decoded when outcome `n` is handed over.
fn decodes_until(n: usize, requests: &[Request]) -> u64 {
    let mut engine = planned(&options());
    let result = engine.run_all(requests, &mut |m, _| match m == n {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    assert!(matches!(result, Err(EngineError::Stopped)));
    engine.work().decodes
}

#[test]
fn the_clean_run_and_the_first_row_do_not_wait_for_others() {
    let freeze = requests(&[Kind::Freeze]);
    assert_eq!(decodes_until(0, &freeze), 1);
    // Keys and values, and the last row.
    assert_eq!(decodes_until(1, &freeze), 3);
    assert!(
        decodes_until(3, &freeze) > 3,
        "further rows are computed later"
    );
    assert_eq!(decodes_until(1, &requests(&[Kind::Random])), 2);
    assert_eq!(decodes_until(1, &requests(&[Kind::SkipAttention])), 2);
}

#[test]
fn outcomes_with_continuations_are_the_same() {
    let mut requests = requests(&[Kind::Freeze, Kind::Random]);
    for request in &mut requests {
        request.continuations = vec![vec![Token(7), Token(11)], vec![Token(13)]];
    }
    let mut slow = Straightforward::new(model(Architecture::Llama), &options()).unwrap();
    let mut order = Vec::new();
    planned(&options())
        .run_all(&requests, &mut |n, outcome| {
            order.push(n);
            let expected = slow.run(&requests[n]).unwrap();
            let pairs = outcome
                .branches
                .iter()
                .flatten()
                .zip(expected.branches.iter().flatten());
            assert_eq!(outcome.branches.len(), 2);
            for (a, b) in pairs {
                assert!(distance(a, b) < CLOSE, "request {n}");
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(order, (0..requests.len()).collect::<Vec<_>>());
}

/// Nobody breaks off, and nothing more is decoded all the same.
#[test]
fn a_stop_is_heard_between_two_decodes() {
    let requests = requests(&[Kind::Random, Kind::Freeze]);
    let options = || ContextOptions {
        stop: Stop::default(),
        ..options()
    };
    let (fast, slow) = (options(), options());
    let straightforward = Straightforward::new(model(Architecture::Llama), &slow).unwrap();
    let engines: [(Box<dyn Engine>, Stop); 2] = [
        (Box::new(planned(&fast)), fast.stop.clone()),
        (Box::new(straightforward), slow.stop.clone()),
    ];
    for (mut engine, stop) in engines {
        let mut seen = 0;
        let result = engine.run_all(&requests, &mut |_, _| {
            seen += 1;
            if seen == 2 {
                assert!(!stop.ask());
            }
            ControlFlow::Continue(())
        });
        assert!(matches!(result, Err(EngineError::Stopped)), "{result:?}");
        assert_eq!(seen, 2, "the decode that follows is not begun");
        assert_eq!(engine.work().decodes, 2);
    }
}
