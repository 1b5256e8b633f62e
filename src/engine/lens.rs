//! The logit lens: what a model's own head says of the states entering each layer (nostalgebraist
//! 2020, "interpreting GPT: the logit lens").
//!
//! The head is what llama.cpp's graph has above the last layer: final norm, output projection,
//! and whatever scales or caps logits. Its nodes alone are computed, with a layer's states given
//! in place of those that leave the last layer, so that quantized heads are the model's own.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::captured::rows;
use super::{Engine, EngineError, Planned, Straightforward};
use crate::hook::{Capture, Cut, Start};
use crate::intervention::{PlanError, States, Target};
use crate::runtime::Token;

/// What the head says of the states of some tokens where they enter a layer.
pub struct Reading<'r> {
    /// The layer that the states enter. As many as there are layers means the states that leave
    /// the last one: the logits are the model's own.
    pub layer: u32,
    /// The position of the first token.
    pub first: u32,
    /// For each token from there on, a logit for each token of the vocabulary.
    pub logits: Vec<&'r [f32]>,
}

impl Straightforward {
    /// Runs a text clean and tells what the model's head makes of the state of each of its tokens
    /// where it enters each of `layers`, layer after layer in their order. As many as the model has
    /// layers stands for the states that leave the last one.
    ///
    /// A layer's logits come in one [`Reading`], in several where the text is longer than a batch
    /// (`n_batch`); they take no more memory than one of these.
    ///
    /// # Errors
    /// [`EngineError`]; [`crate::hook::CutError::NoHead`] where the logits are made of more than
    /// the last layer's states; [`EngineError::Stopped`] when `told` wants no more.
    pub fn lens(
        &mut self,
        tokens: &[Token],
        layers: &[u32],
        told: &mut dyn FnMut(Reading<'_>) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let n_layer = self.facts().n_layer;
        if let Some(&layer) = layers.iter().find(|layer| **layer > n_layer) {
            let last = n_layer;
            return Err(PlanError::LayerOutOfRange { layer, last }.into());
        }
        let cut = Cut::head(n_layer);
        self.context_mut().roles(&cut)?;
        let entering = Capture {
            targets: vec![Target::Input],
            layers: layers.iter().copied().collect(),
            ..Capture::default()
        };
        let states = self.captured_of_all(tokens, &entering)?.inputs;
        let rows = rows(tokens, true);
        let n_batch = self.context().options().n_batch as usize;
        for &layer in layers {
            let mut given = States::new();
            for row in &rows {
                // The decode misses one that is not there, and says which token's it is.
                if let Some(state) = states.get(layer, row.position) {
                    given.insert(n_layer, row.position, state);
                }
            }
            let start = Start {
                states: Arc::new(given),
                from: n_layer,
                frozen: None,
            };
            self.context_mut().clear();
            for rows in rows.chunks(n_batch) {
                let starts = vec![start.clone(); rows.len()];
                let context = self.context_mut();
                context.decode_part(rows, HashMap::new(), &cut, starts)?;
                let logits = (0..rows.len()).map(|n| context.logits(n));
                let reading = Reading {
                    layer,
                    first: rows[0].position,
                    logits: logits.collect::<Result<_, _>>()?,
                };
                if told(reading).is_break() {
                    return Err(EngineError::Stopped);
                }
            }
        }
        self.context_mut().clear();
        Ok(())
    }
}

impl Planned {
    /// [`Straightforward::lens`], in this engine's context.
    ///
    /// # Errors
    /// As there.
    pub fn lens(
        &mut self,
        tokens: &[Token],
        layers: &[u32],
        told: &mut dyn FnMut(Reading<'_>) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.whole().lens(tokens, layers, told)
    }
}
