//! What goes wrong in the middle of something leaves nothing behind: engines and contexts go on
//! as fresh ones would, and say what was at fault.

mod common;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Barrier};

use common::tiny::{engine, model, options, prompt, request, tokens};
use common::{MAIN, outcomes};
use midlayer::engine::{Ending, Engine, EngineError, Planned, Request, Straightforward};
use midlayer::hook::{HookFault, Row};
use midlayer::intervention::{Intervention, PositionSet, States, Target};
use midlayer::runtime::{
    Architecture, Context, ContextOptions, Model, ModelOptions, RuntimeError, Token,
};

fn planned(model: &Arc<Model>) -> Planned {
    Planned::new(model.clone(), &options(), 16).unwrap()
}

/// Requests of every route, with tokens that follow.
fn sound() -> Vec<Request> {
    let plans = [
        vec![],
        vec![Intervention::freeze(2)],
        vec![Intervention::random(1, 3)],
        vec![Intervention::skip_attention(2)],
        vec![Intervention::shuffle(3, 3).at(PositionSet::ranges([5..9]))],
    ];
    let continued = |plan| Request {
        continuations: vec![[40, 50].map(Token).to_vec()],
        ..request(plan)
    };
    plans.into_iter().map(continued).collect()
}

/// A fault in the middle of a decode that computes a part of the graph: in one of its rows, of the
/// prompt or of a token that follows it.
#[test]
fn a_fault_in_a_part_of_the_graph_leaves_nothing_behind() {
    let panics_at = |at: u32| {
        Intervention::custom(2, move |_, position, _| {
            assert!(position != at, "on purpose");
        })
    };
    let narrow = || {
        let mut states = States::new();
        for position in 0..30 {
            states.insert(2, position, vec![1.0; 5]);
        }
        Intervention::given(2, Arc::new(states), PositionSet::all())
    };
    for architecture in MAIN {
        let model = model(architecture);
        let expected = outcomes(&mut planned(&model), &sound());
        let mut engine = planned(&model);
        for (n, faulty) in [panics_at(7), narrow(), panics_at(20)]
            .into_iter()
            .enumerate()
        {
            for round in 0..2 {
                let what = format!("{architecture:?} fault {n} round {round}");
                let mut requests = sound();
                requests[3].plan = vec![faulty.clone()];
                let error = engine
                    .run_all(&requests, &mut |_, _| ControlFlow::Continue(()))
                    .unwrap_err();
                let EngineError::Runtime(RuntimeError::Hook(fault)) = error.request().1 else {
                    panic!("{what}: not the hook's");
                };
                match (&fault, n) {
                    (HookFault::Panicked(why), 0 | 2) => assert!(why.contains("on purpose")),
                    (HookFault::Missed(why), 1) => assert!(why.contains("5 values"), "{why}"),
                    _ => panic!("{what}: {fault}"),
                }
            }
            let again = outcomes(&mut engine, &sound());
            for (a, b) in again.iter().zip(&expected) {
                let what = format!("{architecture:?} after fault {n}");
                assert_eq!(a.logits, b.logits, "{what}");
                assert_eq!(a.branches, b.branches, "{what}");
                assert_eq!(a.touched, b.touched, "{what}");
            }
        }
        assert_eq!(engine.work().fallbacks, 0, "{:?}", engine.work());
    }
}

/// The same where the whole graph is computed, and in a text that goes on.
#[test]
fn a_text_that_failed_is_not_continued() {
    let model = model(Architecture::Llama);
    let mut engine = Straightforward::new(model.clone(), &options()).unwrap();
    let clean = engine.run(&sound()[0]).unwrap();
    let panics = Intervention::custom(2, |_, position, _| {
        assert!(position != 20, "on purpose");
    });
    let mut session = engine.start(&request(vec![panics])).unwrap();
    let first = session.advance(Token(40)).unwrap().to_vec();
    // The token at position 20 becomes prior with the next.
    let error = session.advance(Token(50)).unwrap_err();
    assert!(matches!(
        error,
        EngineError::Runtime(RuntimeError::Hook(HookFault::Panicked(_)))
    ));
    assert!(matches!(
        session.advance(Token(50)),
        Err(EngineError::Broken)
    ));
    assert!(matches!(session.back(), Err(EngineError::Broken)));
    drop(session);
    let itself = Intervention::custom(2, |_, _, _| {});
    let mut session = engine.start(&request(vec![itself])).unwrap();
    assert_eq!(session.advance(Token(40)).unwrap(), first);
    assert_eq!(session.advance(Token(50)).unwrap(), clean.branches[0][1]);
    session.back().unwrap();
    assert_eq!(session.logits(), clean.logits);
    assert_eq!(session.advance(Token(40)).unwrap(), first);
}

/// Logits that are not numbers are an error of the request that has them, in both strategies,
/// after the prompt and after tokens that follow.
#[test]
fn logits_that_are_no_numbers_name_their_request() {
    let model = model(Architecture::Llama);
    let engines: [Box<dyn Engine>; 2] = [
        Box::new(Straightforward::new(model.clone(), &options()).unwrap()),
        Box::new(planned(&model)),
    ];
    for mut engine in engines {
        let expected = outcomes(engine.as_mut(), &sound());
        for (value, from) in [(f32::NAN, 0), (f32::NAN, 20), (f32::INFINITY, 0)] {
            for at in 0..5 {
                let mut requests = sound();
                let overflow = Intervention::custom(1, move |_, position, row| {
                    if position >= from {
                        row.fill(value);
                    }
                });
                requests[at].plan = vec![overflow];
                let mut seen = Vec::new();
                let error = engine.run_all(&requests, &mut |n, _| {
                    seen.push(n);
                    ControlFlow::Continue(())
                });
                let (request, error) = error.unwrap_err().request();
                assert_eq!(request, Some(at), "{value} from {from}");
                assert!(!seen.contains(&at));
                // What it left in the cells does not spread.
                for (a, b) in outcomes(engine.as_mut(), &sound()).iter().zip(&expected) {
                    assert_eq!((&a.logits, &a.branches), (&b.logits, &b.branches));
                }
                assert!(
                    matches!(error, EngineError::Runtime(RuntimeError::NotNumbers("NaN"))),
                    "{error}"
                );
            }
        }
    }
}

/// Both engines refuse at once what does not fit the context with all that may follow.
#[test]
fn what_does_not_fit_is_refused_before_anything_is_computed() {
    let model = model(Architecture::Llama);
    let engines: [Box<dyn Engine>; 2] = [
        Box::new(Straightforward::new(model.clone(), &options()).unwrap()),
        Box::new(planned(&model)),
    ];
    for mut engine in engines {
        let generating = |max_tokens| Request {
            generate: Some(Ending {
                max_tokens,
                stop: "never".into(),
            }),
            ..request(vec![])
        };
        let forced = |n| Request {
            continuations: vec![vec![Token(5); n]],
            ..request(vec![])
        };
        // The context has 64 positions, the prompt 20 tokens; the last generated is not decoded.
        for long in [generating(46), forced(45)] {
            let error = engine.run(&long).unwrap_err();
            let too_long = RuntimeError::TooLong {
                tokens: 65,
                n_ctx: 64,
            };
            assert_eq!(error.to_string(), too_long.to_string());
        }
        let error = engine.generate(&request(vec![]), 46, &mut |_| true);
        assert!(error.is_err());
        assert_eq!(engine.work().decodes, 0);
        assert_eq!(engine.run(&generating(45)).unwrap().generated.len(), 45);
        assert_eq!(engine.run(&forced(44)).unwrap().branches[0].len(), 44);
    }
}

/// What attention adds is kept apart from the states that enter layers.
#[test]
fn captured_attention_is_no_input() {
    let mut engine = engine(Architecture::Llama);
    let text = prompt(12).tokens;
    let mut captured = |targets: &[Target]| engine.captured(&text, 0, targets).unwrap();
    let inputs = captured(&[Target::Input]);
    let attention = captured(&[Target::Attention]);
    let both = captured(&[Target::Attention, Target::Input]);
    assert!(inputs.attention.is_empty() && attention.inputs.is_empty());
    assert!(attention.keys.is_empty() && attention.values.is_empty());
    for layer in 0..4 {
        for position in 0..12 {
            let input = inputs.inputs.get(layer, position).unwrap();
            assert_eq!(both.inputs.get(layer, position), Some(input));
            let added = attention.attention.get(layer, position);
            assert_eq!(both.attention.get(layer, position), added);
            // The last layer's is computed for rows with logits only.
            assert_eq!(added.is_some(), layer < 3 || position == 11);
            assert_ne!(added, Some(input));
        }
    }
}

fn rows(positions: std::ops::Range<u32>) -> Vec<Row> {
    let end = positions.end;
    let text = tokens(64);
    let row = |position: u32| Row {
        sequence: 0,
        position,
        token: text[position as usize].0,
        prior: position + 1 < end,
        output: position + 1 == end,
    };
    positions.map(row).collect()
}

/// Sequences and positions that the context does not have are refused, and nothing happens to
/// the cells that there are.
#[test]
fn cells_of_others_are_out_of_reach() {
    for architecture in [Architecture::Llama, Architecture::Gemma3] {
        let model = model(architecture);
        let options = ContextOptions {
            n_seq_max: 3,
            ..options()
        };
        let step = |context: &mut Context| {
            context.decode(&rows(4..5), HashMap::new(), None).unwrap();
            context.logits(0).unwrap().to_vec()
        };
        let mut context = Context::new(model.clone(), &options).unwrap();
        context.decode(&rows(0..4), HashMap::new(), None).unwrap();
        let expected = step(&mut context);
        context.clear();
        context.decode(&rows(0..4), HashMap::new(), None).unwrap();
        for sequence in [3, 300, i32::MAX as u32, u32::MAX] {
            let is = |result: Result<(), RuntimeError>| matches!(result, Err(RuntimeError::Sequence { sequence: s, n_seq_max: 3 }) if s == sequence);
            assert!(is(context.rewind(sequence, 0)));
            assert!(is(context.share(0, sequence, 2)));
            assert!(is(context.share(sequence, 1, 2)));
        }
        for position in [65, i32::MAX as u32 + 1, u32::MAX] {
            let is = |result: Result<(), RuntimeError>| matches!(result, Err(RuntimeError::Position { position: p, n_ctx: 64 }) if p == position);
            assert!(is(context.rewind(0, position)));
            assert!(is(context.share(0, 1, position)));
        }
        context.share(0, 1, 3).unwrap();
        assert!(matches!(
            context.share(0, 1, 4),
            Err(RuntimeError::Occupied(1))
        ));
        assert!(matches!(
            context.share(0, 0, 2),
            Err(RuntimeError::Occupied(0))
        ));
        assert!(matches!(
            context.share(0, 2, 6),
            Err(RuntimeError::CellsLost { end: 6 })
        ));
        context.rewind(0, 64).unwrap();
        assert_eq!(step(&mut context), expected, "{architecture:?}");
        let mut apart = Context::with_separate_streams(model, &options).unwrap();
        apart.decode(&rows(0..4), HashMap::new(), None).unwrap();
        assert!(matches!(
            apart.share(0, 1, 2),
            Err(RuntimeError::SeparateStreams)
        ));
    }
}

/// Two threads whose calls fail for different reasons: each is told its own.
#[test]
fn threads_do_not_take_each_other_s_reasons() {
    let model = model(Architecture::Llama);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.gguf");
    model.save(&file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let make = || Context::new(model.clone(), &options()).unwrap();
    let decoding = || {
        let mut context = make();
        context.decode(&rows(0..4), HashMap::new(), None).unwrap();
        // Positions must follow each other.
        match context.decode(&rows(9..10), HashMap::new(), None) {
            Err(RuntimeError::Decode { reason, .. }) => reason,
            other => panic!("{:?}", other.err()),
        }
    };
    let loading = || match Model::load(&file, &ModelOptions::default()) {
        Err(RuntimeError::Load { reason, .. }) => reason,
        other => panic!("{:?}", other.err()),
    };
    let calls: [&(dyn Fn() -> String + Sync); 2] = [&decoding, &loading];
    let expected = calls.map(|call| call());
    assert_ne!(expected[0], expected[1]);
    let buffers = make().buffers();
    assert!(buffers > 0);
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        for (call, expected) in calls.into_iter().zip(&expected) {
            let (barrier, make) = (&barrier, &make);
            scope.spawn(move || {
                for _ in 0..50 {
                    barrier.wait();
                    assert_eq!(&call(), expected);
                    assert_eq!(make().buffers(), buffers);
                }
            });
        }
    });
}
