//! A model some of whose sub-layers add nothing, made by clearing weights: what manipulations of
//! them must agree with.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Context, ContextOptions, Model, RuntimeError};
use crate::hook::{Anatomy, Row, Silenced};

impl Model {
    /// The same model with output weights of attention, and their biases, of zero in the layers
    /// from `first` up.
    ///
    /// # Errors
    /// [`RuntimeError::Mapped`] for a model whose weights are mapped from its file (see
    /// [`super::ModelOptions::unmapped`]), [`RuntimeError::NotSilenced`] where a layer's
    /// attention has no output weights under llama.cpp's usual name, and what a decode can meet.
    pub fn without_attention(self, first: u32) -> Result<Self, RuntimeError> {
        self.silenced(Silenced::Attention, |anatomy| {
            // A layer without attention may have a projection of the same name (DeciLM).
            let reading = (first..).zip(&anatomy.reads_cache[first as usize..]);
            let layers = reading.filter_map(|(layer, reads)| reads.then_some(layer));
            let found = |layer: &u32| anatomy.attention[*layer as usize].is_some();
            layers.filter(found).collect()
        })
    }

    /// The same model with weights, and their biases, of zero that project the activations of MLPs
    /// down, in the layers from `first` up.
    ///
    /// # Errors
    /// As [`Self::without_attention`].
    pub fn without_mlps(self, first: u32) -> Result<Self, RuntimeError> {
        self.silenced(Silenced::Mlp, |anatomy| {
            let mlps = (first..).zip(&anatomy.mlps[first as usize..]);
            mlps.filter_map(|(layer, mlp)| mlp.is_ok().then_some(layer))
                .collect()
        })
    }

    /// The same model with output weights of attention of zero in one layer, where these are
    /// multiplied with what one head gave.
    ///
    /// # Errors
    /// As [`Self::without_attention`]; quantized weights come in blocks, which may not end where a
    /// head does.
    pub fn without_head(self, layer: u32, head: usize) -> Result<Self, RuntimeError> {
        let of = self.heads().of_queries(layer);
        let of = of.ok_or(RuntimeError::NotSilenced(layer))?;
        self.silenced(Silenced::Head { head, of }, |_| BTreeSet::from([layer]))
    }

    fn silenced(
        self,
        silenced: Silenced,
        layers: impl Fn(&Anatomy) -> BTreeSet<u32>,
    ) -> Result<Self, RuntimeError> {
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
        let layers = layers(context.anatomy().ok_or(RuntimeError::NoCallback)?);
        // SAFETY: the weights may be written to (checked above), and `model` came in by value,
        // so nothing else uses it.
        let watch = unsafe { context.slot().silence(silenced, layers.clone()) };
        let decoded = context.raw_decode(&[row]);
        let done = watch.silenced();
        decoded?;
        if let Some(layer) = layers.difference(&done?).next() {
            return Err(RuntimeError::NotSilenced(*layer));
        }
        drop(context);
        Ok(Arc::into_inner(model).expect("the context that shared it is gone"))
    }
}
