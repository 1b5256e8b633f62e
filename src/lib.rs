//! Rewrite what prior tokens leave for later ones, layer by layer, in quantized GGUF models.
//!
//! A plugin for llama.cpp: it registers ggml's eval callback, intercepts the hidden states that
//! enter chosen layers, and rewrites those of prior tokens. It replicates and extends
//! Ben-Artzy & Schwartz 2024, "Attend First, Consolidate Later" (arXiv 2409.03621).
//!
//! ```
//! use std::sync::Arc;
//! use midlayer::engine::{Engine, Request, Straightforward, kl};
//! use midlayer::intervention::Intervention;
//! use midlayer::runtime::{ContextOptions, Model};
//!
//! // A model is loaded with Model::load(path, &ModelOptions::default()).
//! fn compare(model: Arc<Model>, k: u32) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut engine = Straightforward::new(model, &ContextOptions::default())?;
//!     let prompt = engine.prompt("Q: What is the capital of France?\nA:")?;
//!     let clean = engine.run(&Request::new(&prompt))?;
//!
//!     // A row function of one's own at layer 1, and all prior tokens frozen from layer k up.
//!     let halve = |_layer, _position, row: &mut [f32]| row.iter_mut().for_each(|x| *x *= 0.5);
//!     let request = Request::new(&prompt)
//!         .with(Intervention::custom(1, halve))
//!         .with(Intervention::freeze(k));
//!     let outcome = engine.run(&request)?;
//!     let divergence = kl(&clean.logits, &outcome.logits);
//!     println!("{:?}, KL {divergence:.3}", engine.piece(outcome.argmax()));
//!     Ok(())
//! }
//! # use midlayer::runtime::{Architecture, Synthetic, Vocabulary};
//! # let recipe = Synthetic { vocabulary: Vocabulary::Bytes, n_ctx: 2048, ..Synthetic::new(Architecture::Llama) };
//! # compare(Arc::new(recipe.build().unwrap()), 2).unwrap();
//! ```
//!
//! `ARCHITECTURE.md` says how the parts fit together.

pub mod captures;
mod cli;
pub mod directions;
pub mod engine;
pub mod experiment;
pub mod export;
mod files;
mod ggml;
pub mod hook;
pub mod hub;
pub mod intervention;
pub mod loading;
pub mod maps;
pub mod models;
pub mod own;
pub mod plan;
pub mod report;
pub mod runtime;
pub mod selftest;
mod serve;
mod shards;
mod shelf;
pub mod shown;
pub mod stats;
pub mod store;
pub mod sweep;
pub mod tasks;
pub mod trial;

pub use cli::{SPIN, SPIN_SET, program};

/// The revision that this was built from, with `+changes` where the tree had any.
pub const REVISION: &str = env!("MIDLAYER_REVISION");
