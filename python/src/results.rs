//! What runs gave, as arrays.

use std::sync::Arc;

use midlayer::engine::{self, kl, log_softmax, rank};
use midlayer::runtime::Model;
use midlayer::trial;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

/// The runs of one prompt, the clean one apart. Arrays have a row for each run, in the order in
/// which the manipulations and their layers were given.
#[pyclass(frozen, module = "midlayer._native")]
pub struct Results {
    results: trial::Results,
    model: Arc<Model>,
    prompt: Arc<engine::Prompt>,
}

impl Results {
    pub fn new(results: trial::Results, model: Arc<Model>, prompt: Arc<engine::Prompt>) -> Self {
        Self {
            results,
            model,
            prompt,
        }
    }

    fn per_answer<'py, T: numpy::Element>(
        &self,
        py: Python<'py>,
        of: impl Fn(trial::Chance) -> T,
    ) -> PyResult<Bound<'py, PyArray2<T>>> {
        let answers = &self.results.answers;
        let rows = self.results.outcomes.iter();
        let values = rows.flat_map(|outcome| answers.iter().map(move |a| a.chance(outcome)));
        let values: Vec<T> = values.map(of).collect();
        values
            .into_pyarray(py)
            .reshape([self.results.outcomes.len(), answers.len()])
    }
}

#[pymethods]
impl Results {
    fn __len__(&self) -> usize {
        self.results.runs.len()
    }

    /// Names of the manipulations of each run.
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.results.runs.iter().map(|run| &*run.name).collect()
    }

    /// The layer of each run; None where a stack fixes several.
    #[getter]
    fn layers(&self) -> Vec<Option<u32>> {
        self.results.runs.iter().map(|run| run.layer).collect()
    }

    /// The seed of each run; None where nothing is drawn.
    #[getter]
    fn seeds(&self) -> Vec<Option<u64>> {
        self.results.runs.iter().map(|run| run.seed).collect()
    }

    /// The answers followed.
    #[getter]
    fn answers(&self) -> Vec<&str> {
        self.results.answers.iter().map(|a| &*a.text).collect()
    }

    /// The logits after the prompt, float32 [runs, vocabulary].
    #[getter]
    fn logits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let rows = self
            .results
            .outcomes
            .iter()
            .flat_map(|outcome| &outcome.logits);
        let all: Vec<f32> = rows.copied().collect();
        all.into_pyarray(py)
            .reshape([self.results.outcomes.len(), self.results.clean.logits.len()])
    }

    /// The clean run's logits, float32 [vocabulary].
    #[getter]
    fn clean_logits<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.results.clean.logits.clone().into_pyarray(py)
    }

    /// Probabilities of the next token, float64 [runs, vocabulary].
    #[getter]
    fn probs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let rows = self
            .results
            .outcomes
            .iter()
            .map(|outcome| log_softmax(&outcome.logits));
        let all: Vec<f64> = rows.flatten().map(f64::exp).collect();
        all.into_pyarray(py)
            .reshape([self.results.outcomes.len(), self.results.clean.logits.len()])
    }

    /// Kullback-Leibler divergence of each run from the clean next-token distribution, in nats,
    /// float64 [runs].
    #[getter]
    fn kl<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        let clean = &self.results.clean.logits;
        let all = self
            .results
            .outcomes
            .iter()
            .map(|outcome| kl(clean, &outcome.logits));
        all.collect::<Vec<f64>>().into_pyarray(py)
    }

    /// Natural logarithms of the answers' probabilities, float64 [runs, answers]. Of an answer of
    /// several tokens it is the sum over them.
    #[getter]
    fn answer_logprobs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.per_answer(py, |chance| chance.logprob)
    }

    /// The answers' probabilities, float64 [runs, answers].
    #[getter]
    fn answer_probs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.per_answer(py, |chance| chance.logprob.exp())
    }

    /// The rank of each answer's first token, 1 is the likeliest, int64 [runs, answers].
    #[getter]
    fn answer_ranks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<i64>>> {
        self.per_answer(py, |chance| chance.rank as i64)
    }

    /// The answers' probabilities in the clean run, float64 [answers].
    #[getter]
    fn clean_answer_probs<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        let clean = &self.results.clean;
        let all = self
            .results
            .answers
            .iter()
            .map(|a| a.chance(clean).logprob.exp());
        all.collect::<Vec<f64>>().into_pyarray(py)
    }

    /// The rank of a token after the prompt in each run, by its id; 1 is the likeliest.
    fn rank(&self, token: i32) -> PyResult<Vec<usize>> {
        let n = self.results.clean.logits.len();
        if usize::try_from(token).is_ok_and(|token| token < n) {
            let token = midlayer::runtime::Token(token);
            let all = self.results.outcomes.iter();
            return Ok(all.map(|outcome| rank(&outcome.logits, token)).collect());
        }
        Err(crate::errors::usage(format!(
            "{token} is not a token: ids are 0 to {}",
            n - 1
        )))
    }

    /// A run as a line of JSON, as `midlayer try -o json` prints it; without a number the clean
    /// run.
    #[pyo3(signature = (run=None))]
    fn json(&self, run: Option<usize>) -> PyResult<String> {
        let n = self.results.runs.len();
        match run {
            Some(run) if run >= n => Err(pyo3::exceptions::PyIndexError::new_err(format!(
                "run {run} is none of {n}"
            ))),
            run => Ok(self.results.line(&self.model, run).text()),
        }
    }

    /// The answers' probabilities by layer, as an SVG; empty where there are fewer than two layers.
    fn svg(&self) -> String {
        let n_layer = self.model.facts().n_layer;
        self.results.svg(n_layer).unwrap_or_default()
    }

    /// The text of the prompt.
    #[getter]
    fn prompt(&self) -> &str {
        &self.prompt.text
    }
}
