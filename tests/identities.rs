//! Identities that every manipulation satisfies, on a tiny random model of each architecture,
//! each beside a negative control: the same path with real noise must move the logits.

mod common;

use std::collections::HashMap;

use common::attentive;
use common::tiny::{
    CLOSE, FAR, N_LAYER, distance, engine, model, options, prompt, request, run, tokens,
};
use midlayer::engine::{Engine, Outcome, Prompt, Request, Straightforward};
use midlayer::hook::{HookFault, Row};
use midlayer::intervention::{Editor, Intervention, Kind, LayerSpan, PositionSet};
use midlayer::runtime::{Architecture, Context, ContextOptions, RuntimeError, Token};

#[test]
fn rewriting_a_row_with_itself_is_bit_equal_to_clean() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        let clean = run(&mut engine, vec![]);
        for k in 0..N_LAYER {
            let itself = Intervention::custom(k, |_, _, _| {});
            let outcome = run(&mut engine, vec![itself]);
            assert_eq!(outcome.logits, clean.logits, "{architecture:?} {k}");
            assert_eq!(outcome.touched[0].rows, 19, "{architecture:?} {k}");
            let noise = run(&mut engine, vec![Intervention::random(k, 1)]);
            let moved = distance(&noise.logits, &clean.logits);
            assert!(moved > FAR, "{architecture:?} {k}: noise moved {moved}");
        }
    }
}

#[test]
fn random_on_no_tokens_is_clean() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        let clean = run(&mut engine, vec![]);
        let nothing = Intervention::random(2, 1).at(PositionSet::none());
        let outcome = run(&mut engine, vec![nothing]);
        assert_eq!(outcome.logits, clean.logits, "{architecture:?}");
        let one = PositionSet::ranges([5..6]);
        let one = run(&mut engine, vec![Intervention::random(2, 1).at(one)]);
        assert_ne!(one.logits, clean.logits, "{architecture:?}");
        assert_eq!(one.touched[0].rows, 1);
    }
}

#[test]
fn a_prompt_injected_into_itself_is_clean() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        let clean = run(&mut engine, vec![]);
        let own = engine.states(&prompt(20)).unwrap();
        assert_eq!(own.len(), 20 * N_LAYER as usize);
        let mut other = tokens(20);
        other[4] = Token(90);
        let other = Prompt::new("", other, |_| Vec::new());
        let other = engine.states(&other).unwrap();
        for k in 0..N_LAYER {
            let inject = |states| Intervention::given(k, states, PositionSet::all());
            let outcome = run(&mut engine, vec![inject(own.clone())]);
            assert_eq!(outcome.logits, clean.logits, "{architecture:?} {k}");
            let outcome = run(&mut engine, vec![inject(other.clone())]);
            assert_ne!(outcome.logits, clean.logits, "{architecture:?} {k}");
        }
    }
}

/// The state entering layer 0 is what the token makes of itself: injecting another prompt's
/// state there must be the same as having the other token in the prompt.
#[test]
fn injection_at_layer_0_is_replacing_the_token() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        let mut changed = tokens(20);
        changed[4] = Token(90);
        let states = engine
            .states(&Prompt::new("", changed.clone(), |_| Vec::new()))
            .unwrap();
        let at = PositionSet::ranges([4..5]);
        let injected = run(&mut engine, vec![Intervention::given(0, states, at)]);
        let mut direct = request(vec![]);
        direct.tokens = changed;
        let direct = engine.run(&direct).unwrap();
        assert_eq!(injected.logits, direct.logits, "{architecture:?}");
    }
}

/// With freeze at the last layer, everything below it is clean and the last token's own row is
/// clean: only what it attends to in that layer differs. Silencing that layer's attention
/// therefore hides the freeze altogether.
#[test]
fn freeze_at_the_last_layer_acts_through_its_attention_alone() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        let last = N_LAYER - 1;
        let clean = run(&mut engine, vec![]);
        let frozen = run(&mut engine, vec![Intervention::freeze(last)]);
        let moved = distance(&frozen.logits, &clean.logits);
        assert!(moved > FAR, "{architecture}: {moved}");
        let skip = || Intervention::skip_attention(last);
        let silent = run(&mut engine, vec![skip()]);
        let both = run(&mut engine, vec![Intervention::freeze(last), skip()]);
        assert_eq!(both.logits, silent.logits, "{architecture:?}");
        assert!(distance(&silent.logits, &clean.logits) > FAR);
    }
}

/// Without attention from layer 0 up, the last token cannot know of the others.
#[test]
fn without_attention_prior_tokens_do_not_matter() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        let skip = |tokens: Vec<Token>, k| Request {
            tokens,
            plan: vec![Intervention::skip_attention(k)],
            ..Request::default()
        };
        let mut others = tokens(20);
        others[..19].rotate_left(3);
        let a = engine.run(&skip(tokens(20), 0)).unwrap();
        let b = engine.run(&skip(others.clone(), 0)).unwrap();
        let moved = distance(&a.logits, &b.logits);
        assert!(moved < CLOSE, "{architecture:?}: {moved}");
        let a = engine.run(&skip(tokens(20), 1)).unwrap();
        let b = engine.run(&skip(others, 1)).unwrap();
        assert!(distance(&a.logits, &b.logits) > FAR, "{architecture:?}");
        // From layer k up, what prior tokens hold does not matter either.
        let noise = vec![Intervention::random(2, 1), Intervention::skip_attention(2)];
        let noise = run(&mut engine, noise);
        let silent = run(&mut engine, vec![Intervention::skip_attention(2)]);
        assert_eq!(noise.logits, silent.logits, "{architecture:?}");
    }
}

#[test]
fn spans_and_selectors_reach_where_they_say() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        let layers = |span| Intervention::new(Kind::Random.action(1, None), span);
        let names = |outcome: &Outcome| outcome.touched.len();
        let only = run(&mut engine, vec![layers(LayerSpan::only(1))]);
        let window = run(&mut engine, vec![layers(LayerSpan::window(1, 2))]);
        let from = run(&mut engine, vec![layers(LayerSpan::from(1))]);
        assert_eq!((names(&only), names(&window), names(&from)), (1, 2, 3));
        assert_ne!(only.logits, window.logits);
        // Noise at the last layer of the window hides what happened to prior tokens below it
        // only for layers above; the window's own lower layer is still read.
        assert_ne!(window.logits, from.logits);
        let sink = Intervention::random(1, 1).at(PositionSet::all_but_first(4));
        assert_eq!(run(&mut engine, vec![sink]).touched[0].rows, 15);
    }
}

/// A prompt longer than the micro-batch goes through the graph in pieces.
#[test]
fn several_micro_batches_equal_one() {
    for architecture in attentive() {
        let mut whole = engine(architecture);
        let model = whole.context().model().clone();
        let pieces = ContextOptions {
            n_ubatch: 6,
            ..options()
        };
        let mut pieces = Straightforward::new(model, &pieces).unwrap();
        let plans = [
            vec![],
            vec![Intervention::freeze(2)],
            vec![Intervention::random(1, 7)],
            vec![Intervention::shuffle(0, 7)],
            vec![Intervention::skip_attention(1)],
        ];
        for plan in plans {
            let what = format!("{architecture:?} {plan:?}");
            let a = run(&mut whole, plan.clone());
            let b = run(&mut pieces, plan);
            let moved = distance(&a.logits, &b.logits);
            assert!(moved < CLOSE, "{what}: {moved}");
            let rows = |o: &Outcome| o.touched.iter().map(|t| t.rows).sum::<usize>();
            assert_eq!(rows(&a), rows(&b), "{what}");
        }
    }
}

/// Cutting the prompt into two decodes is the same text all the same.
#[test]
fn two_batches_equal_one() {
    for architecture in attentive() {
        let mut engine = engine(architecture);
        for plan in [
            vec![],
            vec![Intervention::freeze(1)],
            vec![Intervention::random(2, 3)],
        ] {
            let whole = run(&mut engine, plan.clone());
            for cut in [7, 19] {
                let mut cut_request = request(plan.clone());
                cut_request.cuts = vec![cut];
                let pieces = engine.run(&cut_request).unwrap();
                let moved = distance(&whole.logits, &pieces.logits);
                assert!(
                    moved < CLOSE,
                    "{architecture:?} {plan:?} cut at {cut}: {moved}"
                );
            }
        }
    }
}

/// Rows of several sequences in one batch, interleaved, each under its own plan, equal each
/// sequence alone.
#[test]
fn several_sequences_equal_one_at_a_time() {
    for architecture in attentive() {
        let mut alone = engine(architecture);
        let model = alone.context().model().clone();
        let options = ContextOptions {
            n_seq_max: 3,
            n_ctx: 128,
            ..options()
        };
        let mut context = Context::new(model, &options).unwrap();
        let plans = [
            vec![],
            vec![Intervention::freeze(1)],
            vec![Intervention::random(2, 5)],
        ];
        let texts = [tokens(9), tokens(13), tokens(11)];
        let (rows, ends) = interleaved(&texts);
        let editors = |plans: &[Vec<Intervention>]| -> HashMap<u32, Editor> {
            let editor = |plan: &Vec<Intervention>| Editor::new(plan.clone().into(), N_LAYER);
            (0..).zip(plans.iter().map(editor)).collect()
        };
        context.decode(&rows, editors(&plans), None).unwrap();
        let together: Vec<Vec<f32>> = ends
            .iter()
            .map(|end| context.logits(*end).unwrap().to_vec())
            .collect();
        for n in 0..3 {
            let single = alone
                .run(&Request {
                    tokens: texts[n].clone(),
                    plan: plans[n].clone(),
                    ..Request::default()
                })
                .unwrap();
            let moved = distance(&together[n], &single.logits);
            assert!(moved < CLOSE, "{architecture:?} sequence {n}: {moved}");
        }
        // Negative control: with the plans handed to the wrong sequences it does not hold.
        context.clear();
        let swapped = [plans[1].clone(), plans[2].clone(), plans[0].clone()];
        context.decode(&rows, editors(&swapped), None).unwrap();
        let moved = distance(context.logits(ends[1]).unwrap(), &together[1]);
        assert!(moved > FAR, "{architecture:?}: {moved}");
    }
}

/// Rows of several texts in turns, and the row of each text's last token.
fn interleaved(texts: &[Vec<Token>]) -> (Vec<Row>, Vec<usize>) {
    let mut rows = Vec::new();
    let mut ends = vec![0; texts.len()];
    for position in 0..texts.iter().map(Vec::len).max().unwrap() {
        for (sequence, text) in texts.iter().enumerate() {
            let Some(token) = text.get(position) else {
                continue;
            };
            let last = position + 1 == text.len();
            if last {
                ends[sequence] = rows.len();
            }
            rows.push(Row {
                sequence: sequence as u32,
                position: position as u32,
                token: token.0,
                prior: !last,
                output: last,
            });
        }
    }
    (rows, ends)
}

/// Negative control for the row map: where llama.cpp regroups the rows of a batch, the hook
/// notices that they no longer follow it and refuses.
#[test]
fn rows_in_another_order_are_refused() {
    for architecture in attentive() {
        let model = model(architecture);
        let options = ContextOptions {
            n_seq_max: 2,
            n_ctx: 128,
            ..options()
        };
        let texts = [tokens(9), tokens(9).into_iter().rev().collect()];
        let (rows, _) = interleaved(&texts);
        let editors =
            || HashMap::from([(0, Editor::new([Intervention::freeze(1)].into(), N_LAYER))]);
        let mut apart = Context::with_separate_streams(model.clone(), &options).unwrap();
        let error = apart.decode(&rows, editors(), None).err();
        assert!(
            matches!(error, Some(RuntimeError::Hook(HookFault::RowOrder { .. }))),
            "{architecture:?}: {error:?}"
        );
        let mut unified = Context::new(model, &options).unwrap();
        unified.decode(&rows, editors(), None).unwrap();
        // ALiBi alone needs no positions in the graph.
        let has_positions = unified.anatomy().unwrap().positions.is_some();
        assert_eq!(has_positions, architecture != Architecture::Bloom);
    }
}
