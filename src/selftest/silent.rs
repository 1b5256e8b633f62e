//! The examined model's silent twin.

use std::sync::Arc;

use crate::runtime::{Model, RuntimeError};

/// Makes the model again, with attention that adds nothing from a layer up. Loaded once: a layer
/// that is silent stays so, so ask for the highest layer first.
pub struct Silent<'a> {
    load: Box<dyn Fn() -> Result<Model, RuntimeError> + 'a>,
    model: Option<Arc<Model>>,
}

impl<'a> Silent<'a> {
    /// `load` makes the model, its weights in memory of their own
    /// ([`crate::runtime::ModelOptions::unmapped`]).
    pub fn new(load: impl Fn() -> Result<Model, RuntimeError> + 'a) -> Self {
        Self {
            load: Box::new(load),
            model: None,
        }
    }

    /// The model without attention from layer `first` up; the ones it gave before must be gone.
    ///
    /// # Errors
    /// [`RuntimeError`], as [`Model::without_attention`].
    pub(super) fn from(&mut self, first: u32) -> Result<Arc<Model>, RuntimeError> {
        let model = match self.model.take().and_then(Arc::into_inner) {
            Some(model) => model,
            None => (self.load)()?,
        };
        let model = Arc::new(model.without_attention(first)?);
        self.model = Some(model.clone());
        Ok(model)
    }

    /// The model as it is, loaded anew, to make something else of it.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub(super) fn anew(&mut self) -> Result<Model, RuntimeError> {
        self.model = None;
        (self.load)()
    }
}
