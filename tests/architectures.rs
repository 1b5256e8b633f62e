//! Every architecture that a synthetic model can have: that the places found in its graph are
//! the right ones, and that what it has no place for is refused.

mod common;

use std::sync::Arc;

use common::outcomes;
use common::tiny::{CLOSE, FAR, N_LAYER, decode, distance, engine, model, options};
use midlayer::engine::{Engine, EngineError, Outcome, Planned, Request, Straightforward};
use midlayer::hook::{AnatomyError, Capture, HookFault};
use midlayer::intervention::{
    Action, Intervention, Kind, LayerSpan, PositionSet, Site, States, Target,
};
use midlayer::runtime::{Architecture, Context, ContextOptions, RuntimeError, Synthetic, Token};

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

/// What an architecture says of its layers is what is found in its graph.
#[test]
fn layers_have_what_their_architecture_says() {
    for architecture in with_kin() {
        let model = model(architecture);
        let named = &model.facts().architecture;
        assert_eq!(named, architecture.llama_cpp_name());
        let context = Context::new(model, &options()).unwrap();
        let anatomy = context.anatomy().unwrap();
        let latent = architecture.is_latent();
        for layer in LAYERS {
            let what = format!("{architecture} {layer}");
            let (l, apart) = (layer as usize, architecture.has_cache(layer) && !latent);
            let attention = anatomy.attention[l].is_some();
            assert_eq!(attention, architecture.has_attention(layer), "{what}");
            assert_eq!(anatomy.keys[l].is_some(), apart, "{what}");
            assert_eq!(anatomy.values[l].is_some(), apart, "{what}");
            let joined = architecture.has_cache(layer) && latent;
            assert_eq!(anatomy.joined[l], joined, "{what}");
            let reads = architecture.has_attention(layer);
            assert_eq!(anatomy.reads_cache[l], reads, "{what}");
            let below = l
                .checked_sub(1)
                .filter(|_| architecture.is_empty(layer - 1));
            let shared = below.is_some_and(|below| anatomy.inputs[below] == anatomy.inputs[l]);
            assert_eq!(shared, below.is_some(), "{what}");
            let borrows = architecture.has_attention(layer) && !architecture.has_cache(layer);
            assert_eq!(anatomy.borrows[l].is_some(), borrows, "{what}");
        }
        let recurrent = anatomy.edges.kept.is_some();
        assert_eq!(recurrent, architecture.is_recurrent(), "{architecture}");
    }
}

/// A layer without attention has none to skip, one without a cache no keys and values: refused,
/// never a silent clean run.
#[test]
fn what_a_layer_has_not_is_refused() {
    for architecture in all() {
        let mut engine = engine(architecture);
        for layer in LAYERS {
            let only = |action| Intervention::new(action, LayerSpan::only(layer));
            if !architecture.has_attention(layer) {
                let skip = fault(engine.run(&request(vec![only(Action::SkipAttention)])));
                assert_eq!(skip, HookFault::NoAttention(layer), "{architecture}");
            }
            for (site, what) in [(Site::Keys, "keys"), (Site::Values, "values")] {
                let zero = engine.run(&request(vec![only(Kind::Zero.action(0, None)).on(site)]));
                let expected = match (architecture.has_cache(layer), architecture.is_latent()) {
                    (false, _) => HookFault::NoCache(layer, what),
                    (true, true) => HookFault::Joined(layer, what),
                    (true, false) => {
                        let touched = zero.unwrap().touched[0].rows;
                        assert!(touched >= 19, "{architecture} {layer}: {touched}");
                        continue;
                    }
                };
                assert_eq!(fault(zero), expected, "{architecture}");
            }
        }
    }
}

/// Over layers that have none, a span passes: attention is skipped, keys and values rewritten,
/// where there are any. Where it begins, there must be some.
#[test]
fn a_span_passes_over_layers_that_have_nothing() {
    for architecture in all().filter(|a| (0..N_LAYER).any(|l| !a.has_attention(l))) {
        let mut engine = engine(architecture);
        for k in LAYERS {
            let what = format!("{architecture} {k}");
            let with = (k..N_LAYER).filter(|layer| architecture.has_attention(*layer));
            let with: Vec<u32> = with.collect();
            let actions = [
                (Action::SkipAttention, Site::Residual),
                (Kind::Random.action(3, None), Site::Keys),
                (Kind::Zero.action(0, None), Site::Values),
            ];
            for (action, site) in actions {
                if site != Site::Residual && architecture.is_latent() {
                    continue;
                }
                let on = |span| Intervention::new(action.clone(), span).on(site);
                let span = request(vec![on(LayerSpan::from(k))]);
                if !architecture.has_attention(k) {
                    let expected = match site {
                        Site::Keys => HookFault::NoCache(k, "keys"),
                        Site::Values => HookFault::NoCache(k, "values"),
                        _ => HookFault::NoAttention(k),
                    };
                    assert_eq!(fault(engine.run(&span)), expected, "{what}");
                    continue;
                }
                let alone = with.iter().map(|layer| on(LayerSpan::only(*layer)));
                let alone = request(alone.collect());
                let (span, alone) = (engine.run(&span).unwrap(), engine.run(&alone).unwrap());
                assert_eq!(span.logits, alone.logits, "{what} {site}");
                assert_eq!(span.touched, alone.touched, "{what} {site}");
            }
        }
    }
}

/// A layer that llama.cpp leaves out of the graph is entered by the state that enters the next
/// one, in all respects.
#[test]
fn a_layer_without_anything_is_its_own_input() {
    for (architecture, empty) in [(Architecture::Deci, 2), (Architecture::DeciLinear, 1)] {
        let mut engine = engine(architecture);
        let clean = engine.run(&request(vec![])).unwrap().logits;
        let next = empty + 1;
        let mut of = |plan: Vec<Intervention>| engine.run(&request(plan)).unwrap().logits;
        let zero = |k| Intervention::new(Kind::Zero.action(0, None), LayerSpan::only(k));
        assert_eq!(
            of(vec![zero(empty)]),
            of(vec![zero(next)]),
            "{architecture}"
        );
        assert_ne!(of(vec![zero(empty)]), clean, "{architecture}");
        // What is done at the empty layer is what the next one meets.
        let shuffled = of(vec![Intervention::shuffle(empty, 1)]);
        let twice = of(vec![
            Intervention::shuffle(empty, 1),
            Intervention::new(Kind::Zero.action(0, None), LayerSpan::only(next)),
        ]);
        assert_ne!(shuffled, twice, "{architecture}");
        assert_eq!(twice, of(vec![zero(next)]), "{architecture}");
        // Freeze at the layer above copies the state that it has already.
        let held = of(vec![Intervention::new(
            Action::Freeze,
            LayerSpan::only(next),
        )]);
        assert_eq!(held, clean, "{architecture}");
    }
}

/// Both strategies give the same, layer by layer, where layers share a state, have an MLP alone,
/// or heads of another number.
#[test]
fn uneven_layers_are_the_same_by_both_strategies() {
    for architecture in [
        Architecture::Deci,
        Architecture::DeciLinear,
        Architecture::Openelm,
    ] {
        let model = model(architecture);
        let mut planned = Planned::new(model.clone(), &options(), 8).unwrap();
        let mut slow = Straightforward::new(model, &options()).unwrap();
        let mut plans = vec![vec![]];
        for k in LAYERS {
            plans.push(vec![Intervention::random(k, 3)]);
            plans.push(vec![Intervention::shuffle(k, 3)]);
            plans.push(vec![Intervention::new(
                Kind::Zero.action(0, None),
                LayerSpan::window(k, 2),
            )]);
            plans.push(vec![
                Intervention::random(k, 3).at(PositionSet::ranges([8..13])),
            ]);
            if k > 0 {
                plans.push(vec![Intervention::freeze(k)]);
                let window = LayerSpan::window(k, 2);
                plans.push(vec![Intervention::new(Action::Freeze, window)]);
                plans.push(vec![
                    Intervention::random(k - 1, 3),
                    Intervention::freeze(k),
                ]);
            }
            if architecture.has_attention(k) {
                plans.push(vec![Intervention::skip_attention(k)]);
            }
        }
        let follow = |request: Request| Request {
            continuations: vec![vec![Token(9), Token(17), Token(5)]],
            ..request
        };
        let requests: Vec<Request> = plans.into_iter().map(|p| follow(request(p))).collect();
        let fast = outcomes(&mut planned, &requests);
        for (request, fast) in requests.iter().zip(fast) {
            let slow = slow.run(request).unwrap();
            let what = format!("{architecture} {:?}", request.plan);
            let branches = fast
                .branches
                .iter()
                .flatten()
                .zip(slow.branches.iter().flatten());
            let apart = branches.map(|(a, b)| distance(a, b)).fold(0.0, f32::max);
            let apart = apart.max(distance(&fast.logits, &slow.logits));
            assert!(apart < CLOSE, "{what}: {apart}");
            assert_eq!(fast.branches[0].len(), 3, "{what}");
        }
        assert_eq!(planned.work().fallbacks, 0, "{architecture}");
    }
}

#[test]
fn a_graph_of_one_row_is_refused() {
    for (n_batch, n_ubatch) in [(64, 1), (1, 64)] {
        let narrow = ContextOptions {
            n_batch,
            n_ubatch,
            ..options()
        };
        let made = Context::new(model(Architecture::Llama), &narrow);
        let Some(RuntimeError::Anatomy(error)) = made.err() else {
            panic!("made of one row");
        };
        assert_eq!(error, AnatomyError::OneRow);
        assert!(error.to_string().contains("n_ubatch"), "{error}");
    }
    for n_ubatch in [2, 3] {
        let narrow = ContextOptions {
            n_ubatch,
            ..options()
        };
        let context = Context::new(model(Architecture::Llama), &narrow).unwrap();
        let anatomy = context.anatomy().unwrap();
        let sites = anatomy.keys.iter().chain(&anatomy.values);
        let heads: Vec<usize> = sites.map(|site| site.as_ref().unwrap().head).collect();
        assert_eq!(heads, [16; 8]);
    }
}

/// The width of heads that the graph shows is the one that the metadata state.
#[test]
fn heads_are_as_wide_as_the_metadata_say() {
    for architecture in all() {
        let model = model(architecture);
        let context = Context::new(model.clone(), &options()).unwrap();
        let anatomy = context.anatomy().unwrap();
        for layer in LAYERS {
            let what = format!("{architecture} {layer}");
            let own = context.anatomy().unwrap().keys[layer as usize].as_ref();
            let Some(key) = own else { continue };
            let value = anatomy.values[layer as usize].as_ref().unwrap();
            let heads = model.heads();
            let n = |head: usize| (1..64).find(|n| heads.of_keys(layer, n * head) == Some(head));
            assert!(n(key.head).is_some(), "{what}: {}", key.head);
            let n = |head: usize| {
                (1..64).find(|n| heads.of_values(layer, n * head) == Some((head, n * head)))
            };
            assert!(n(value.head).is_some(), "{what}: {}", value.head);
        }
    }
}

#[test]
fn a_graph_with_a_path_around_its_layers_is_refused() {
    let error = |architecture| {
        let made = Context::new(model(architecture), &options());
        match made.err() {
            Some(RuntimeError::Anatomy(error)) => error,
            other => panic!("{architecture}: {other:?}"),
        }
    };
    let around = [
        (Architecture::Rwkv7, 1),
        (Architecture::Arwkv7, 1),
        (Architecture::Talkie, 1),
        (Architecture::Gemma4PerLayer, 1),
        (Architecture::KimiK3, 1),
        (Architecture::HrmText, 0),
    ];
    for (architecture, layer) in around {
        let expected = AnatomyError::Bypassed(layer);
        assert_eq!(error(architecture), expected, "{architecture}");
    }
    let streams = [
        Architecture::Gemma3n,
        Architecture::HyV4,
        Architecture::Deepseek4,
        Architecture::Glm5Next,
        Architecture::Qwen4Exp,
    ];
    for architecture in streams {
        let expected = AnatomyError::NoLayerOutput(0);
        assert_eq!(error(architecture), expected, "{architecture}");
    }
    assert_eq!(error(Architecture::GraniteSwitch), AnatomyError::NoTokens);
    let first = AnatomyError::OtherLogits { found: 3, asked: 1 };
    assert_eq!(error(Architecture::Cogvlm), first);
    // And a diffusion model.
    let n = around.len() + streams.len() + 3;
    assert_eq!(Architecture::REFUSED.len(), n);
}

#[test]
fn a_diffusion_model_is_refused_by_name() {
    let made = Context::new(model(Architecture::Llada), &options());
    let error = made.err().expect("tokens that see later ones");
    assert!(
        error.to_string().contains("llada is a diffusion model"),
        "{error}"
    );
}

/// In hybrid models the layers that have keys and values have them like any other.
#[test]
fn hybrid_models_own_entries_given_back_are_clean() {
    for architecture in hybrids().filter(|a| !a.is_latent()) {
        let mut engine = engine(architecture);
        let clean = engine.run(&request(vec![])).unwrap().logits;
        let layers = LAYERS.into_iter().filter(|l| architecture.has_cache(*l));
        let layers: Vec<u32> = layers.collect();
        let mut context = Context::new(model(architecture), &options()).unwrap();
        let mut entries = |tokens: &[Token]| {
            let capture = Capture {
                targets: vec![Target::Keys, Target::Values],
                layers: layers.iter().copied().collect(),
                ..Capture::default()
            };
            let (_, mut seen) = decode(&mut context, tokens, vec![], Some(capture)).unwrap();
            seen.states.remove(&0).unwrap()
        };
        let (own, other) = (entries(&tokens(0)), entries(&tokens(31)));
        let mut give = |keys: &States, values: &States| {
            let mut plan = Vec::new();
            for layer in &layers {
                for (site, states) in [(Site::Keys, keys), (Site::Values, values)] {
                    let states = Arc::new(states.clone());
                    let given = Intervention::given(*layer, states, PositionSet::all());
                    plan.push(given.on(site));
                }
            }
            engine.run(&request(plan)).unwrap().logits
        };
        assert_eq!(give(&own.keys, &own.values), clean, "{architecture}");
        for (keys, values) in [(&own.keys, &other.values), (&other.keys, &own.values)] {
            let moved = distance(&give(keys, values), &clean);
            assert!(moved > CLOSE, "{architecture}: {moved}");
        }
    }
}

/// Where a graph cannot be computed in part, the planned strategy runs whole, says why, and
/// gives the same.
#[test]
fn planned_runs_whole_what_it_cannot_cut() {
    for architecture in all().filter(|a| a.is_sparse()) {
        let skip = (0..N_LAYER).filter(|l| architecture.has_attention(*l));
        let skip = skip.map(|l| Intervention::new(Action::SkipAttention, LayerSpan::only(l)));
        let plans = [
            vec![],
            vec![Intervention::random(1, 3)],
            vec![Intervention::shuffle(2, 3)],
            vec![Intervention::freeze(2)],
            skip.collect(),
        ];
        // Texts that begin alike, that do not, and of several lengths.
        let text = |n: usize| match n {
            0 => tokens(0),
            1 => [&tokens(0)[..9], &tokens(31)[..5]].concat(),
            _ => tokens(17)[..16].to_vec(),
        };
        let of = |n: usize| {
            let on = |plan: &Vec<Intervention>| Request {
                tokens: text(n),
                plan: plan.clone(),
                ..Request::default()
            };
            plans.iter().map(on).collect::<Vec<_>>()
        };
        for requests in [of(0), [of(0), of(1)].concat(), [of(0), of(2)].concat()] {
            let mut planned = Planned::new(model(architecture), &options(), 8).unwrap();
            let mut slow = engine(architecture);
            let fast = outcomes(&mut planned, &requests);
            let slow = outcomes(&mut slow, &requests);
            for ((request, a), b) in requests.iter().zip(&fast).zip(&slow) {
                let apart = distance(&a.logits, &b.logits);
                assert!(apart < CLOSE, "{architecture} {:?}: {apart}", request.plan);
            }
            let work = planned.work();
            let manipulated = requests.iter().filter(|r| !r.plan.is_empty()).count();
            assert!(work.fallbacks >= manipulated as u64, "{architecture}");
            let reason = work.reason.unwrap();
            let why = "sparse attention";
            assert!(reason.contains(why), "{architecture}: {reason}");
        }
    }
}

/// Where upper layers read what lower ones keep, both strategies do the same, or refuse the same.
#[test]
fn borrowed_keys_and_values_are_minded_by_both_strategies() {
    let model = model(Architecture::Gemma4);
    let mut planned = Planned::new(model.clone(), &options(), 8).unwrap();
    let mut slow = Straightforward::new(model, &options()).unwrap();
    let mut plans = vec![
        vec![],
        vec![Intervention::random(0, 3)],
        vec![Intervention::new(
            Kind::Zero.action(0, None),
            LayerSpan::from(0),
        )],
    ];
    plans.extend(LAYERS.map(|k| vec![Intervention::skip_attention(k)]));
    let requests: Vec<Request> = plans.into_iter().map(request).collect();
    let fast = outcomes(&mut planned, &requests);
    for (request, fast) in requests.iter().zip(fast) {
        let slow = slow.run(request).unwrap();
        let apart = distance(&fast.logits, &slow.logits);
        assert!(apart < CLOSE, "{:?}: {apart}", request.plan);
    }
    assert_eq!(planned.work().fallbacks, 0);
    for k in 1..N_LAYER {
        let above = request(vec![Intervention::random(k, 3)]);
        let mut none = |_, _| panic!("nothing is handed over");
        let refused = planned.run_all(std::slice::from_ref(&above), &mut none);
        let expected = fault(slow.run(&above));
        assert!(matches!(expected, HookFault::Borrowed { layer, .. } if layer == k));
        match refused.unwrap_err().request().1 {
            EngineError::Runtime(RuntimeError::Hook(fault)) => assert_eq!(fault, expected),
            other => panic!("{k}: {other}"),
        }
    }
    let reason = planned.work().reason.unwrap();
    assert!(reason.contains("below the cut"), "{reason}");
}

/// Layers that predict further tokens are not counted, and change nothing. These are the
/// architectures that have any: llama.cpp loads them of no other one, or of none in memory.
#[test]
fn predictors_of_further_tokens_are_no_layers() {
    for architecture in [
        Architecture::Deepseek2,
        Architecture::Deepseek2Latent,
        Architecture::Deepseek32,
        Architecture::Qwen3Next,
        Architecture::Qwen35,
        Architecture::Cohere2Experts,
        Architecture::Glm4Experts,
        Architecture::HyV3,
        Architecture::Mimo2,
        Architecture::Qwen35Experts,
        Architecture::Step35,
        Architecture::BailingExperts3,
        Architecture::GlmDsa,
    ] {
        let with = Synthetic {
            predictors: 1,
            ..Synthetic::new(architecture)
        };
        let with = Arc::new(with.build().unwrap());
        let [with, without] = [with, model(architecture)].map(|model| {
            assert_eq!(model.n_layer(), N_LAYER, "{architecture}");
            let mut context = Context::new(model, &options()).unwrap();
            assert_eq!(context.anatomy().unwrap().inputs.len(), 4, "{architecture}");
            decode(&mut context, &tokens(0), vec![], None).unwrap().0
        });
        assert_eq!(with, without, "{architecture}");
    }
}
