//! Keys and values themselves: rewriting what the cache holds must reach every later token and
//! nothing else. Freeze shows it: by keys and values it must give the logits that it gives by
//! the residual stream, since those are all that later tokens see.

mod common;

use std::sync::Arc;

use common::golden::Golden;
use common::{attentive, default_model_at, engine_of, exact_options};
use midlayer::engine::{Engine, EngineError, Prompt, Request, Straightforward, scaffold_states};
use midlayer::hook::HookFault;
use midlayer::intervention::{
    Action, Extent, Intervention, Kind, LayerSpan, PositionSet, Site, States, Target,
};
use midlayer::runtime::{
    Architecture, CacheType, ContextOptions, FlashAttention, RuntimeError, Synthetic, Token,
};

const FAR: f32 = 1e-2;

fn tiny_options(cache: CacheType, flash_attention: FlashAttention) -> ContextOptions {
    ContextOptions {
        n_ctx: 64,
        n_batch: 64,
        cache_k: cache,
        cache_v: cache,
        flash_attention,
        ..exact_options()
    }
}

fn tiny(architecture: Architecture) -> Straightforward {
    let model = Synthetic::new(architecture).build().unwrap();
    let options = tiny_options(CacheType::F32, FlashAttention::Off);
    Straightforward::new(Arc::new(model), &options).unwrap()
}

/// Those whose layers keep keys and values apart.
fn keeping_both() -> impl Iterator<Item = Architecture> {
    attentive().filter(|a| !a.is_latent())
}

fn request(plan: Vec<Intervention>) -> Request {
    Request {
        tokens: (0..20).map(|i| Token(3 + (i * 7) % 89)).collect(),
        plan,
        ..Request::default()
    }
}

/// An intervention on keys and on values.
fn on_both(intervention: &Intervention) -> Vec<Intervention> {
    [Site::Keys, Site::Values]
        .map(|site| intervention.clone().on(site))
        .to_vec()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

fn logits(engine: &mut Straightforward, request: &Request) -> Vec<f32> {
    engine.run(request).unwrap().logits
}

/// Freeze by keys and values against freeze by the residual stream, at every layer, at the
/// prompt and along a continuation.
fn freeze_both_ways(engine: &mut Straightforward, base: &Request, tolerance: f32, what: &str) {
    let clean = logits(engine, base);
    let mut moved = 0.0f32;
    let last = engine.facts().n_layer - 1;
    for k in 1..=last {
        let with = |plan: Vec<Intervention>| Request {
            plan,
            continuations: vec![vec![Token(40), Token(50)]],
            ..base.clone()
        };
        let stream = engine.run(&with(vec![Intervention::freeze(k)])).unwrap();
        let cache = engine
            .run(&with(on_both(&Intervention::freeze(k))))
            .unwrap();
        for n in 0..=2 {
            let apart = distance(stream.after(0, n), cache.after(0, n));
            assert!(apart <= tolerance, "{what}, layer {k}, step {n}: {apart}");
        }
        moved = moved.max(distance(&clean, &cache.logits));
        // Negative control: one of the two alone, or the layer above, is not the same.
        if k < last {
            let keys = with(vec![Intervention::freeze(k).on(Site::Keys)]);
            let above = with(on_both(&Intervention::freeze(k + 1)));
            for other in [keys, above] {
                let apart = distance(&stream.logits, &logits(engine, &other));
                assert!(apart > tolerance, "{what}, layer {k}: {apart}");
            }
        }
    }
    assert!(
        moved > 10.0 * tolerance,
        "{what}: freeze moved the logits by {moved}"
    );
}

#[test]
fn freeze_by_keys_and_values_is_freeze() {
    for architecture in keeping_both() {
        let what = format!("{architecture:?}");
        freeze_both_ways(&mut tiny(architecture), &request(vec![]), 4e-4, &what);
    }
}

#[test]
fn freeze_by_keys_and_values_is_freeze_in_other_caches() {
    // These caches round what is stored: the same values both ways, so the same rounding, up to
    // where a difference in the last bit falls on another side. Q8_0 wants heads of 32.
    let caches = [
        (CacheType::F16, FlashAttention::Off, 4, 5e-3),
        (CacheType::F16, FlashAttention::On, 4, 5e-3),
        (CacheType::Q8_0, FlashAttention::On, 2, 2e-2),
    ];
    for (cache, flash, n_head, tolerance) in caches {
        // The heads of these are 16 wide, however many there are.
        let narrow = [
            Architecture::Openelm,
            Architecture::Deci,
            Architecture::DeciLinear,
        ];
        let quantized = cache == CacheType::Q8_0;
        for architecture in keeping_both().filter(|a| !quantized || !narrow.contains(a)) {
            let recipe = Synthetic {
                n_head,
                ..Synthetic::new(architecture)
            };
            let model = Arc::new(recipe.build().unwrap());
            let mut engine = Straightforward::new(model, &tiny_options(cache, flash)).unwrap();
            let what = format!("{architecture:?} {cache} {flash:?}");
            freeze_both_ways(&mut engine, &request(vec![]), tolerance, &what);
        }
    }
}

/// The default model in F32 with the caches that people use, with the usual one at every layer.
/// Quantized caches are stored after a rotation; rows are rewritten before it.
#[test]
fn freeze_by_keys_and_values_is_freeze_on_the_default_model() {
    let path = default_model_at("f32");
    let golden = Golden::read("P1_clean");
    let caches = [
        (CacheType::F32, FlashAttention::Off, 1e-3, 4),
        (CacheType::F16, FlashAttention::On, 2e-2, 1),
        (CacheType::Q8_0, FlashAttention::On, 0.3, 4),
    ];
    for (cache, flash_attention, tolerance, step) in caches {
        let options = ContextOptions {
            cache_k: cache,
            cache_v: cache,
            flash_attention,
            ..exact_options()
        };
        let mut engine = engine_of(&path, &options);
        let base = Request {
            tokens: golden.tokens(),
            ..Request::default()
        };
        for k in (1..30).step_by(step) {
            let with = |plan| Request {
                plan,
                ..base.clone()
            };
            let stream = logits(&mut engine, &with(vec![Intervention::freeze(k)]));
            let both = with(on_both(&Intervention::freeze(k)));
            let apart = distance(&stream, &logits(&mut engine, &both));
            assert!(apart <= tolerance, "{cache}, layer {k}: {apart}");
        }
        let k = 15;
        let with = |plan| Request {
            plan,
            ..base.clone()
        };
        let stream = logits(&mut engine, &with(vec![Intervention::freeze(k)]));
        let values = with(vec![Intervention::freeze(k).on(Site::Values)]);
        let apart = distance(&stream, &logits(&mut engine, &values));
        assert!(apart > 2.0 * tolerance, "{cache}: control moved by {apart}");
    }
}

#[test]
fn own_entries_given_back_are_clean_and_others_are_not() {
    for architecture in keeping_both() {
        let mut engine = tiny(architecture);
        let base = request(vec![]);
        let clean = logits(&mut engine, &base);
        let targets = [Target::Keys, Target::Values];
        let own = engine.captured(&base.tokens, 0, &targets).unwrap();
        let mut other = base.tokens.clone();
        other.rotate_left(5);
        let other = engine.captured(&other, 0, &targets).unwrap();
        let give = |keys: &States, values: &States| {
            let given = |states: &States, site| {
                let action = Action::Given(Arc::new(states.clone()));
                Intervention::new(action, LayerSpan::from(1)).on(site)
            };
            request(vec![given(keys, Site::Keys), given(values, Site::Values)])
        };
        let same = logits(&mut engine, &give(&own.keys, &own.values));
        let apart = distance(&same, &clean);
        assert!(apart < 1e-4, "{architecture:?}: {apart}");
        let donor = logits(&mut engine, &give(&other.keys, &other.values));
        assert!(distance(&donor, &clean) > FAR, "{architecture:?}");
        // Mixed up, they are not the same either.
        let mixed = logits(&mut engine, &give(&own.keys, &other.values));
        assert!(distance(&mixed, &clean) > FAR, "{architecture:?}");
    }
}

#[test]
fn every_kind_acts_at_the_chosen_layers_and_tokens_alone() {
    for architecture in keeping_both() {
        let mut engine = tiny(architecture);
        let clean = logits(&mut engine, &request(vec![]));
        let kinds = [
            Kind::Zero.action(0, None),
            Kind::Random.action(1, None),
            Kind::Shuffle.action(1, None),
        ];
        for action in kinds {
            for site in [Site::Keys, Site::Values] {
                let what = format!("{architecture:?} {action:?} {site:?}");
                let at = |layers| Intervention::new(action.clone(), layers).on(site);
                let only = engine.run(&request(vec![at(LayerSpan::only(1))])).unwrap();
                assert!(distance(&only.logits, &clean) > 1e-4, "{what}");
                let rows: usize = only.touched.iter().map(|t| t.rows).sum();
                // 19 rows of the cache, and the same of each layer above held at their own.
                assert_eq!(rows, 19 * 3, "{what}: {:?}", only.touched);
                let none = at(LayerSpan::only(1)).at(PositionSet::none());
                let apart = distance(&logits(&mut engine, &request(vec![none])), &clean);
                assert!(apart < 1e-4, "{what}: {apart}");
            }
        }
    }
}

/// Values of prior tokens at zero from layer 0 up, in a text where the last token attends to
/// them: what is left is what the last token gives itself. With keys alone at zero, attention
/// spreads instead. The two differ, and both differ from skipping attention.
#[test]
fn keys_and_values_are_told_apart() {
    for architecture in keeping_both() {
        let mut engine = tiny(architecture);
        let zero =
            |site| Intervention::new(Kind::Zero.action(0, None), LayerSpan::from(0)).on(site);
        let keys = logits(&mut engine, &request(vec![zero(Site::Keys)]));
        let values = logits(&mut engine, &request(vec![zero(Site::Values)]));
        let skip = logits(&mut engine, &request(vec![Intervention::skip_attention(0)]));
        assert!(distance(&keys, &values) > FAR, "{architecture:?}");
        assert!(distance(&skip, &values) > FAR, "{architecture:?}");
    }
}

/// Rewriting the cache leaves prior tokens' own streams alone: at the layer above, with the
/// last token's attention silenced, nothing of it can be seen.
#[test]
fn own_streams_stay_as_they_are() {
    for architecture in keeping_both() {
        let mut engine = tiny(architecture);
        let noise = Intervention::random(1, 1);
        let silent = Intervention::new(Action::SkipAttention, LayerSpan::only(1))
            .at(PositionSet::ranges([19..20]));
        let base = logits(&mut engine, &request(vec![silent.clone()]));
        let mut plan = on_both(&noise);
        plan.push(silent);
        let apart = distance(&logits(&mut engine, &request(plan)), &base);
        assert!(apart < 1e-4, "{architecture:?}: {apart}");
    }
}

/// With a scaffold's keys and values in all layers the last token reads the scaffold.
#[test]
fn a_spliced_scaffold_is_what_the_last_token_reads() {
    let text =
        |of: i32, n: i32| -> Vec<Token> { (0..n).map(|i| Token(3 + (i * of + of) % 89)).collect() };
    for architecture in [Architecture::Llama, Architecture::Gpt2, Architecture::Qwen2] {
        let mut engine = tiny(architecture);
        let prompt = Prompt::new("", request(vec![]).tokens, |_| Vec::new());
        // Shorter than the prompt, so that it is repeated.
        for n in [30, 8] {
            let scaffold = Prompt::new("", text(5, n), |_| Vec::new());
            let sites = [Site::Keys, Site::Values];
            let states = scaffold_states(&mut engine, &scaffold, &prompt, &sites).unwrap();
            let plan = sites.map(|site| {
                let states = Some(states.at(site));
                let all = PositionSet::below(19);
                let spliced = Kind::Splice.intervention(0, 0, Extent::From, all, states);
                spliced.on(site)
            });
            let found = logits(&mut engine, &request(plan.to_vec()));
            let mut tokens: Vec<Token> = text(5, n).into_iter().cycle().take(19).collect();
            tokens.push(prompt.tokens[19]);
            let read = Request {
                tokens,
                ..Request::default()
            };
            let apart = distance(&found, &logits(&mut engine, &read));
            assert!(apart < 1e-3, "{architecture:?}, {n} tokens: {apart}");
            let clean = logits(&mut engine, &request(vec![]));
            assert!(distance(&found, &clean) > FAR, "{architecture:?}");
        }
    }
}

#[test]
fn a_layer_without_a_cache_says_so() {
    let mut engine = tiny(Architecture::Mamba);
    let zero = Intervention::new(Kind::Zero.action(0, None), LayerSpan::only(1)).on(Site::Keys);
    let error = engine.run(&request(vec![zero])).unwrap_err();
    assert!(matches!(
        error,
        EngineError::Runtime(RuntimeError::Hook(HookFault::NoCache(1, "keys")))
    ));
}
