//! What a clean run leaves, as numbers for arrays.

use midlayer::engine::Prompt;
use midlayer::hook::Capture;
use midlayer::intervention::{PlanError, Target};
use pyo3::prelude::*;

use crate::errors::{of_engine, usage};
use crate::worker::{Bench, Engines};

impl Bench {
    /// The rows of each site by layer, then by token, with their width: of every token, in the last
    /// layer too.
    pub fn captured(
        &mut self,
        prompt: &Prompt,
        layers: &[u32],
        (sites, targets): (&[String], &[Target]),
    ) -> PyResult<Vec<(Vec<f32>, usize)>> {
        let n_layer = self.engine.get().facts().n_layer;
        if let Some(&layer) = layers.iter().find(|layer| **layer >= n_layer) {
            let last = n_layer - 1;
            return Err(usage(PlanError::LayerOutOfRange { layer, last }));
        }
        let capture = Capture {
            targets: targets.to_vec(),
            layers: layers.iter().copied().collect(),
        };
        let captured = match &mut self.engine {
            Engines::Planned(engine) => engine.captured_of_all(&prompt.tokens, &capture),
            Engines::Straightforward(engine) => engine.captured_of_all(&prompt.tokens, &capture),
        };
        let captured = captured.map_err(of_engine)?;
        let stacked = targets.iter().zip(sites).map(|(target, site)| {
            let states = captured.of(*target);
            let stacked = states.stacked(layers, prompt.tokens.len() as u32);
            stacked.map_err(|why| usage(format!("{site}: {why}")))
        });
        stacked.collect()
    }
}
