//! Models whose layers carry a state from token to token besides keys and values: hybrids, and
//! those without attention. From the manipulated layer up they are computed in part.

mod common;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use common::outcomes;
use common::tiny::{CLOSE, FAR, N_LAYER, decode, distance, engine, model, options};
use midlayer::engine::{Engine, EngineError, Planned, Request, Straightforward};
use midlayer::hook::{CacheFill, Capture, Cut, HookFault, Kept, Row, Start};
use midlayer::intervention::{
    Action, Editor, Extent, Intervention, Kind, LayerSpan, PositionSet, States, Target,
};
use midlayer::runtime::{Architecture, Context, ContextOptions, RuntimeError, Token};

const LAYERS: [u32; 4] = [0, 1, 2, 3];

fn kept(architecture: Architecture) -> Option<Kept> {
    let context = Context::new(model(architecture), &options()).unwrap();
    context.anatomy().unwrap().edges.kept.clone()
}

/// All whose layers keep a state, those that are put together as others are included.
fn recurrent() -> impl Iterator<Item = Architecture> {
    let all = Architecture::ALL.iter().chain(Architecture::KIN);
    all.copied().filter(|a| a.is_recurrent())
}

fn tokens(n: i32, seed: i32) -> Vec<Token> {
    (0..n).map(|i| Token(3 + (i * 7 + seed) % 89)).collect()
}

/// What can be done to prior tokens from some layer up, or at some layers.
fn plans(architecture: Architecture, inject: &Arc<States>) -> Vec<Vec<Intervention>> {
    let mut plans = Vec::new();
    // From the top down, so that what each leaves is there for the next, which begins below.
    for k in LAYERS.into_iter().rev() {
        let some = PositionSet::ranges([5..7, 11..14]);
        let all = PositionSet::all();
        for kind in [Kind::Random, Kind::Shuffle, Kind::Zero, Kind::Freeze] {
            if kind.is_defined(k, N_LAYER) {
                let paper = kind.intervention(k, 7, Extent::Paper, all.clone(), None);
                plans.push(vec![paper]);
                let window = kind.intervention(k, 7, Extent::Window(2), some.clone(), None);
                plans.push(vec![window]);
            }
        }
        plans.push(vec![Intervention::given(k, inject.clone(), some.clone())]);
        if architecture.has_attention(k) {
            plans.push(vec![Intervention::skip_attention(k)]);
            let only = Intervention::new(Action::SkipAttention, LayerSpan::only(k));
            plans.push(vec![only.at(some.clone())]);
            plans.push(vec![Intervention::hide(k, some.clone())]);
        }
        if k > 1 {
            let below = Intervention::random(k - 1, 3).at(some);
            plans.push(vec![below, Intervention::freeze(k)]);
        }
    }
    plans.push(vec![]);
    plans
}

fn on(tokens: &[Token], plan: &[Intervention]) -> Request {
    Request {
        tokens: tokens.to_vec(),
        plan: plan.to_vec(),
        ..Request::default()
    }
}

fn states_of(architecture: Architecture, tokens: &[Token]) -> Arc<States> {
    let capture = Capture {
        targets: vec![Target::Input],
        layers: LAYERS.into(),
        ..Capture::default()
    };
    let mut context = Context::new(model(architecture), &options()).unwrap();
    let (_, mut seen) = decode(&mut context, tokens, vec![], Some(capture)).unwrap();
    Arc::new(seen.states.remove(&0).unwrap().inputs)
}

/// Each layer's memory is its own: what is written to it, and what is begun at zero.
#[test]
fn each_layer_keeps_its_own() {
    for architecture in recurrent() {
        let kept = kept(architecture).unwrap();
        assert!(kept.is_apart, "{architecture}");
        let of: HashSet<Option<u32>> = kept.writes.iter().map(|(_, layer)| *layer).collect();
        assert!(of.contains(&None), "{architecture}: nothing begins at zero");
        assert!(of.contains(&Some(0)), "{architecture}");
        // Every second layer at least has one, or has attention.
        for layer in LAYERS.map(Some).iter().filter(|l| !of.contains(l)) {
            let layer = layer.unwrap();
            let other = architecture.has_attention(layer) || layer % 2 == 0;
            assert!(other, "{architecture} {layer}");
        }
    }
}

/// Both strategies give the same, to the bit: every row of a part is computed in a batch of the
/// same shape. Texts of two lengths, one after the other and together, and small batches, in which
/// a text's state goes on from one to the next.
#[test]
fn a_part_is_what_the_whole_gives() {
    let small = ContextOptions {
        n_batch: 12,
        n_ubatch: 5,
        ..options()
    };
    for architecture in recurrent() {
        let texts = [tokens(20, 0), tokens(15, 31)];
        let plans = plans(architecture, &states_of(architecture, &tokens(20, 17)));
        for (options, apart) in [
            (options(), false),
            (options(), true),
            (small.clone(), false),
        ] {
            let mut slow = Straightforward::new(model(architecture), &options).unwrap();
            let mut planned = Planned::new(model(architecture), &options, 8).unwrap();
            let mut told = 0;
            // In calls of their own and in small batches some, and others for each architecture.
            let every = if apart {
                4
            } else {
                usize::from(options.n_batch < 20) + 1
            };
            let some = plans.iter().skip(architecture as usize % every);
            let both: Vec<Request> = some
                .step_by(every)
                .flat_map(|plan| texts.iter().map(|text| on(text, plan)))
                .collect();
            let calls: Vec<Vec<Request>> = match apart {
                true => both.into_iter().map(|request| vec![request]).collect(),
                false => vec![both],
            };
            for requests in calls {
                let cost = planned.cost(&requests).layer_rows(N_LAYER);
                let before = planned.work().layer_rows;
                let fast = outcomes(&mut planned, &requests);
                assert_eq!(planned.work().layer_rows - before, cost, "{architecture}");
                for (request, fast) in requests.iter().zip(fast) {
                    let slow = slow.run(request).unwrap();
                    let what = format!("{architecture} {:?}", request.plan);
                    assert_eq!(fast.logits, slow.logits, "{what}");
                    assert_eq!(fast.touched, slow.touched, "{what}");
                    told += 1;
                }
            }
            assert!(told > plans.len() / 3, "{architecture}");
            let work = planned.work();
            assert_eq!(work.fallbacks, 0, "{architecture}: {:?}", work.reason);
            assert_eq!(work.cache_rows, 0, "{architecture}");
        }
    }
}

/// Of a manipulation at layer k of n, the layers from k up are computed of every row, and a clean
/// run of all.
#[test]
fn work_is_that_of_the_layers_above() {
    for architecture in [Architecture::Jamba, Architecture::Mamba] {
        let text = tokens(20, 0);
        let mut planned = Planned::new(model(architecture), &options(), 8).unwrap();
        let mut requests = vec![on(&text, &[])];
        requests.extend(LAYERS.map(|k| on(&text, &[Intervention::random(k, 3)])));
        outcomes(&mut planned, &requests);
        assert_eq!(planned.work().layer_rows, 20 * (4 + 4 + 3 + 2 + 1));
        assert_eq!(planned.work().decodes, 5);
    }
}

/// Tokens that follow need the states of all layers: such texts run whole, are counted, and are
/// right.
#[test]
fn what_goes_on_runs_whole_and_says_so() {
    for architecture in [Architecture::Mamba, Architecture::Jamba] {
        let plans = [
            vec![],
            vec![Intervention::random(1, 3)],
            vec![Intervention::freeze(2)],
        ];
        let follow = |plan: &Vec<Intervention>| Request {
            continuations: vec![vec![Token(9), Token(17)]],
            // Nothing is decoded again, which recurrent state does not allow.
            manipulate_generated: false,
            ..on(&tokens(20, 0), plan)
        };
        let requests: Vec<Request> = plans.iter().map(follow).collect();
        let mut planned = Planned::new(model(architecture), &options(), 8).unwrap();
        let fast = outcomes(&mut planned, &requests);
        let slow = outcomes(&mut engine(architecture), &requests);
        for (fast, slow) in fast.iter().zip(&slow) {
            assert_eq!(fast.logits, slow.logits, "{architecture}");
            assert_eq!(fast.branches, slow.branches, "{architecture}");
            assert_eq!(fast.branches[0].len(), 2, "{architecture}");
        }
        assert_eq!(planned.work().fallbacks, 2, "{architecture}");
        let reason = planned.work().reason.unwrap();
        assert!(reason.contains("recurrent state"), "{reason}");
    }
}

/// Another sequence's part, computed in between, leaves a text's state as it was.
#[test]
fn a_part_leaves_other_sequences_as_they_are() {
    let options = ContextOptions {
        n_seq_max: 3,
        ..options()
    };
    for architecture in recurrent() {
        let (text, other) = (tokens(12, 0), tokens(9, 31));
        let states = states_of(architecture, &other);
        let row = |sequence: u32, text: &[Token], i: usize| Row {
            sequence,
            position: i as u32,
            token: text[i].0,
            prior: i + 1 < text.len(),
            output: i + 1 == text.len(),
        };
        let begin: Vec<Row> = (0..7).map(|i| row(1, &text, i)).collect();
        let end: Vec<Row> = (7..12).map(|i| row(1, &text, i)).collect();
        let part: Vec<Row> = (0..9).map(|i| row(0, &other, i)).collect();
        let mut context = Context::new(model(architecture), &options).unwrap();
        let mut run = |layers: &[u32]| {
            context.clear();
            context.decode(&begin, HashMap::new(), None).unwrap();
            let mut parts = Vec::new();
            for &first in layers {
                let cut = Cut {
                    first,
                    cache: CacheFill::FromFirst,
                    silent: false,
                    onward: true,
                };
                let start = Start {
                    states: states.clone(),
                    from: first,
                    frozen: None,
                };
                let starts = vec![start; 9];
                let none = HashMap::new();
                context.decode_part(&part, none, &cut, starts).unwrap();
                parts.push(context.logits(8).unwrap().to_vec());
                context.rewind(0, 0).unwrap();
            }
            context.decode(&end, HashMap::new(), None).unwrap();
            (context.logits(4).unwrap().to_vec(), parts)
        };
        let (alone, _) = run(&[]);
        let (beside, parts) = run(&[3, 1, 2, 0, 2]);
        assert!(distance(&alone, &beside) < CLOSE, "{architecture}");
        let clean = engine(architecture).run(&on(&other, &[])).unwrap().logits;
        for (n, part) in parts.iter().enumerate() {
            let apart = distance(part, &clean);
            assert!(apart < CLOSE, "{architecture} {n}: {apart}");
        }
        assert!(distance(&alone, &clean) > FAR, "{architecture}");
    }
}

/// Recurrent state cannot be wound back, so the newest token cannot become a manipulated prior
/// one; without that, text can be continued.
#[test]
fn recurrent_models_are_continued_only_where_nothing_is_decoded_again() {
    for architecture in recurrent() {
        let mut engine = engine(architecture);
        let mut step = on(&tokens(20, 0), &[Intervention::random(1, 1)]);
        step.continuations = vec![vec![Token(5)]];
        let error = engine.run(&step).unwrap_err();
        let expected = matches!(error, EngineError::Runtime(RuntimeError::CannotRewind));
        assert!(expected, "{architecture}: {error}");
    }
}

/// Recurrent models split rows by sequence. In the batch's order that is as good as alone;
/// otherwise the rows are not the batch's, which is noticed.
#[test]
fn recurrent_models_take_sequences_one_after_the_other() {
    let all = Architecture::ALL.iter().copied();
    for architecture in all.filter(|a| a.is_recurrent()) {
        let both = ContextOptions {
            n_seq_max: 2,
            n_ctx: 128,
            ..options()
        };
        let mut context = Context::new(model(architecture), &both).unwrap();
        let texts = [tokens(20, 0), tokens(20, 31)];
        let row = |sequence: usize, position: usize| Row {
            sequence: sequence as u32,
            position: position as u32,
            token: texts[sequence][position].0,
            prior: position < 19,
            output: position == 19,
        };
        let plans = [
            vec![Intervention::random(0, 1)],
            vec![Intervention::freeze(1)],
        ];
        let editors = || {
            let editor = |plan: &Vec<Intervention>| Editor::new(plan.clone().into(), N_LAYER);
            (0..).zip(plans.iter().map(editor)).collect()
        };
        let ordered: Vec<Row> = (0..40).map(|n| row(n / 20, n % 20)).collect();
        context.decode(&ordered, editors(), None).unwrap();
        let mut alone = engine(architecture);
        for (n, plan) in plans.iter().enumerate() {
            let request = Request {
                tokens: texts[n].clone(),
                plan: plan.clone(),
                ..Request::default()
            };
            let alone = alone.run(&request).unwrap().logits;
            let apart = distance(context.logits(n * 20 + 19).unwrap(), &alone);
            assert!(apart < CLOSE, "{architecture} {n}: {apart}");
        }
        context.clear();
        let mixed: Vec<Row> = (0..40).map(|n| row(n % 2, n / 2)).collect();
        let error = context.decode(&mixed, editors(), None).err();
        let noticed = matches!(error, Some(RuntimeError::Hook(HookFault::RowOrder { .. })));
        assert!(noticed, "{architecture}: {error:?}");
    }
}
