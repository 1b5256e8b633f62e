//! What runs whole, what is refused, and a caller who stops.

use std::ops::ControlFlow;

use midlayer::engine::{Engine, EngineError, Planned, Request, Straightforward};
use midlayer::intervention::{Intervention, Site};
use midlayer::runtime::{Architecture, Token};

use super::{check_in_parts, compare, continued, plans, request};
use crate::common::outcomes;
use crate::common::tiny::{CLOSE, N_LAYER, model, options};

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
