//! Models on devices that schedule graphs otherwise (tests/twin), held against the CPU alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use midlayer::engine::{Engine, Planned, Request, Straightforward};
use midlayer::hook::Captured;
use midlayer::intervention::{Extent, Kind, PositionSet, Site, States};
use midlayer::runtime::{
    Architecture, CacheType, ContextOptions, FlashAttention, Model, Synthetic, Token,
};
use midlayer::selftest::{Scope, SelfTest, Silent, Subject, run};

use super::outcomes;
use super::tiny::{N_LAYER, distance};

/// Architectures whose graphs differ most for the scheduler.
const SHORT: [Architecture; 9] = [
    Architecture::Llama,
    Architecture::Gemma3,
    Architecture::Gpt2,
    Architecture::Gptneox,
    Architecture::Olmo2,
    Architecture::Phi2,
    Architecture::Qwen3Experts,
    Architecture::Deepseek2Latent,
    Architecture::KimiLinear,
];

/// Why a graph is computed whole that could be computed in part: another order of nodes, or a copy
/// whose original was not told.
const FAULTS: [&str; 2] = ["the graph changed", "copies between devices"];

/// What logits may be apart by: another library's sums can make one cached value of sixteen bits
/// round to its neighbour. Of all architectures one is 0.0012 apart; sums a thousandth too large
/// make 0.0034.
const CLOSE: f32 = 2e-3;

/// Whether everything is examined: all architectures, all layers, all settings.
pub fn whole() -> bool {
    std::env::var("MIDLAYER_TWIN").is_ok_and(|extent| extent == "whole")
}

/// Examines one architecture after the other, and fails at the end where any did.
///
/// # Panics
/// With what was wrong with each, or where an architecture is named that does not exist.
pub fn each(examine: impl Fn(Architecture)) {
    let all = || Architecture::ALL.iter().chain(Architecture::KIN).copied();
    let named = std::env::var("MIDLAYER_TWIN_ARCHITECTURES").ok();
    let chosen: Vec<Architecture> = match named {
        Some(names) => (names.split(','))
            .map(|name| all().find(|a| a.to_string() == name).expect(name))
            .collect(),
        None if whole() => all().collect(),
        None => SHORT.to_vec(),
    };
    let mut failed = Vec::new();
    for architecture in &chosen {
        let examined = catch_unwind(AssertUnwindSafe(|| examine(*architecture)));
        if let Err(panic) = examined {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            failed.push(format!("{architecture}: {}", said.unwrap_or_default()));
        }
    }
    let all = chosen.len();
    assert!(failed.is_empty(), "of {all}: {}", failed.join("\n"));
    println!("{all} architectures");
}

/// A model with so many layers on Metal's twin, the output among them. Two heads of 32, which
/// Metal's flash attention takes; with four it refuses and splits. MiniMax-M3 has four: llama.cpp
/// ends the process where there are fewer heads of keys than of its index.
pub fn recipe(architecture: Architecture, layers: u32) -> Synthetic {
    if layers > 0 {
        midlayer_twin::register();
    }
    Synthetic {
        gpu_layers: Some(layers),
        n_ctx: 512,
        n_head: match architecture {
            Architecture::MinimaxM3 => 4,
            _ => 2,
        },
        ..Synthetic::new(architecture)
    }
}

pub fn model(architecture: Architecture, layers: u32) -> Arc<Model> {
    Arc::new(recipe(architecture, layers).build().unwrap())
}

pub fn exact() -> ContextOptions {
    ContextOptions {
        n_ctx: 512,
        n_batch: 512,
        ..super::exact_options()
    }
}

pub fn flash() -> ContextOptions {
    ContextOptions {
        flash_attention: FlashAttention::On,
        cache_k: CacheType::F16,
        cache_v: CacheType::F16,
        ..exact()
    }
}

pub fn text(n: u32) -> Vec<Token> {
    (0..n as i32).map(|i| Token(3 + (i * 7) % 89)).collect()
}

/// A text of `n` tokens, none of them manipulated.
pub fn clean(n: u32) -> Request {
    Request {
        tokens: text(n),
        ..Request::default()
    }
}

/// A clean run and freeze, random, zero, skip-attention and inject at every layer, on a text of
/// `n` tokens; another text's states come from `oracle`.
fn requests(oracle: &mut Straightforward, n: u32) -> Vec<Request> {
    let other: Vec<Token> = text(n).iter().map(|t| Token(3 + (t.0 + 31) % 89)).collect();
    let given: Captured = oracle
        .captured(&other, 0, &[Site::Residual.target()])
        .unwrap();
    let states = Arc::new(given.of(Site::Residual.target()).clone());
    let kinds: [(Kind, Option<Arc<States>>); 5] = [
        (Kind::Freeze, None),
        (Kind::Random, None),
        (Kind::SkipAttention, None),
        (Kind::Zero, None),
        (Kind::Inject, Some(states)),
    ];
    let mut requests = vec![clean(n)];
    for (kind, states) in kinds {
        for k in (0..N_LAYER).filter(|k| kind.is_defined(*k, N_LAYER)) {
            let tokens = match states {
                Some(_) => PositionSet::below(n - 1),
                None => PositionSet::all(),
            };
            let plan = kind.intervention(k, 7, Extent::Paper, tokens, states.clone());
            requests.push(Request {
                plan: vec![plan],
                ..clean(n)
            });
        }
    }
    requests
}

/// A model on a device, by both strategies.
pub struct There {
    /// Where it is, for messages.
    pub what: String,
    pub slow: Straightforward,
    pub planned: Planned,
}

impl There {
    pub fn new(model: Arc<Model>, what: String) -> Self {
        Self {
            what,
            slow: Straightforward::new(model.clone(), &exact()).unwrap(),
            planned: Planned::new(model, &exact(), 8).unwrap(),
        }
    }
}

/// Both strategies give what the CPU alone gives, in batches of so many rows.
///
/// # Panics
/// Where they do not.
pub fn same_as_on_the_cpu(oracle: &mut Straightforward, devices: &mut [There], rows: &[u32]) {
    for n in rows {
        // The last token is not a prior one, so batches of `n` rows need one more.
        let requests = requests(oracle, n + 1);
        let expected: Vec<_> = requests.iter().map(|r| oracle.run(r)).collect();
        let taken: Vec<_> = (requests.iter().zip(&expected))
            .filter_map(|(request, expected)| Some((request, expected.as_ref().ok()?)))
            .collect();
        let asked: Vec<_> = taken
            .iter()
            .map(|(request, _)| (*request).clone())
            .collect();
        for There {
            what,
            slow,
            planned,
        } in &mut *devices
        {
            for (request, expected) in requests.iter().zip(&expected) {
                // In one batch, and, where that is short, in one of `n` rows without logits and one
                // of the last row.
                let cut = (*n < 100).then(|| vec![*n as usize]);
                for cuts in [Vec::new()].into_iter().chain(cut) {
                    let what = format!("{what}, {n} rows, cut {cuts:?}, {:?}", request.plan);
                    let request = Request {
                        cuts,
                        ..request.clone()
                    };
                    match (slow.run(&request), expected) {
                        (Ok(found), Ok(expected)) => {
                            let apart = distance(&found.logits, &expected.logits);
                            assert!(apart < CLOSE, "{what}: {apart}");
                        }
                        (found, expected) => {
                            let say = |e: &Result<_, _>| e.as_ref().err().map(ToString::to_string);
                            assert_eq!(say(&found), say(expected), "{what}");
                        }
                    }
                }
            }
            let found = outcomes(planned, &asked);
            let whole = planned.work().reason.unwrap_or_default();
            for fault in FAULTS {
                assert!(!whole.contains(fault), "{what}: {whole}");
            }
            for ((request, expected), found) in taken.iter().zip(&found) {
                let apart = distance(&found.logits, &expected.logits);
                let plan = &request.plan;
                assert!(
                    apart < CLOSE,
                    "{what}, {n} rows, {plan:?}, planned: {apart}"
                );
            }
        }
    }
}

/// What the self-test finds of a recipe; in short, at the first and the last layer.
pub fn self_test(recipe: Synthetic, options: &ContextOptions) -> SelfTest {
    let model: Arc<Model> = Arc::new(recipe.build().unwrap());
    let subject = Subject {
        model,
        options: options.clone(),
        silent: Some(Silent::new(move || recipe.build())),
    };
    let layers = if whole() { N_LAYER } else { 2 };
    run(subject, &Scope::spread(N_LAYER, layers), &mut ()).unwrap()
}

/// The same, for a model with which nothing should be wrong.
///
/// # Panics
/// Where something is; `what` says on what.
pub fn examined(recipe: Synthetic, options: &ContextOptions, what: &str) -> SelfTest {
    let found = self_test(recipe, options);
    let wrong: Vec<_> = found.wrong().collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
    if let Some(whole) = &found.computed_whole {
        println!("{what}: {whole}");
        assert!(
            !FAULTS.iter().any(|fault| whole.contains(fault)),
            "{what}: {whole}"
        );
    }
    // Of hundreds of comparisons; some experts and caches of F16 are noisy. With a device that
    // computes wrongly it is fifty and more.
    let (drowned, floor) = (found.drowned, found.noise_floor);
    assert!(drowned <= 20, "{what}: {drowned} drowned, floor {floor:e}");
    found
}
