//! Prompts.

use std::sync::Arc;

use midlayer::engine;
use midlayer::runtime::Model;
use midlayer::trial::{Listed, listed};
use pyo3::prelude::*;

use crate::errors::{PromptError, said};

/// A tokenized text. All tokens but the last are *prior*: manipulations act on them.
#[pyclass(frozen, module = "midlayer")]
pub struct Prompt {
    pub prompt: Arc<engine::Prompt>,
    tokens: Vec<Listed>,
}

impl Prompt {
    pub fn new(prompt: engine::Prompt, model: &Model) -> Self {
        Self {
            tokens: listed(model, &prompt, None),
            prompt: Arc::new(prompt),
        }
    }
}

#[pymethods]
impl Prompt {
    /// The text as it was given.
    #[getter]
    fn text(&self) -> &str {
        &self.prompt.text
    }

    /// The ids of its tokens, a BOS token included where the model wants one.
    #[getter]
    fn ids(&self) -> Vec<i32> {
        self.tokens.iter().map(|token| token.id).collect()
    }

    /// The texts of its tokens; bytes that are no text on their own are written `<E3>`.
    #[getter]
    fn tokens(&self) -> Vec<&str> {
        self.tokens.iter().map(|token| &*token.text).collect()
    }

    /// The role of each token: "special" (put first by the tokenizer), "prior" or "last".
    #[getter]
    fn roles(&self) -> Vec<&'static str> {
        let roles = self.tokens.iter().map(|token| match token.prior {
            _ if token.position < self.prompt.special => "special",
            true => "prior",
            false => "last",
        });
        roles.collect()
    }

    /// The positions of the tokens that make up a part of the text, a range for each place where
    /// it begins and ends with a token.
    ///
    /// Raises PromptError where the text does not have the part, or has it within a token only.
    fn find<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let found = self.prompt.occurrences(text);
        let found = found.map_err(|error| PromptError::new_err(said(&error)))?;
        let range = py.import("builtins")?.getattr("range")?;
        let ranges = found.into_iter().map(|at| range.call1((at.start, at.end)));
        ranges.collect()
    }

    fn __len__(&self) -> usize {
        self.tokens.len()
    }

    fn __repr__(&self) -> String {
        format!(
            "Prompt({:?}, {} tokens)",
            self.prompt.text,
            self.tokens.len()
        )
    }
}
