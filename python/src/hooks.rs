//! Python functions on the states that enter a layer.

use std::sync::{Arc, Mutex, PoisonError};

use midlayer::engine::{self, Engine, Request};
use midlayer::intervention::Intervention;
use midlayer::trial::Run;
use numpy::{AllowTypeChange, PyArray1, PyArrayLikeDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::errors::{HookError, usage};

/// The first exception of the hooks of a run: the library knows its text alone.
#[derive(Clone, Default)]
pub struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    fn keep(&self, error: PyErr) -> String {
        let text = error.to_string();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert(error);
        text
    }

    /// The exception, if there was one.
    pub fn take(&self) -> Option<PyErr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The intervention that calls a function of Python at a layer.
pub fn intervention(layer: u32, f: Py<PyAny>, raised: Raised) -> Intervention {
    Intervention::custom_rows(layer, move |layer, positions, rows| {
        Python::attach(|py| call(py, &f, layer, positions, rows)).map_err(|e| raised.keep(e))
    })
}

/// Calls a function with a copy of the rows, and puts what it left or gave in their place. The copy
/// belongs to Python: it may be kept, but is read-only after the call, when it is nobody's states.
fn call(
    py: Python<'_>,
    f: &Py<PyAny>,
    layer: u32,
    positions: &[u32],
    rows: &mut [f32],
) -> PyResult<()> {
    let shape = [positions.len(), rows.len() / positions.len()];
    let array = PyArray1::from_slice(py, rows).reshape(shape)?;
    let places = positions.iter().map(|position| i64::from(*position));
    let places = PyArray1::from_vec(py, places.collect());
    let given = f.call1(py, (layer, places, &array))?.into_bound(py);
    let given = match given.is_none() {
        true => array.as_any().clone(),
        false => given,
    };
    let wrong = |what: String| HookError::new_err(format!("the hook at layer {layer} {what}"));
    let left: PyArrayLikeDyn<'_, f32, AllowTypeChange> = given.extract().map_err(|_| {
        wrong("gave no array; give one of the rows' shape, or nothing where they are changed in place".into())
    })?;
    if left.shape() != shape {
        return Err(wrong(format!(
            "gave an array of shape {:?}; the rows are {shape:?} (tokens, width)",
            left.shape()
        )));
    }
    for (row, value) in rows.iter_mut().zip(left.as_array().iter()) {
        if !value.is_finite() {
            return Err(wrong(format!(
                "gave {value}, and states are finite numbers"
            )));
        }
        *row = *value;
    }
    drop(left);
    let read_only = pyo3::types::PyDict::new(py);
    read_only.set_item("write", false)?;
    array.call_method("setflags", (), Some(&read_only))?;
    Ok(())
}

/// Adds hooks to every run, or makes a run of them where there is none.
pub fn add(
    runs: &mut Vec<Run>,
    hooks: Vec<(u32, Py<PyAny>)>,
    raised: &Raised,
    engine: &dyn Engine,
    prompt: &engine::Prompt,
) -> PyResult<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    if runs.is_empty() {
        runs.push(Run {
            stack: 0,
            name: "hooks".into(),
            layer: match &hooks[..] {
                [(layer, _)] => Some(*layer),
                _ => None,
            },
            seed: None,
            request: Request::new(prompt),
        });
    }
    for (layer, f) in hooks {
        let hook = intervention(layer, f, raised.clone());
        let n_layer = engine.facts().n_layer;
        hook.check(n_layer)
            .map_err(|error| usage(error.to_string()))?;
        for run in &mut *runs {
            run.request.plan.push(hook.clone());
        }
    }
    Ok(())
}
