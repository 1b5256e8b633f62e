//! Effect maps, as arrays.

use midlayer::engine::Prompt;
use midlayer::intervention::Kind;
use midlayer::maps::{self, Form, Picture};
use midlayer::runtime::Model;
use midlayer::trial::listed;
use numpy::{IntoPyArray, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

/// What each state of a prompt is worth: tokens down, layers across.
#[pyclass(frozen, subclass, module = "midlayer._native")]
#[derive(Clone)]
pub struct Map {
    map: maps::Map,
    tokens: Vec<(i32, String)>,
    title: String,
    measure: &'static str,
}

impl Map {
    pub fn new(
        map: maps::Map,
        model: &Model,
        prompt: &Prompt,
        kind: Kind,
        measure: &'static str,
    ) -> Self {
        let all = listed(model, prompt, None);
        let token = |at: &u32| (all[*at as usize].id, all[*at as usize].text.clone());
        Self {
            tokens: map.rows.iter().map(token).collect(),
            title: format!("{}: {kind} of one state at a time", model.facts().name),
            map,
            measure,
        }
    }

    fn written(&self, form: Form) -> String {
        let picture = Picture {
            map: &self.map,
            tokens: &self.tokens,
            title: self.title.clone(),
            measure: self.measure,
            across: "layer",
            change: true,
            over: None,
        };
        picture.text(form)
    }
}

#[pymethods]
impl Map {
    /// The same map, which classes of Python are made from.
    #[new]
    fn again(map: PyRef<'_, Self>) -> Self {
        (*map).clone()
    }

    /// The layers, the columns.
    #[getter]
    fn layers(&self) -> Vec<u32> {
        self.map.layers.clone()
    }

    /// The tokens' positions, the rows.
    #[getter]
    fn positions(&self) -> Vec<u32> {
        self.map.rows.clone()
    }

    /// The tokens' texts.
    #[getter]
    fn tokens(&self) -> Vec<&str> {
        self.tokens.iter().map(|(_, text)| &**text).collect()
    }

    /// The change of the measure, float64 [tokens, layers]; NaN where the manipulation has no place.
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let values = self.map.values.iter().flatten();
        let values: Vec<f64> = values.map(|value| value.unwrap_or(f64::NAN)).collect();
        let shape = [self.map.rows.len(), self.map.layers.len()];
        values.into_pyarray(py).reshape(shape)
    }

    /// The measure of the clean run.
    #[getter]
    fn clean(&self) -> f64 {
        self.map.clean
    }

    /// The largest change that a control makes: rounding. A value that is no larger is none.
    #[getter]
    fn floor(&self) -> f64 {
        self.map.floor
    }

    /// What the values are, in words.
    #[getter]
    fn measure(&self) -> &'static str {
        self.measure
    }

    /// The lines of `midlayer map -o json`.
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
        let (tokens, layers) = (self.map.rows.len(), self.map.layers.len());
        format!("Map({tokens} tokens, {layers} layers: {})", self.measure)
    }
}
