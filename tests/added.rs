//! What layers add to the residual stream: `attn_out`, `mlp_out` and `heads`, on every architecture.

mod common;

use std::sync::Arc;

use common::outcomes;
use common::tiny::{CLOSE, FAR, N_LAYER, decode, distance, model, options, request, tokens};
use midlayer::engine::{Engine, EngineError, Planned, Request, Straightforward};
use midlayer::hook::{HookFault, NoMlp};
use midlayer::intervention::{HeadSet, Intervention, Kind, LayerSpan, PositionSet, Site, States};
use midlayer::runtime::{Architecture, Context, Model, RuntimeError, Synthetic, Token};

const SITES: [Site; 3] = [Site::AttnOut, Site::MlpOut, Site::HEADS];
/// Layers in which what is added to prior tokens reaches later ones.
const READ: [u32; 3] = [0, 1, 2];

fn all() -> impl Iterator<Item = Architecture> {
    Architecture::ALL.iter().copied()
}

/// Recurrent layers mix tokens in all that they add; a layer that is left out adds nothing.
fn has_mlp(architecture: Architecture, layer: u32) -> bool {
    let recurrent = [Architecture::Mamba, Architecture::Rwkv6];
    if architecture == Architecture::NemotronH {
        return layer % 4 == 2;
    }
    !recurrent.contains(&architecture) && !architecture.is_empty(layer)
}

fn has(architecture: Architecture, site: Site, layer: u32) -> bool {
    match site {
        Site::MlpOut => has_mlp(architecture, layer),
        _ => architecture.has_attention(layer),
    }
}

/// The lowest and the highest of [`READ`] at which a layer adds such a thing.
fn places(architecture: Architecture, site: Site) -> Vec<u32> {
    let mut places = READ.to_vec();
    places.retain(|layer| has(architecture, site, *layer));
    if let [first, .., last] = places[..] {
        places = vec![first, last];
    }
    places
}

fn zero(site: Site, layers: LayerSpan) -> Intervention {
    Intervention::new(Kind::Zero.action(0, None), layers).on(site)
}

/// Logits after a text whose tokens are all treated as prior ones, the last one too.
fn all_prior(model: &Arc<Model>, plan: Vec<Intervention>) -> Result<Vec<f32>, RuntimeError> {
    let mut context = Context::new(model.clone(), &options())?;
    Ok(decode(&mut context, &tokens(20), plan, None)?.0)
}

fn fresh(architecture: Architecture) -> Model {
    Synthetic::new(architecture).build().unwrap()
}

#[test]
fn layers_add_what_their_architecture_says() {
    for architecture in all() {
        let model = model(architecture);
        let context = Context::new(model.clone(), &options()).unwrap();
        let anatomy = context.anatomy().unwrap();
        for layer in 0..N_LAYER {
            let what = format!("{architecture} {layer}");
            let l = layer as usize;
            let mlp = anatomy.mlps[l].as_ref().map(|_| ());
            let expected = has_mlp(architecture, layer).then_some(());
            assert_eq!(mlp, expected.ok_or(&NoMlp::None), "{what}");
            let heads = anatomy.heads[l].as_ref();
            let n = model.heads().of_queries(layer);
            let expected = architecture.has_attention(layer).then_some(n).flatten();
            assert_eq!(heads.map(|heads| heads.n), expected, "{what}");
        }
    }
}

/// To the bit: what is added is zero either way, and all else the same.
#[test]
fn zeroing_what_is_added_is_having_weights_of_zero() {
    for architecture in all() {
        let own = model(architecture);
        let clean = all_prior(&own, vec![]).unwrap();
        for site in [Site::AttnOut, Site::MlpOut] {
            for k in places(architecture, site) {
                let what = format!("{architecture} {site} {k}");
                let zeroed = all_prior(&own, vec![zero(site, LayerSpan::from(k))]).unwrap();
                let without = match site {
                    Site::MlpOut => fresh(architecture).without_mlps(k),
                    _ => fresh(architecture).without_attention(k),
                };
                let without = all_prior(&Arc::new(without.unwrap()), vec![]).unwrap();
                assert_eq!(zeroed, without, "{what}");
                assert!(distance(&without, &clean) > FAR, "{what}");
                // One layer's left in place is not the same.
                let above = (k + 1..N_LAYER - 1).find(|l| has(architecture, site, *l));
                if let Some(above) = above {
                    let less = all_prior(&own, vec![zero(site, LayerSpan::from(above))]);
                    assert!(distance(&less.unwrap(), &without) > FAR, "{what}");
                }
            }
        }
    }
}

/// Prior tokens' states above a layer are those of the model with weights of zero in it, whatever
/// becomes of the last token.
#[test]
fn prior_tokens_alone_are_zeroed() {
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma2,
        Architecture::Phi2,
    ] {
        let mut engine = common::tiny::engine(architecture);
        let mut run = |plan| engine.run(&request(plan)).unwrap().logits;
        for site in SITES {
            let prior = run(vec![zero(site, LayerSpan::only(1))]);
            let everything = all_prior(&model(architecture), vec![zero(site, LayerSpan::only(1))]);
            let apart = distance(&prior, &everything.unwrap());
            assert!(apart > FAR, "{architecture} {site}: {apart}");
        }
    }
}

/// A head's share of what attention adds is what its columns of the output weights make of it, and
/// all heads are all of it but for a bias.
#[test]
fn zeroing_heads_is_having_columns_of_zero() {
    let mut without_bias = 0;
    for architecture in all().filter(|a| a.has_attention(1)) {
        let own = model(architecture);
        let n = own.heads().of_queries(1).unwrap();
        let of = |site| all_prior(&own, vec![zero(site, LayerSpan::only(1))]).unwrap();
        let clean = all_prior(&own, vec![]).unwrap();
        let mut less = fresh(architecture);
        let mut gone = Vec::new();
        for head in [n - 1].into_iter().chain(0..n - 1) {
            less = less.without_head(1, head).unwrap();
            gone.push(head as u32);
            // Alone, two together, and all.
            if ![1, 2, n].contains(&gone.len()) {
                continue;
            }
            let what = format!("{architecture} {gone:?}");
            let zeroed = of(Site::Heads(HeadSet::of(gone.iter().copied())));
            let model = Arc::new(less);
            let without = all_prior(&model, vec![]).unwrap();
            less = Arc::into_inner(model).unwrap();
            let apart = distance(&zeroed, &without);
            assert!(apart < CLOSE, "{what}: {apart}");
            assert!(distance(&without, &clean) > 2.0 * CLOSE, "{what}");
        }
        let every = of(Site::HEADS);
        assert_eq!(every, of(Site::Heads(HeadSet::of(0..n as u32))));
        if every == of(Site::AttnOut) {
            without_bias += 1;
        }
    }
    // Gemmas, Falcon and others have none there.
    assert!(without_bias >= 5, "{without_bias}");
}

/// The only head of a model that has one is all that attention adds.
#[test]
fn one_head_of_one_is_attn_out() {
    let one = Synthetic {
        n_head: 1,
        ..Synthetic::new(Architecture::Falcon)
    };
    let one = Arc::new(one.build().unwrap());
    assert_eq!(one.heads().of_queries(0), Some(1));
    let of = |site, kind: Kind| {
        let made = Intervention::new(kind.action(0, None), LayerSpan::only(1)).on(site);
        all_prior(&one, vec![made]).unwrap()
    };
    let first = Site::Heads(HeadSet::of([0]));
    let scaled = of(first, Kind::Scale);
    let apart = distance(&scaled, &of(Site::AttnOut, Kind::Scale));
    assert!(apart < CLOSE, "{apart}");
    assert!(distance(&scaled, &all_prior(&one, vec![]).unwrap()) > FAR);
}

/// Rewriting with itself changes nothing, to the bit.
#[test]
fn what_is_rewritten_with_itself_stays() {
    for architecture in all() {
        let mut engine = common::tiny::engine(architecture);
        let clean = engine.run(&request(vec![])).unwrap().logits;
        for site in SITES {
            for k in places(architecture, site) {
                let itself = Kind::control().action(0, None);
                let itself = Intervention::new(itself, LayerSpan::only(k)).on(site);
                let outcome = engine.run(&request(vec![itself])).unwrap();
                assert_eq!(outcome.logits, clean, "{architecture} {site} {k}");
                assert_eq!(outcome.touched[0].rows, 19, "{architecture} {site} {k}");
            }
        }
    }
}

fn fault(engine: &mut dyn Engine, plan: Intervention) -> HookFault {
    match engine.run(&request(vec![plan])) {
        Err(EngineError::Runtime(RuntimeError::Hook(fault))) => fault,
        other => panic!("{:?}", other.map(|o| o.touched)),
    }
}

#[test]
fn what_a_layer_does_not_add_is_refused() {
    for architecture in all() {
        let mut engine = common::tiny::engine(architecture);
        for layer in 0..N_LAYER {
            for site in SITES {
                let expected = match has(architecture, site, layer) {
                    true if layer + 1 < N_LAYER => continue,
                    true => HookFault::Unread(layer),
                    false if site == Site::MlpOut => HookFault::NoMlp(layer, NoMlp::None),
                    false => HookFault::NoAttention(layer),
                };
                let found = fault(&mut engine, zero(site, LayerSpan::only(layer)));
                assert_eq!(found, expected, "{architecture} {site}");
            }
        }
    }
    let mut engine = common::tiny::engine(Architecture::Llama);
    let none = Site::Heads(HeadSet::of([1, 4]));
    let found = fault(&mut engine, zero(none, LayerSpan::only(2)));
    let expected = HookFault::HeadCount {
        layer: 2,
        head: 4,
        n: 4,
    };
    assert_eq!(found, expected);
    assert!(found.to_string().contains("numbered from 0"), "{found}");
}

/// Plans of every kind at every layer, alone, of some tokens, in spans, together.
fn plans(architecture: Architecture) -> Vec<Vec<Intervention>> {
    let mut plans = vec![vec![]];
    let some = PositionSet::ranges([3..5, 11..12]);
    for site in SITES.into_iter().chain([Site::Heads(HeadSet::of([1, 3]))]) {
        for k in places(architecture, site) {
            for (kind, layers) in [
                (Kind::Random, LayerSpan::only(k)),
                (Kind::Scale, LayerSpan::from(k)),
            ] {
                let made = Intervention::new(kind.action(5, None), layers).on(site);
                plans.push(vec![made.clone()]);
                plans.push(vec![made.clone().at(some.clone())]);
                if k > 0 && architecture != Architecture::Gemma4 {
                    plans.push(vec![Intervention::random(k - 1, 3).at(some.clone()), made]);
                }
            }
        }
    }
    plans
}

/// Both strategies give the same, with tokens that follow and become prior.
#[test]
fn planned_is_straightforward() {
    for architecture in all().filter(|a| has_mlp(*a, 0)) {
        let model = model(architecture);
        let mut engine = Straightforward::new(model.clone(), &options()).unwrap();
        let mut planned = Planned::new(model, &options(), 8).unwrap();
        // A recurrent model cannot take a token back.
        let follow = match architecture.is_recurrent() {
            true => vec![],
            false => vec![vec![Token(9), Token(17), Token(5)]],
        };
        let requests: Vec<Request> = plans(architecture)
            .into_iter()
            .map(|plan| Request {
                continuations: follow.clone(),
                ..request(plan)
            })
            .collect();
        let fast = outcomes(&mut planned, &requests);
        // States are rewritten there with differences of as much.
        let close = match architecture {
            Architecture::Gemma4 => 5.0 * CLOSE,
            _ => CLOSE,
        };
        for (request, fast) in requests.iter().zip(fast) {
            let slow = engine.run(request).unwrap();
            let what = format!("{architecture} {:?}", request.plan);
            let after = fast.branches.iter().flatten();
            let after = after.zip(slow.branches.iter().flatten());
            let apart = after.map(|(a, b)| distance(a, b)).fold(0.0, f32::max);
            let apart = apart.max(distance(&fast.logits, &slow.logits));
            assert!(apart < close, "{what}: {apart}");
            assert_eq!(fast.branches.len(), follow.len(), "{what}");
        }
        let parts = !architecture.is_sparse() && architecture != Architecture::Gemma4;
        assert_eq!(planned.work().fallbacks == 0, parts, "{architecture}");
    }
}

/// What another text's layers add, put in place for all tokens of a layer, is kept and given back
/// as it was: a prompt with its own rows is clean, with a donor's it is not.
#[test]
fn rows_are_captured_and_given() {
    for architecture in [
        Architecture::Llama,
        Architecture::Falcon,
        Architecture::Gemma3,
    ] {
        let mut engine = common::tiny::engine(architecture);
        let clean = engine.run(&request(vec![])).unwrap().logits;
        for site in SITES {
            let mut states = |seed: i32| -> Arc<States> {
                let token = |i: i32| Token(3 + (i * 7 + seed) % 89);
                let tokens: Vec<Token> = (0..20).map(token).collect();
                let captured = engine.captured(&tokens, 0, &[site.target()]).unwrap();
                Arc::new(captured.of(site.target()).clone())
            };
            let (own, other) = (states(0), states(31));
            assert!(own.get(1, 18).is_some() && own.get(3, 19).is_some());
            let mut with = |states| {
                let given = Intervention::given(1, states, PositionSet::all()).on(site);
                engine.run(&request(vec![given])).unwrap().logits
            };
            assert_eq!(with(own), clean, "{architecture} {site}");
            let moved = distance(&with(other), &clean);
            assert!(moved > FAR, "{architecture} {site}: {moved}");
        }
    }
}
