//! Rewrite what prior tokens leave for later ones, layer by layer, in quantized GGUF models.
//!
//! A plugin for llama.cpp: it registers ggml's eval callback, intercepts the hidden states that
//! enter chosen layers, and rewrites those of prior tokens. It replicates and extends
//! Ben-Artzy & Schwartz 2024, "Attend First, Consolidate Later" (arXiv 2409.03621).
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use midlayer::engine::{Engine, Request, Straightforward, kl};
//! use midlayer::intervention::Intervention;
//! use midlayer::runtime::{ContextOptions, Model, ModelOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = Arc::new(Model::load(Path::new("model.gguf"), &ModelOptions::default())?);
//! let mut engine = Straightforward::new(model, &ContextOptions::default())?;
//! let prompt = engine.prompt("Q: What is the capital of France?\nA:")?;
//! let clean = engine.run(&Request::new(&prompt))?;
//!
//! // All prior tokens frozen from layer 20 up, and a row function of one's own at layer 5.
//! let halve = |_layer, _position, row: &mut [f32]| row.iter_mut().for_each(|x| *x *= 0.5);
//! let request = Request::new(&prompt)
//!     .with(Intervention::custom(5, halve))
//!     .with(Intervention::freeze(20));
//! let outcome = engine.run(&request)?;
//! println!("{:?}, KL {:.3}", engine.piece(outcome.argmax()), kl(&clean.logits, &outcome.logits));
//! # Ok(())
//! # }
//! ```
//!
//! `ARCHITECTURE.md` says how the parts fit together.

pub mod engine;
pub mod hook;
pub mod intervention;
pub mod models;
pub mod report;
pub mod runtime;
pub mod stats;
pub mod store;
pub mod sweep;
pub mod tasks;

/// The revision that this was built from, with `+changes` where the tree had any.
pub const REVISION: &str = env!("MIDLAYER_REVISION");
