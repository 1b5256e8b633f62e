//! Texts that go on: continued, generated or run again as longer ones, they are the same.

mod common;

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use common::tiny::{CLOSE, N_LAYER, distance, engine, model, options, prompt, request, tokens};
use common::{MAIN, attentive};
use midlayer::engine::{
    Engine, Outcome, Planned, Prompt, Request, Rerun, kl, log_softmax, scaffold_states,
};
use midlayer::intervention::{Extent, Intervention, Kind, LayerList, PositionSet, Site};
use midlayer::maps::draw_steps;
use midlayer::runtime::{Architecture, Token};
use midlayer::sweep::Given;
use midlayer::trial::{self, Part, Place};

/// Teacher-forced steps with the cache equal runs of the whole text from scratch, in which every
/// token but the last is manipulated.
#[test]
fn continuing_equals_running_the_longer_text() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        let plans = [
            vec![],
            vec![Intervention::freeze(2)],
            vec![Intervention::random(1, 3)],
            vec![Intervention::shuffle(3, 3)],
            vec![Intervention::skip_attention(2)],
        ];
        let continuation: Vec<Token> = [40, 50, 60].map(Token).to_vec();
        for plan in plans {
            let mut steps = request(plan.clone());
            steps.continuations = vec![continuation.clone()];
            let steps = engine.run(&steps).unwrap();
            for n in 0..=continuation.len() {
                let mut text = request(plan.clone());
                text.tokens.extend(&continuation[..n]);
                let rerun = engine.run(&text).unwrap();
                let moved = distance(steps.after(0, n), &rerun.logits);
                assert!(moved < CLOSE, "{architecture:?} {plan:?} step {n}: {moved}");
            }
        }
    }
}

/// Generation with the cache equals rerunning the whole text at every step, whether generated
/// tokens are manipulated or not, and from whichever step manipulation begins.
#[test]
fn generation_equals_the_rerun_mode() {
    for architecture in attentive() {
        // All of it for the main ones, a part of it for the others.
        let thorough = MAIN.contains(&architecture);
        let n_tokens = if thorough { 12 } else { 5 };
        let mut cached = engine(architecture);
        let mut rerun = Rerun::new(engine(architecture));
        let donor = cached.states(&prompt(12)).unwrap().moved(&[(9, 4)]);
        let at = PositionSet::ranges([4..5]);
        let plans = [
            vec![],
            vec![Intervention::freeze(2)],
            vec![Intervention::random(1, 3)],
            vec![Intervention::shuffle(2, 3)],
            vec![Intervention::skip_attention(2)],
            vec![Intervention::given(1, Arc::new(donor), at)],
        ];
        let mut outputs = Vec::new();
        for plan in plans {
            let settings = [(true, 0), (false, 0), (true, 3), (false, 3)];
            for (manipulate_generated, from_step) in settings {
                if !thorough && (!manipulate_generated || from_step > 0) {
                    continue;
                }
                let what = format!("{architecture:?} {plan:?} {manipulate_generated} {from_step}");
                let request = Request {
                    manipulate_generated,
                    from_step,
                    ..request(plan.clone())
                };
                let a = cached.generate(&request, n_tokens, &mut |_| true).unwrap();
                let b = rerun.generate(&request, n_tokens, &mut |_| true).unwrap();
                assert_eq!(a.tokens.len(), n_tokens, "{what}");
                let close = (a.margins.iter().zip(&b.margins)).all(|(x, y)| (x - y).abs() < CLOSE);
                assert!(a.tokens == b.tokens && close, "{what}");
                outputs.push(a);
            }
        }
        if !thorough {
            continue;
        }
        // Negative control: the settings do make a difference.
        for pair in [(4, 5), (4, 6), (8, 9), (16, 17), (0, 4), (0, 8)] {
            let (a, b) = (&outputs[pair.0], &outputs[pair.1]);
            let same = a.tokens == b.tokens
                && (a.margins.iter().zip(&b.margins)).all(|(x, y)| (x - y).abs() < CLOSE);
            assert!(!same, "{architecture:?} {pair:?}");
        }
        // Clean is clean whatever the settings.
        assert_eq!(outputs[0].tokens, outputs[3].tokens);
    }
}

/// Several continuations of one prompt do not disturb each other.
#[test]
fn continuations_start_over() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        for (manipulate_generated, from_step) in [(true, 0), (false, 0), (true, 2)] {
            let branches = [[40, 50, 60], [41, 51, 61]].map(|b| b.map(Token).to_vec());
            let mut both = request(vec![Intervention::freeze(2)]);
            both.manipulate_generated = manipulate_generated;
            both.from_step = from_step;
            let mut single = both.clone();
            both.continuations = branches.to_vec();
            let both = engine.run(&both).unwrap();
            for (n, branch) in branches.into_iter().enumerate() {
                single.continuations = vec![branch];
                let alone = engine.run(&single).unwrap();
                assert_eq!(both.branches[n], alone.branches[0], "{architecture:?} {n}");
            }
        }
    }
}

/// A cell of a map of steps is a manipulation that begins so many tokens after the prompt.
#[test]
fn a_map_of_steps_tells_from_when_on() {
    const N: u32 = 6;
    for architecture in [Architecture::Llama, Architecture::Gpt2] {
        let prompt = prompt(12);
        let mut planned = Planned::new(model(architecture), &options(), 8).unwrap();
        let anatomy = planned.inspect().anatomy().unwrap().clone();
        let scaffold = Prompt::new("", tokens(30).split_off(9), |_| Vec::new());
        let given = Rc::new(Given::of(None, Vec::new(), Some(scaffold.clone())));
        let part = |kind: Kind, sites: &[Site]| Part {
            kind,
            layer: None,
            place: Place {
                sites: sites.to_vec(),
                ..Place::default()
            },
            donor: None,
            given: given.clone(),
        };
        let all: LayerList = "all".parse().unwrap();
        for (part, by_kl) in [
            (part(Kind::Splice, &[Site::Keys, Site::Values]), false),
            (part(Kind::Freeze, &[Site::Residual]), false),
            (part(Kind::Random, &[Site::Residual]), true),
            (part(Kind::control(), &[Site::Residual]), false),
        ] {
            let steps: LayerList = "0-4+2,5".parse().unwrap();
            let question = trial::steps(
                &part,
                (&all, &steps),
                (&[1], N as usize),
                by_kl,
                &mut planned,
                &prompt,
            )
            .unwrap();
            assert_eq!(question.steps, [0, 2, 4, 5]);
            let map = draw_steps(&mut planned, &anatomy, &question, &mut |_, _, _| {
                ControlFlow::Continue(())
            })
            .unwrap();
            let mut whole = engine(architecture);
            let followed = &question.followed.0;
            for (row, &step) in question.steps.iter().enumerate() {
                let request = |plan| Request {
                    plan,
                    from_step: step as usize,
                    continuations: vec![followed[..followed.len() - 1].to_vec()],
                    ..Request::new(&prompt)
                };
                let clean = whole.run(&request(Vec::new())).unwrap();
                // The scaffold's states at the positions of generated tokens, too.
                let mut text = prompt.clone();
                text.tokens.extend(followed);
                let sites = &part.place.sites;
                let spliced = scaffold_states(&mut whole, &scaffold, &text, sites).unwrap();
                for (column, value) in map.values[row].iter().enumerate() {
                    let what = format!("{architecture:?}, {}, {step}, {column}", part.kind);
                    let (k, all) = (column as u32, PositionSet::all());
                    if !part.kind.is_defined(k, N_LAYER) {
                        assert_eq!(*value, None, "{what}");
                        continue;
                    }
                    let plan = sites.iter().map(|&site| {
                        let states = (part.kind == Kind::Splice).then(|| spliced.at(site));
                        let made = part
                            .kind
                            .intervention(k, 1, Extent::Paper, all.clone(), states);
                        made.on(site)
                    });
                    let outcome = whole.run(&request(plan.collect())).unwrap();
                    let rest = followed.iter().enumerate().skip(step as usize);
                    let each = rest.map(|(n, token)| {
                        let logprob = |of: &Outcome| log_softmax(of.after(0, n))[token.0 as usize];
                        match by_kl {
                            true => kl(clean.after(0, n), outcome.after(0, n)),
                            false => logprob(&outcome) - logprob(&clean),
                        }
                    });
                    let mean = each.sum::<f64>() / f64::from(N - step);
                    let value = value.unwrap();
                    assert!(
                        (value - mean).abs() < f64::from(CLOSE),
                        "{what}: {value}, {mean}"
                    );
                }
            }
            let still = part.kind == Kind::control();
            assert_eq!(map.largest() < f64::from(CLOSE), still, "{}", part.kind);
            assert!(map.floor < f64::from(CLOSE));
        }
    }
}
