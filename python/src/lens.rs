//! The logit lens, as arrays.

use std::sync::Arc;

use midlayer::engine::{Engine, Prompt};
use midlayer::maps::{self, Form, LensPicture, Said, Standing};
use midlayer::runtime::{Model, Token};
use midlayer::trial::{answer_tokens, listed};
use numpy::{IntoPyArray, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

use crate::errors::{of_trial, usage};

/// What the model's own final norm and head say of each token's state at each layer. Arrays are
/// [tokens, layers]; the last column is what leaves the last layer, of which the head says what the
/// model says.
#[pyclass(frozen, subclass, module = "midlayer._native")]
#[derive(Clone)]
pub struct Lens {
    lens: maps::Lens,
    model: Arc<Model>,
    prompt: Arc<Prompt>,
    answer: Option<Token>,
}

/// The token of an answer, which must be a single one: the head says what token comes next.
pub fn one_token(engine: &dyn Engine, prompt: &Prompt, text: &str) -> PyResult<Token> {
    let tokens = answer_tokens(engine, prompt, text, "answer");
    match &tokens.map_err(of_trial)?[..] {
        [token] => Ok(*token),
        tokens => Err(usage(format!(
            "{text:?} has {} tokens, and a state says which one comes next; follow one token",
            tokens.len()
        ))),
    }
}

impl Lens {
    pub fn new(
        lens: maps::Lens,
        model: Arc<Model>,
        prompt: Arc<Prompt>,
        answer: Option<Token>,
    ) -> Self {
        Self {
            lens,
            model,
            prompt,
            answer,
        }
    }

    fn array<'py, T: numpy::Element>(
        &self,
        py: Python<'py>,
        of: impl Fn(&Said) -> T,
    ) -> PyResult<Bound<'py, PyArray2<T>>> {
        let values: Vec<T> = self.lens.said.iter().flatten().map(of).collect();
        let shape = [self.lens.positions.len(), self.lens.layers.len()];
        values.into_pyarray(py).reshape(shape)
    }

    fn followed<'py, T: numpy::Element>(
        &self,
        py: Python<'py>,
        of: impl Fn(Standing) -> T,
    ) -> PyResult<Option<Bound<'py, PyArray2<T>>>> {
        let followed = self.answer.is_some();
        let array = || self.array(py, |said| of(said.answer.expect("a token is followed")));
        followed.then(array).transpose()
    }

    fn text(&self, token: Token) -> String {
        midlayer::shown::plain(&self.model.piece(token))
    }

    fn written(&self, form: Form) -> String {
        let all = listed(&self.model, &self.prompt, None);
        let tokens: Vec<(i32, String)> = all.into_iter().map(|t| (t.id, t.text)).collect();
        let text_of = |token: Token| self.text(token);
        let picture = LensPicture {
            lens: &self.lens,
            tokens: &tokens,
            title: format!("{}: logit lens", self.model.facts().name),
            answer: self.answer.map(text_of),
            text_of: &text_of,
        };
        picture.text(form)
    }
}

#[pymethods]
impl Lens {
    /// The same lens, which classes of Python are made from.
    #[new]
    fn again(lens: PyRef<'_, Self>) -> Self {
        (*lens).clone()
    }

    /// The layers that the states enter; the last is the number of layers.
    #[getter]
    fn layers(&self) -> Vec<u32> {
        self.lens.layers.clone()
    }

    /// The likeliest token of each state, by its text: rows of tokens, columns of layers.
    #[getter]
    fn tokens(&self) -> Vec<Vec<String>> {
        let rows = self.lens.said.iter();
        let text = |said: &Said| self.text(said.likeliest());
        rows.map(|row| row.iter().map(text).collect()).collect()
    }

    /// The prompt's tokens, the rows.
    #[getter]
    fn prompt_tokens(&self) -> Vec<String> {
        let all = listed(&self.model, &self.prompt, None);
        all.into_iter().map(|token| token.text).collect()
    }

    /// The likeliest token of each state, by its id, int32.
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<i32>>> {
        self.array(py, |said| said.likeliest().0)
    }

    /// Its probability, 0 to 1, float64.
    #[getter]
    fn probs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.array(py, |said| said.top[0].1.exp())
    }

    /// Entropy of what is said of each state, nats, float64.
    #[getter]
    fn entropy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.array(py, |said| said.entropy)
    }

    /// The probability of the token followed, float64; None where there is none.
    #[getter]
    fn answer_probs<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray2<f64>>>> {
        self.followed(py, |standing| standing.logprob.exp())
    }

    /// Its rank, 1 is the likeliest, int64; None where there is none.
    #[getter]
    fn answer_ranks<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray2<i64>>>> {
        self.followed(py, |standing| standing.rank as i64)
    }

    /// The lines of `midlayer map --lens -o json`.
    fn json_lines(&self) -> String {
        self.written(Form::Jsonl)
    }

    /// The picture, as an SVG.
    fn svg(&self) -> String {
        self.written(Form::Svg)
    }

    fn _repr_html_(&self) -> String {
        self.svg()
    }

    fn __repr__(&self) -> String {
        let (tokens, layers) = (self.lens.positions.len(), self.lens.layers.len());
        format!("Lens({tokens} tokens, {layers} layers)")
    }
}
