//! Metal without a Mac: models on a device that orders, groups, refuses and hides as Metal does
//! (tests/twin). Whole on demand: `make test-metal-twin`.
#![cfg(target_os = "linux")]

mod common;

use std::sync::Arc;

use common::outcomes;
use common::tiny::{CLOSE, N_LAYER, distance};
use midlayer::engine::{Engine, Planned, Request, Straightforward};
use midlayer::intervention::{Extent, Kind, PositionSet};
use midlayer::runtime::{
    Architecture, CacheType, ContextOptions, FlashAttention, Model, Synthetic, Token, devices,
};
use midlayer::selftest::{Scope, Silent, Subject, run};

/// How many layers lie on the device: all with the output, or the upper half.
const ON_DEVICE: [u32; 2] = [99, N_LAYER / 2 + 1];

/// Architectures whose graphs differ most for the scheduler.
const SHORT: [Architecture; 6] = [
    Architecture::Llama,
    Architecture::Gemma3,
    Architecture::Gpt2,
    Architecture::Phi2,
    Architecture::Qwen3Experts,
    Architecture::Deepseek2Latent,
];

fn whole() -> bool {
    std::env::var("MIDLAYER_TWIN").is_ok_and(|extent| extent == "whole")
}

fn architectures() -> Vec<Architecture> {
    if whole() {
        Architecture::ALL.to_vec()
    } else {
        SHORT.to_vec()
    }
}

/// Two heads of 32, which Metal's flash attention takes; with four it refuses and splits.
fn recipe(architecture: Architecture, layers: u32) -> Synthetic {
    midlayer_twin::register();
    Synthetic {
        gpu_layers: Some(layers),
        n_ctx: 512,
        n_head: 2,
        ..Synthetic::new(architecture)
    }
}

fn model(architecture: Architecture, layers: u32) -> Arc<Model> {
    Arc::new(recipe(architecture, layers).build().unwrap())
}

fn exact() -> ContextOptions {
    ContextOptions {
        n_ctx: 512,
        n_batch: 512,
        ..common::exact_options()
    }
}

fn flash() -> ContextOptions {
    ContextOptions {
        flash_attention: FlashAttention::On,
        cache_k: CacheType::F16,
        cache_v: CacheType::F16,
        ..exact()
    }
}

#[test]
fn the_device_is_a_gpu_that_reorders_fuses_refuses_and_hides() {
    let before = midlayer_twin::counts();
    let model = model(Architecture::Llama, 99);
    let found = devices().unwrap();
    assert!(found.iter().any(|d| d.name == "MTL0"), "{found:?}");
    let mut engine = Straightforward::new(model, &exact()).unwrap();
    let on_device = engine.run(&request(20, None)).unwrap();
    let counts = midlayer_twin::counts();
    assert!(counts.graphs > before.graphs, "{counts:?}");
    assert!(counts.moved > before.moved, "{counts:?}");
    assert!(counts.fused > before.fused, "{counts:?}");
    let cpu = self::model(Architecture::Llama, 0);
    let mut engine = Straightforward::new(cpu, &exact()).unwrap();
    let host = engine.run(&request(20, None)).unwrap();
    assert!(distance(&on_device.logits, &host.logits) < CLOSE);

    let narrow = Synthetic {
        n_head: 4,
        ..recipe(Architecture::Llama, 99)
    };
    let narrow = Arc::new(narrow.build().unwrap());
    let mut engine = Straightforward::new(narrow, &flash()).unwrap();
    engine.run(&request(20, None)).unwrap();
    let refused = midlayer_twin::counts().refused;
    assert!(
        refused > counts.refused,
        "heads of 16 under flash attention"
    );
}

fn text(n: u32) -> Vec<Token> {
    (0..n as i32).map(|i| Token(3 + (i * 7) % 89)).collect()
}

fn request(n: u32, plan: Option<(Kind, u32)>) -> Request {
    let intervention =
        |(kind, k): (Kind, u32)| kind.intervention(k, 7, Extent::Paper, PositionSet::all(), None);
    Request {
        tokens: text(n),
        plan: plan.map(intervention).into_iter().collect(),
        ..Request::default()
    }
}

/// Metal chooses other kernels and other fusions at these numbers of rows.
const ROWS: [u32; 9] = [1, 2, 3, 8, 9, 16, 17, 33, 250];

/// Both strategies on the device give what the CPU alone gives, however many rows a batch has.
#[test]
fn manipulations_are_what_they_are_on_the_cpu_at_all_numbers_of_rows() {
    for architecture in architectures() {
        let kinds = [Kind::Freeze, Kind::Random, Kind::SkipAttention, Kind::Zero];
        let plans = kinds.iter().flat_map(|kind| {
            let layers = (0..N_LAYER).filter(|k| kind.is_defined(*k, N_LAYER));
            layers.map(|k| (*kind, k))
        });
        let plans: Vec<(Kind, u32)> = plans.collect();
        let requests = |n: u32| -> Vec<Request> {
            // The last token is not a prior one, so batches of `n` rows need one more.
            let plans = plans.iter().map(|plan| request(n + 1, Some(*plan)));
            std::iter::once(request(n + 1, None)).chain(plans).collect()
        };
        let host = model(architecture, 0);
        let mut oracle = Straightforward::new(host.clone(), &exact()).unwrap();
        for on_device in ON_DEVICE {
            let there = model(architecture, on_device);
            let mut slow = Straightforward::new(there.clone(), &exact()).unwrap();
            let mut planned = Planned::new(there, &exact(), 8).unwrap();
            for n in ROWS {
                let requests = requests(n);
                let expected: Vec<_> = requests.iter().map(|r| oracle.run(r)).collect();
                for (request, expected) in requests.iter().zip(&expected) {
                    let what = format!("{architecture:?} {on_device} {n} {:?}", request.plan);
                    match (slow.run(request), expected) {
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
                let taken: Vec<_> = (requests.into_iter().zip(&expected))
                    .filter(|(_, expected)| expected.is_ok())
                    .collect();
                let asked: Vec<_> = taken.iter().map(|(request, _)| request.clone()).collect();
                let found = outcomes(&mut planned, &asked);
                for ((request, expected), found) in taken.iter().zip(&found) {
                    let expected = expected.as_ref().unwrap();
                    let apart = distance(&found.logits, &expected.logits);
                    let what = format!("{architecture:?} {on_device} {n} {:?}", request.plan);
                    assert!(apart < CLOSE, "{what}, planned: {apart}");
                }
            }
        }
    }
}

/// The whole self-test, with flash attention and without; in short, of the first and the last
/// layer, all layers on the device without and half of them with it.
#[test]
fn the_self_test_finds_nothing_wrong() {
    let mut drowned = Vec::new();
    for architecture in architectures() {
        for on_device in ON_DEVICE {
            for options in [exact(), flash()] {
                let is_flash = options.flash_attention == FlashAttention::On;
                if !whole() && is_flash == (on_device == ON_DEVICE[0]) {
                    continue;
                }
                let recipe = recipe(architecture, on_device);
                let subject = Subject {
                    model: Arc::new(recipe.build().unwrap()),
                    options: options.clone(),
                    silent: Some(Silent::new(move || recipe.build())),
                };
                let layers = if whole() { N_LAYER } else { 2 };
                let found = run(subject, &Scope::spread(N_LAYER, layers), &mut ()).unwrap();
                let wrong: Vec<_> = found.wrong().collect();
                let what = format!("{architecture:?} {on_device} {:?}", options.flash_attention);
                assert!(wrong.is_empty(), "{what}: {wrong:#?}");
                if found.computed_whole.is_some() {
                    println!("{what}: {:?}", found.computed_whole);
                }
                drowned.push(found.drowned);
            }
        }
    }
    // Of hundreds of comparisons in each.
    assert!(drowned.iter().all(|n| *n <= 2), "{drowned:?}");
    println!("{:?}", midlayer_twin::counts());
}
