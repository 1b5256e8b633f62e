//! What cannot be, and what llama.cpp would abort on, is an error.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::tiny::{FAR, distance, engine, options, request, run, tokens};
use midlayer::engine::{Engine, EngineError, Request, Straightforward};
use midlayer::hook::{HookFault, Row};
use midlayer::intervention::{Intervention, PlanError};
use midlayer::runtime::{
    Architecture, Context, ContextOptions, Model, ModelOptions, RuntimeError, Synthetic, Token,
};

#[test]
fn interventions_that_cannot_be_are_errors() {
    let mut engine = engine(Architecture::Llama);
    let mut fails = |intervention| engine.run(&request(vec![intervention])).unwrap_err();
    assert!(matches!(
        fails(Intervention::freeze(0)),
        EngineError::Plan(PlanError::FreezeAtZero)
    ));
    assert!(matches!(
        fails(Intervention::random(4, 1)),
        EngineError::Plan(PlanError::LayerOutOfRange { layer: 4, last: 3 })
    ));
    let panics = Intervention::custom(1, |_, _, _| panic!("on purpose"));
    assert!(matches!(
        fails(panics),
        EngineError::Runtime(RuntimeError::Hook(HookFault::Panicked(m))) if m == "on purpose"
    ));
    // The context still works after a fault.
    let again = engine.run(&request(vec![Intervention::freeze(2)])).unwrap();
    assert_eq!(again.touched.len(), 2);
}

/// A recurrent model has no attention to skip: refused, never a silent clean run.
#[test]
fn recurrent_models_refuse_what_they_cannot_do() {
    let mut engine = engine(Architecture::Mamba);
    let skip = engine.run(&request(vec![Intervention::skip_attention(1)]));
    assert!(matches!(
        skip.unwrap_err(),
        EngineError::Runtime(RuntimeError::Hook(HookFault::NoAttention(1)))
    ));
    let mut step = request(vec![]);
    step.continuations = vec![vec![Token(5)]];
    assert!(matches!(
        engine.run(&step).unwrap_err(),
        EngineError::Runtime(RuntimeError::CannotRewind)
    ));
    // The residual stream is there, and can be rewritten.
    let clean = run(&mut engine, vec![]);
    let itself = run(&mut engine, vec![Intervention::custom(1, |_, _, _| {})]);
    assert_eq!(itself.logits, clean.logits);
    let noise = run(&mut engine, vec![Intervention::random(1, 1)]);
    assert!(distance(&noise.logits, &clean.logits) > FAR);
}

#[test]
fn what_llama_cpp_would_abort_on_is_an_error() {
    let model = Arc::new(Synthetic::new(Architecture::Llama).build().unwrap());
    let mut engine = Straightforward::new(model.clone(), &options()).unwrap();
    let long = Request {
        tokens: tokens(65),
        ..Request::default()
    };
    assert!(matches!(
        engine.run(&long).unwrap_err(),
        EngineError::Runtime(RuntimeError::TooLong {
            tokens: 65,
            n_ctx: 64
        })
    ));
    let unknown = Request {
        tokens: vec![Token(96)],
        ..Request::default()
    };
    assert!(matches!(
        engine.run(&unknown).unwrap_err(),
        EngineError::Runtime(RuntimeError::Token {
            token: 96,
            n_vocab: 96
        })
    ));
    assert!(matches!(
        engine.prompt("text").unwrap_err(),
        EngineError::Runtime(RuntimeError::NoVocabulary)
    ));
    let mut context = Context::new(model.clone(), &options()).unwrap();
    assert!(matches!(
        context.decode(&[], HashMap::new(), None).err().unwrap(),
        RuntimeError::EmptyBatch
    ));
    let other_sequence = Row {
        sequence: 1,
        position: 0,
        token: 1,
        prior: false,
        output: true,
    };
    assert!(matches!(
        context
            .decode(&[other_sequence], HashMap::new(), None)
            .err()
            .unwrap(),
        RuntimeError::Sequence {
            sequence: 1,
            n_seq_max: 1
        }
    ));
    assert!(matches!(context.logits(0), Err(RuntimeError::NoLogits(0))));
    let bad = ContextOptions {
        cache_v: "q8_0".parse().unwrap(),
        ..options()
    };
    assert!(matches!(
        Context::new(model, &bad).err().unwrap(),
        RuntimeError::QuantizedV
    ));
}

/// llama.cpp's writer says nothing of a failure, and ends the process on what it does not know.
#[test]
fn a_model_is_written_whole_or_it_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let model = Synthetic::new(Architecture::Llama).build().unwrap();
    for path in [folder.path().join("not/there/x.gguf"), "/dev/full".into()] {
        let error = model.save(&path).unwrap_err();
        assert!(matches!(error, RuntimeError::Save { .. }), "{error}");
    }
    let file = folder.path().join("x.gguf");
    let unknown = Synthetic::new(Architecture::Gemma3n).build().unwrap();
    let error = unknown.save(&file).unwrap_err();
    assert!(matches!(&error, RuntimeError::CannotSave(name) if name == "gemma3n"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    model.save(&file).unwrap();
    model.save(&file).unwrap();
    Model::load(&file, &ModelOptions::default()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
