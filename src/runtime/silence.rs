//! A model whose attention adds nothing from some layer up, made by clearing weights: what
//! skip-attention must agree with.

use std::sync::Arc;

use super::{Context, ContextOptions, Model, RuntimeError};
use crate::hook::Row;

impl Model {
    /// The same model with output weights of attention, and their biases, of zero in the layers
    /// from `first` up.
    ///
    /// # Errors
    /// [`RuntimeError::Mapped`] for a model whose weights are mapped from its file (see
    /// [`super::ModelOptions::unmapped`]), [`RuntimeError::NotSilenced`] where a layer's
    /// attention has no output weights under llama.cpp's usual name, and what a decode can meet.
    pub fn without_attention(self, first: u32) -> Result<Self, RuntimeError> {
        if !self.is_writable() {
            return Err(RuntimeError::Mapped);
        }
        let options = ContextOptions {
            n_ctx: 64,
            n_batch: 64,
            threads: 1,
            ..ContextOptions::default()
        };
        let model = Arc::new(self);
        let mut context = Context::new(model.clone(), &options)?;
        let row = Row {
            sequence: 0,
            position: 0,
            token: 0,
            prior: false,
            output: true,
        };
        let anatomy = context.anatomy().ok_or(RuntimeError::NoCallback)?;
        // A layer without attention may have a projection of the same name (DeciLM).
        let reading = (0..).zip(&anatomy.reads_cache).skip(first as usize);
        let layers = reading.filter_map(|(layer, reads)| reads.then_some(layer));
        let layers = layers.collect();
        // SAFETY: the weights may be written to (checked above), and `model` came in by value,
        // so nothing else uses it.
        let watch = unsafe { context.slot().silence(layers) };
        let decoded = context.raw_decode(&[row]);
        let silenced = watch.silenced();
        decoded?;
        let silenced = silenced?;
        let anatomy = context.anatomy().ok_or(RuntimeError::NoCallback)?;
        let attention = (0..).zip(&anatomy.attention).skip(first as usize);
        let mut attentive = attention.filter_map(|(layer, site)| site.as_ref().map(|_| layer));
        if let Some(layer) = attentive.find(|layer| !silenced.contains(layer)) {
            return Err(RuntimeError::NotSilenced(layer));
        }
        drop(context);
        Ok(Arc::into_inner(model).expect("the context that shared it is gone"))
    }
}
