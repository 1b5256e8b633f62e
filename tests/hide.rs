//! Tokens hidden from those after them: the mask of attention, against tokens that are not there.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::tiny::{CLOSE, FAR, N_LAYER, distance, engine, model, options, request, run, tokens};
use midlayer::engine::{Engine, Planned, Request};
use midlayer::hook::{CacheFill, Capture, Cut, Row, Start};
use midlayer::intervention::{
    Action, Editor, Extent, Intervention, Kind, LayerSpan, PositionSet, Target,
};
use midlayer::runtime::{Architecture, Context, ContextOptions, FlashAttention};

/// Positions that stay, besides the last one.
const ANCHORS: [u32; 3] = [0, 4, 11];

/// All prior positions but the anchors.
fn hidden() -> PositionSet {
    PositionSet::ranges([1..4, 5..11, 12..19])
}

fn row(position: u32, last: u32) -> Row {
    Row {
        sequence: 0,
        position,
        token: tokens(23)[position as usize].0,
        prior: position < last,
        output: position == last,
    }
}

/// Logits after a token at position 19 with nothing else in the cache.
fn alone(architecture: Architecture, options: &ContextOptions) -> Vec<f32> {
    let mut context = Context::new(model(architecture), options).unwrap();
    context
        .decode(&[row(19, 19)], HashMap::new(), None)
        .unwrap();
    context.logits(0).unwrap().to_vec()
}

/// The request with another token at each of some positions.
fn with_others(request: &Request, positions: impl IntoIterator<Item = u32>) -> Request {
    let mut other = request.clone();
    for position in positions {
        let token = &mut other.tokens[position as usize].0;
        *token = 3 + (*token + 31) % 89;
    }
    other
}

fn architectures() -> impl Iterator<Item = Architecture> {
    let all = Architecture::ALL.iter().copied();
    all.filter(|architecture| !model(*architecture).has_recurrence())
}

/// Hidden from the first layer up, tokens might as well be others, or not be there.
#[test]
fn hidden_from_the_first_layer_is_as_if_it_were_not_there() {
    let mut seen = 0;
    for architecture in architectures() {
        let mut engine = engine(architecture);
        let hides = engine.context().anatomy().unwrap().masks[0].is_some();
        let some = request(vec![Intervention::hide(0, hidden())]);
        let Ok(found) = engine.run(&some) else {
            assert!(!hides, "{architecture:?} has a mask");
            continue;
        };
        let clean = run(&mut engine, vec![]);
        let far = |other: &[f32]| distance(other, &found.logits) > FAR;
        assert!(far(&clean.logits), "{architecture:?}");
        let others = (0..19).filter(|position| hidden().contains(*position));
        let same = engine.run(&with_others(&some, others)).unwrap();
        assert_eq!(same.logits, found.logits, "{architecture:?}: they are seen");
        for anchor in ANCHORS {
            let other = engine.run(&with_others(&some, [anchor])).unwrap();
            assert!(far(&other.logits), "{architecture:?}: {anchor} is not seen");
        }
        let all = run(&mut engine, vec![Intervention::hide(0, PositionSet::all())]);
        let apart = distance(&all.logits, &alone(architecture, &options()));
        assert!(apart < CLOSE, "{architecture:?}: {apart}");
        seen += 1;
    }
    assert!(seen > 25, "{seen} architectures");
}

#[test]
fn flash_attention_has_a_mask_too() {
    let options = ContextOptions {
        flash_attention: FlashAttention::On,
        ..options()
    };
    for architecture in [Architecture::Llama, Architecture::Gemma3] {
        let model = model(architecture);
        let mut engine = midlayer::engine::Straightforward::new(model, &options).unwrap();
        let plan = vec![Intervention::hide(0, PositionSet::all())];
        let hidden = engine.run(&request(plan)).unwrap();
        let apart = distance(&hidden.logits, &alone(architecture, &options));
        assert!(apart < CLOSE, "{architecture:?}: {apart}");
    }
}

#[test]
fn nothing_hidden_is_the_clean_run() {
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma3,
        Architecture::Gpt2,
    ] {
        let mut slow = engine(architecture);
        let clean = run(&mut slow, vec![]);
        let plan = vec![Intervention::hide(0, PositionSet::none())];
        assert_eq!(
            run(&mut slow, plan.clone()).logits,
            clean.logits,
            "{architecture:?}"
        );
        let mut planned = Planned::new(model(architecture), &options(), 8).unwrap();
        let same = planned.run(&request(plan)).unwrap();
        assert!(
            distance(&same.logits, &clean.logits) < CLOSE,
            "{architecture:?}"
        );
    }
}

/// At one layer alone: the layers above see everything again, as they left it.
#[test]
fn above_a_window_the_mask_is_as_it_was() {
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma3,
        Architecture::Qwen2,
    ] {
        for k in 0..N_LAYER - 1 {
            let at_k = Kind::Hide.intervention(k, 0, Extent::Only, hidden(), None);
            let found = run(&mut engine(architecture), vec![at_k.clone()]).logits;
            let mut context = Context::new(model(architecture), &options()).unwrap();
            context.follow_cells(true);
            let rows: Vec<Row> = (0..20).map(|position| row(position, 19)).collect();
            let editors = [(0, Editor::new(Arc::new([at_k]), N_LAYER))].into();
            let capture = Capture {
                targets: vec![Target::Input],
                layers: (0..N_LAYER).collect(),
                ..Capture::default()
            };
            let mut seen = context.decode(&rows, editors, Some(capture)).unwrap();
            let states = Arc::new(seen.states.remove(&0).unwrap().inputs);
            context.clear();
            let cut = Cut {
                first: k + 1,
                cache: CacheFill::FromFirst,
                silent: false,
                onward: true,
            };
            let start = Start {
                states,
                from: k + 1,
                frozen: None,
            };
            context
                .decode_part(&rows, HashMap::new(), &cut, vec![start; 20])
                .unwrap();
            let apart = distance(&found, context.logits(19).unwrap());
            assert!(apart < CLOSE, "{architecture:?}, layer {k}: {apart}");
            let upward = run(
                &mut engine(architecture),
                vec![Intervention::hide(k, hidden())],
            );
            assert!(
                distance(&found, &upward.logits) > CLOSE,
                "{architecture:?}, layer {k}"
            );
        }
    }
}

#[test]
fn hiding_is_stacked() {
    let mut engine = engine(Architecture::Llama);
    let of = |layers, tokens| Intervention::new(Action::Hide, layers).at(tokens);
    let together = run(&mut engine, vec![Intervention::hide(1, hidden())]).logits;
    let one = of(LayerSpan::from(1), PositionSet::ranges([1..4, 5..11]));
    let other = of(LayerSpan::from(1), PositionSet::ranges([12..19]));
    assert_eq!(run(&mut engine, vec![one, other]).logits, together);
}

/// A cell that nobody saw being written is never guessed at.
#[test]
fn cells_that_were_not_followed_are_an_error() {
    let mut context = Context::new(model(Architecture::Llama), &options()).unwrap();
    let rows: Vec<Row> = (0..20).map(|position| row(position, 19)).collect();
    context.decode(&rows[..10], HashMap::new(), None).unwrap();
    context.follow_cells(true);
    let plan: Arc<[Intervention]> = Arc::new([Intervention::hide(1, PositionSet::all())]);
    let editors = [(0, Editor::new(plan, N_LAYER))].into();
    let error = context.decode(&rows[10..], editors, None).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("not known which token is in cell"),
        "{error}"
    );
}

#[test]
fn tokens_that_follow_see_no_hidden_ones_either() {
    let plan = vec![Intervention::hide(0, PositionSet::all())];
    let mut engine = engine(Architecture::Llama);
    let mut continued = |manipulate_generated| {
        let request = Request {
            continuations: vec![tokens(23)[20..].to_vec()],
            manipulate_generated,
            ..request(plan.clone())
        };
        engine.run(&request).unwrap().branches.remove(0)
    };
    // Those after the prompt see each other, or themselves alone.
    let together = continued(false);
    let mut context = Context::new(model(Architecture::Llama), &options()).unwrap();
    let after = |position: u32| Row {
        output: true,
        ..row(position, 22)
    };
    let rows: Vec<Row> = (19..23).map(after).collect();
    context.decode(&rows, HashMap::new(), None).unwrap();
    let apart = continued(true);
    for (n, found) in together.iter().enumerate() {
        let off = distance(found, context.logits(n + 1).unwrap());
        assert!(off < CLOSE, "token {n} sees those before it: {off}");
    }
    for (n, position) in (20..23).enumerate() {
        context.clear();
        context
            .decode(&[after(position)], HashMap::new(), None)
            .unwrap();
        let off = distance(&apart[n], context.logits(0).unwrap());
        assert!(off < CLOSE, "token {n} sees itself alone: {off}");
    }
}
