//! What a clean run leaves, as numbers for arrays.

use std::sync::Arc;

use midlayer::engine::Prompt;
use midlayer::hook::{Capture, Captured};
use midlayer::intervention::{PlanError, Target};
use midlayer::runtime::Token;
use pyo3::prelude::*;

use crate::errors::{of_engine, usage};
use crate::worker::{Bench, Engines};

/// Rows one after the other, and how wide each is.
pub type Rows = (Vec<f32>, usize);

impl Bench {
    /// Of each prompt the rows of each site by layer, then by token, with their width: of every
    /// token, in the last layer too.
    pub fn captured(
        &mut self,
        prompts: &[Arc<Prompt>],
        layers: &[u32],
        (sites, targets): (&[String], &[Target]),
    ) -> PyResult<Vec<Vec<Rows>>> {
        let n_layer = self.engine.get().facts().n_layer;
        if let Some(&layer) = layers.iter().find(|layer| **layer >= n_layer) {
            let last = n_layer - 1;
            return Err(usage(PlanError::LayerOutOfRange { layer, last }));
        }
        let capture = Capture {
            targets: targets.to_vec(),
            layers: layers.iter().copied().collect(),
            ..Capture::default()
        };
        let texts: Vec<&[Token]> = prompts.iter().map(|prompt| &prompt.tokens[..]).collect();
        let stacked = |n: usize, captured: Captured| {
            let of_sites = targets.iter().zip(sites).map(|(target, site)| {
                let states = captured.of(*target);
                let stacked = states.stacked(layers, texts[n].len() as u32);
                stacked.map_err(|why| usage(format!("{site}: {why}")))
            });
            of_sites.collect::<PyResult<Vec<_>>>()
        };
        let mut all = Vec::with_capacity(texts.len());
        let mut told = |n: usize, captured: Captured| all.push(stacked(n, captured));
        match &mut self.engine {
            Engines::Planned(engine) => engine
                .captured_of_texts(&texts, &capture, &mut told)
                .map_err(of_engine)?,
            Engines::Straightforward(engine) => {
                for (n, tokens) in texts.iter().enumerate() {
                    let captured = engine.captured_of_all(tokens, &capture);
                    told(n, captured.map_err(of_engine)?);
                }
            }
        }
        all.into_iter().collect()
    }
}
