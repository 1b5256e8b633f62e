//! What Python is told while the library works.

use std::ops::ControlFlow;

use pyo3::prelude::*;

/// Says something through Python's warnings, which users can show, hide or raise.
pub fn tell(py: Python<'_>, texts: &[String]) -> PyResult<()> {
    let warn = py.import("warnings")?.getattr("warn")?;
    for text in texts {
        warn.call1((text, py.get_type::<pyo3::exceptions::PyUserWarning>(), 2))?;
    }
    Ok(())
}

/// Tells Python how far something is; its exception stops it.
pub fn tell_progress(
    progress: Option<&Py<PyAny>>,
    so_far: (usize, usize),
    failed: &mut Option<PyErr>,
) -> ControlFlow<()> {
    let told = progress.map(|told| Python::attach(|py| told.call1(py, so_far)));
    match told {
        Some(Err(error)) => {
            *failed = Some(error);
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    }
}
