//! What layers have, what they have not, and what is refused of them.

use std::sync::Arc;

use midlayer::engine::Engine;
use midlayer::hook::HookFault;
use midlayer::intervention::{Action, Intervention, Kind, LayerSpan, Site};
use midlayer::runtime::{Architecture, Context, Synthetic};

use super::{LAYERS, all, fault, request, tokens, with_kin};
use crate::common::tiny::{N_LAYER, decode, engine, model, options};

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
