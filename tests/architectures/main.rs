//! Every architecture that a synthetic model can have: that the places found in its graph are
//! the right ones, and that what it has no place for is refused.

#[path = "../common/mod.rs"]
mod common;

mod parts;
mod refused;
mod strategies;

use std::sync::Arc;

use common::tiny::{CLOSE, FAR, N_LAYER, decode, distance, engine, model, options};
use midlayer::engine::{Engine, EngineError, Outcome, Request, Straightforward};
use midlayer::hook::{Capture, HookFault};
use midlayer::intervention::{Action, Intervention, LayerSpan, PositionSet, Target};
use midlayer::runtime::{Architecture, Context, RuntimeError, Synthetic, Token};

const LAYERS: [u32; 4] = [0, 1, 2, 3];

fn all() -> impl Iterator<Item = Architecture> {
    Architecture::ALL.iter().copied()
}

/// With those that are put together as others are.
fn with_kin() -> impl Iterator<Item = Architecture> {
    all().chain(Architecture::KIN.iter().copied())
}

/// Those with both recurrent layers and attention.
fn hybrids() -> impl Iterator<Item = Architecture> {
    all().filter(|a| a.is_recurrent() && a.has_attention(1))
}

fn tokens(seed: i32) -> Vec<Token> {
    (0..20).map(|i| Token(3 + (i * 7 + seed) % 89)).collect()
}

fn request(plan: Vec<Intervention>) -> Request {
    Request {
        tokens: tokens(0),
        plan,
        ..Request::default()
    }
}

fn fault(result: Result<Outcome, EngineError>) -> HookFault {
    match result {
        Err(EngineError::Runtime(RuntimeError::Hook(fault))) => fault,
        other => panic!("{:?}", other.map(|o| o.touched)),
    }
}

/// A layer computes from what enters it and from nothing else: with the states of all tokens of
/// another text, its logits are that text's, to the bit.
#[test]
fn the_states_entering_a_layer_are_all_that_those_above_know() {
    for architecture in with_kin() {
        let mut context = Context::new(model(architecture), &options()).unwrap();
        let everything = Capture {
            targets: vec![Target::Input],
            layers: LAYERS.into(),
            ..Capture::default()
        };
        let (clean, _) = decode(&mut context, &tokens(0), vec![], None).unwrap();
        let (other, mut seen) =
            decode(&mut context, &tokens(31), vec![], Some(everything)).unwrap();
        assert!(distance(&clean, &other) > FAR, "{architecture}");
        let states = Arc::new(seen.states.remove(&0).unwrap().inputs);
        assert_eq!(states.len(), 20 * LAYERS.len(), "{architecture}");
        for k in LAYERS {
            let mut with = |at: PositionSet| {
                let plan = vec![Intervention::given(k, states.clone(), at)];
                let decoded = decode(&mut context, &tokens(0), plan, None);
                decoded.map(|(logits, _)| logits)
            };
            let moved = with(PositionSet::all());
            if let Some((reader, writer)) = borrowed(architecture, k) {
                let Err(RuntimeError::Hook(fault)) = moved else {
                    panic!("{architecture} {k}: {moved:?}");
                };
                let expected = HookFault::Borrowed {
                    layer: k,
                    reader,
                    writer,
                };
                assert_eq!(fault, expected, "{architecture}");
                continue;
            }
            assert_eq!(moved.unwrap(), other, "{architecture} {k}");
            // The last token's own state is a part of it.
            let most = with(PositionSet::below(19)).unwrap();
            assert!(distance(&most, &other) > FAR, "{architecture} {k}");
            assert_ne!(most, clean, "{architecture} {k}");
        }
    }
}

/// Where a layer from `k` up reads what one below `k` keeps.
fn borrowed(architecture: Architecture, k: u32) -> Option<(u32, u32)> {
    match (architecture, k) {
        // Layers with a window and without: 2 reads 0, 3 reads 1.
        (Architecture::Gemma4, 1 | 2) => Some((2, 0)),
        (Architecture::Gemma4, 3) => Some((3, 1)),
        _ => None,
    }
}

/// Attention skipped in some layers is the model whose projections after attention are zero
/// there.
#[test]
fn skipping_attention_is_having_none() {
    for architecture in all() {
        let mut engine = engine(architecture);
        let clean = engine.run(&request(vec![])).unwrap();
        for k in LAYERS {
            let silent = Synthetic {
                silent_from: Some(k),
                ..Synthetic::new(architecture)
            };
            let silent = Arc::new(silent.build().unwrap());
            let mut silent = Straightforward::new(silent, &options()).unwrap();
            let silent = silent.run(&request(vec![])).unwrap().logits;
            // Layer by layer, since not all may have attention.
            let with = (k..N_LAYER).filter(|layer| architecture.has_attention(*layer));
            let skip =
                with.map(|layer| Intervention::new(Action::SkipAttention, LayerSpan::only(layer)));
            let skip: Vec<_> = skip.collect();
            let what = format!("{architecture} {k}");
            if skip.is_empty() {
                assert_eq!(silent, clean.logits, "{what}");
                continue;
            }
            let skipped = engine.run(&request(skip.clone())).unwrap().logits;
            let apart = distance(&skipped, &silent);
            assert!(apart < CLOSE, "{what}: {apart}");
            let moved = distance(&silent, &clean.logits);
            assert!(moved > FAR, "{what}: {moved}");
            // One layer's attention left in place is not the same.
            let less = engine.run(&request(skip[1..].to_vec())).unwrap().logits;
            let apart = distance(&less, &silent);
            assert!(apart > FAR, "{what}: {apart}");
        }
    }
}
