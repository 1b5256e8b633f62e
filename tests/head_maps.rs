//! Maps of heads: every cell against a run asked for by hand and computed whole, both strategies,
//! and a model of one head.

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use common::attentive;
use common::tiny::{CLOSE, FAR, N_LAYER, engine, model, options, prompt};
use midlayer::engine::{
    DonorStates, Engine, Outcome, Planned, Prompt, Request, Straightforward, donor_states,
    log_softmax,
};
use midlayer::intervention::{HeadSet, Intervention, Kind, LayerSpan, PositionSet, Site};
use midlayer::maps::{Corruption, Down, Followed, Map, Measure, Question, draw};
use midlayer::runtime::{Architecture, Model, Synthetic, Token};

const TOKENS: i32 = 12;
const ANSWER: Token = Token(40);
/// Tokens at which heads are manipulated: not all of them.
const FROM: u32 = 2;

fn question(prompt: &Prompt, kind: Kind, heads: u32) -> Question<'_> {
    Question {
        prompt,
        kind,
        states: None,
        sites: vec![Site::HEADS],
        seeds: vec![1],
        layers: (0..N_LAYER).collect(),
        positions: (FROM..TOKENS as u32 - 1).collect(),
        down: Down::Heads(heads),
        corrupted: None,
        measure: Measure::LogProbability(Followed(vec![ANSWER])),
    }
}

fn planned(model: Arc<Model>) -> Planned {
    Planned::new(model, &options(), 8).unwrap().eager()
}

fn drawn(engine: &mut dyn Engine, of: &Planned, question: &Question<'_>) -> Map {
    let anatomy = of.inspect().anatomy().unwrap().clone();
    let told = &mut |_: &Map, _, _| ControlFlow::Continue(());
    draw(engine, &anatomy, question, told).unwrap()
}

fn of_planned(model: Arc<Model>, question: &Question<'_>) -> Map {
    let (mut engine, other) = (planned(model.clone()), planned(model));
    drawn(&mut engine, &other, question)
}

fn logprob(outcome: &Outcome) -> f64 {
    log_softmax(&outcome.logits)[ANSWER.0 as usize]
}

fn same(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() < f64::from(CLOSE), "{what}: {a} is not {b}");
}

fn at() -> PositionSet {
    PositionSet::ranges([FROM..TOKENS as u32 - 1])
}

#[test]
fn a_cell_is_a_run_with_one_head_manipulated() {
    let prompt = prompt(TOKENS);
    for architecture in attentive() {
        let of = planned(model(architecture));
        let n = of.inspect().anatomy().unwrap().most_heads();
        assert!(n > 1, "{architecture:?}: {n} heads");
        let map = of_planned(model(architecture), &question(&prompt, Kind::Zero, n));
        let mut whole = engine(architecture);
        let clean = logprob(&whole.run(&Request::new(&prompt)).unwrap());
        same(map.clean, clean, "clean");
        assert!(map.largest() > f64::from(FAR) / 10.0, "{architecture:?}");
        assert!(map.floor < f64::from(CLOSE), "{architecture:?}");
        let anatomy = of.inspect().anatomy().unwrap();
        let mut filled = 0;
        for (head, values) in map.rows.iter().zip(&map.values) {
            for (layer, value) in map.layers.iter().zip(values) {
                let zero = Intervention::new(Kind::Zero.action(0, None), LayerSpan::only(*layer));
                let zero = zero.on(Site::Heads(HeadSet::of([*head]))).at(at());
                let what = format!("{architecture:?}, head {head}, layer {layer}");
                // Nothing reads what the last layer adds to prior tokens.
                assert_eq!(value.is_some(), anatomy.admits(&zero).is_ok(), "{what}");
                let Some(value) = value else { continue };
                let outcome = whole.run(&Request::new(&prompt).with(zero)).unwrap();
                same(*value, logprob(&outcome) - clean, &what);
                filled += 1;
            }
        }
        assert!(filled >= n, "{architecture:?}: {filled}");
    }
}

/// States of another prompt of as many tokens.
fn donor(engine: &mut dyn Engine) -> DonorStates {
    let mut tokens = prompt(TOKENS).tokens;
    tokens[4] = Token(90);
    let other = Prompt::new("", tokens, |_| Vec::new());
    let moves: Vec<(u32, u32)> = (0..TOKENS as u32 - 1).map(|at| (at, at)).collect();
    donor_states(engine, &other, &moves, &[Site::HEADS, Site::AttnOut]).unwrap()
}

#[test]
fn both_strategies_draw_the_same_map() {
    let prompt = prompt(TOKENS);
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma3,
        Architecture::Falcon,
    ] {
        let of = planned(model(architecture));
        let n = of.inspect().anatomy().unwrap().most_heads();
        let mut slow = engine(architecture);
        let states = donor(&mut slow);
        for kind in ["zero", "random", "shuffle", "inject", "add-noise"] {
            let kind: Kind = kind.parse().unwrap();
            let mut question = question(&prompt, kind, n);
            question.states = kind.has_donor().then(|| states.clone());
            let fast = of_planned(model(architecture), &question);
            let whole = drawn(&mut slow, &of, &question);
            let pairs = fast
                .values
                .iter()
                .flatten()
                .zip(whole.values.iter().flatten());
            for (a, b) in pairs {
                assert_eq!(a.is_some(), b.is_some(), "{architecture:?} {kind}");
                let what = format!("{architecture:?} {kind}");
                same(a.unwrap_or(0.0), b.unwrap_or(0.0), &what);
            }
            assert!(fast.largest() > fast.floor, "{architecture:?} {kind}");
        }
    }
}

/// The only head of a model that has one is all that attention adds.
#[test]
fn one_head_of_one_is_attn_out() {
    let one = Synthetic {
        n_head: 1,
        ..Synthetic::new(Architecture::Falcon)
    };
    let model = Arc::new(one.build().unwrap());
    let mut whole = Straightforward::new(model.clone(), &options()).unwrap();
    let prompt = prompt(TOKENS);
    let states = donor(&mut whole);
    let clean = logprob(&whole.run(&Request::new(&prompt)).unwrap());
    for kind in [Kind::Zero, Kind::Scale, Kind::Inject] {
        let states = kind.has_donor().then(|| states.clone());
        let question = Question {
            states: states.clone(),
            ..question(&prompt, kind, 1)
        };
        let map = of_planned(model.clone(), &question);
        assert_eq!(map.rows, [0]);
        for layer in 0..N_LAYER - 1 {
            let states = states.as_ref().map(|states| states.at(Site::AttnOut));
            let all = Intervention::new(kind.action(0, states), LayerSpan::only(layer));
            let all = all.on(Site::AttnOut).at(at());
            let outcome = whole.run(&Request::new(&prompt).with(all)).unwrap();
            let value = map.values[0][layer as usize].unwrap();
            same(
                value,
                logprob(&outcome) - clean,
                &format!("{kind}, layer {layer}"),
            );
        }
        assert!(map.largest() > 1e-3, "{kind}: {map:?}");
    }
}

/// Where a prompt is corrupted, every head put back at once would give back what heads lost; one
/// at a time each gives back what a run by hand says.
#[test]
fn heads_are_put_back_one_at_a_time() {
    let prompt = prompt(TOKENS);
    let noise: Kind = "add-noise".parse().unwrap();
    let mut whole = engine(Architecture::Llama);
    let moves: Vec<(u32, u32)> = (0..TOKENS as u32 - 1).map(|at| (at, at)).collect();
    let clean = donor_states(&mut whole, &prompt, &moves, &[Site::HEADS]).unwrap();
    let question = Question {
        states: Some(clean.clone()),
        corrupted: Some(Corruption {
            kind: noise,
            layer: 0,
            positions: PositionSet::ranges([5..6]),
        }),
        ..question(&prompt, Kind::Inject, 4)
    };
    let map = of_planned(model(Architecture::Llama), &question);
    let corrupted = || {
        let action = noise.action(1, None);
        Intervention::new(action, LayerSpan::only(0)).at(PositionSet::ranges([5..6]))
    };
    let zero = whole.run(&Request::new(&prompt).with(corrupted())).unwrap();
    same(map.corrupted.unwrap(), logprob(&zero), "corrupted");
    for head in 0..4 {
        let back = Intervention::given(1, clean.at(Site::HEADS), at());
        let back = back.on(Site::Heads(HeadSet::of([head])));
        let request = Request::new(&prompt).with(corrupted()).with(back);
        let outcome = whole.run(&request).unwrap();
        let value = map.values[head as usize][1].unwrap();
        same(
            value,
            logprob(&outcome) - logprob(&zero),
            &format!("head {head}"),
        );
    }
    assert!(map.largest() > map.floor);
}
