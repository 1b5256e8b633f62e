//! Stored runs, read-only.

use std::path::PathBuf;

use midlayer::export::{Exporter, JsonLines, Parquet, Prompts, records};
use midlayer::report::{self, Options, Report, Share};
use midlayer::store::StoredRun;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors::{StoreError, said};

/// A stored run, as it was when it was read.
#[pyclass(frozen, module = "midlayer._native")]
pub struct Stored {
    run: StoredRun,
}

impl Stored {
    fn export(&self, exporter: &dyn Exporter, prompts: bool) -> PyResult<Vec<u8>> {
        let name = self
            .run
            .folder
            .file_name()
            .unwrap_or(self.run.folder.as_os_str());
        let name = name.to_string_lossy();
        let prompts = match prompts {
            true => Prompts::Included,
            false => Prompts::LeftOut,
        };
        let mut bytes = Vec::new();
        let mut rows = records(&name, &self.run, prompts);
        let written = exporter.export(&mut rows, &mut bytes);
        written.map_err(|error| StoreError::new_err(said(&error)))?;
        Ok(bytes)
    }
}

#[pymethods]
impl Stored {
    /// Reads a run's folder.
    #[new]
    fn new(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        let folder = std::fs::canonicalize(&folder).unwrap_or(folder);
        let run = py.detach(|| StoredRun::read(&folder));
        let run = run.map_err(|error| StoreError::new_err(said(&error)))?;
        Ok(Self { run })
    }

    /// What is missing of it; None of a run that is whole.
    #[getter]
    fn missing(&self) -> Option<String> {
        self.run.missing().map(|missing| missing.to_string())
    }

    /// What tells its models apart.
    #[getter]
    fn labels(&self) -> Vec<&str> {
        self.run
            .variants
            .iter()
            .map(|variant| &*variant.label)
            .collect()
    }

    /// Its rows as JSON lines, as `midlayer export -o jsonl` writes them.
    fn json_lines(&self, prompts: bool) -> PyResult<String> {
        let bytes = self.export(&JsonLines, prompts)?;
        String::from_utf8(bytes).map_err(|error| StoreError::new_err(said(&error)))
    }

    /// Its rows as a Parquet file.
    fn parquet<'py>(&self, py: Python<'py>, prompts: bool) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.export(&Parquet, prompts)?))
    }

    /// Where each manipulation stops mattering: a dict for each model, task and manipulation.
    fn transitions<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let report = Report::new(&self.run, Options::default());
        let rows = report.findings.iter().map(|finding| {
            let row = PyDict::new(py);
            row.set_item("model", &finding.label)?;
            row.set_item("task", finding.task.as_str())?;
            row.set_item("manipulation", finding.kind.to_string())?;
            row.set_item("items", finding.items)?;
            row.set_item("clean", finding.clean)?;
            row.set_item(
                "half_way",
                finding.half_way.found().map(|found| found.layer),
            )?;
            let interval = finding.half_way.interval();
            row.set_item("low", interval.map(|(low, _)| low))?;
            row.set_item("high", interval.map(|(_, high)| high))?;
            row.set_item("ignorable_from", finding.ignorable.from)?;
            Ok(row)
        });
        rows.collect()
    }

    /// Mean scores by layer: a dict for each model, task, manipulation and layer, and before them one
    /// for the clean run, whose layer is None.
    fn scores<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let report = Report::new(&self.run, Options::default());
        let mut rows = Vec::new();
        for (variant, tasks) in self.run.variants.iter().zip(&report.series) {
            for task in tasks {
                let row = |name: String, layer: Option<u32>, score: &Share, kl: f64| {
                    let row = PyDict::new(py);
                    row.set_item("model", &variant.label)?;
                    row.set_item("task", task.task.as_str())?;
                    row.set_item("manipulation", name)?;
                    row.set_item("layer", layer)?;
                    row.set_item("score", score.value)?;
                    row.set_item("low", score.low)?;
                    row.set_item("high", score.high)?;
                    row.set_item("items", score.n)?;
                    row.set_item("kl", kl)?;
                    PyResult::Ok(row)
                };
                rows.push(row("clean".into(), None, &task.clean, 0.0)?);
                for curve in &task.curves {
                    for point in &curve.points {
                        let (name, layer) = (curve.kind.to_string(), Some(point.layer));
                        rows.push(row(name, layer, &point.accuracy, point.kl)?);
                    }
                }
            }
        }
        Ok(rows)
    }

    /// The report as text for a terminal.
    fn report(&self) -> String {
        report::terminal(&Report::new(&self.run, Options::default()), Some(100))
    }

    /// The report as a page of its own, with all that it needs.
    fn page(&self) -> String {
        report::html::page(&[Report::new(&self.run, Options::default())])
    }

    /// The figures, score against layer: an SVG for each model and task.
    fn figures(&self) -> Vec<String> {
        let report = Report::new(&self.run, Options::default());
        let variants = report.series.iter().enumerate();
        let figures = variants.flat_map(|(n, tasks)| {
            let tasks = tasks.iter().filter(|task| task.clean.n > 0);
            tasks
                .map(|task| report::score_svg(&report, n, task))
                .collect::<Vec<_>>()
        });
        figures.collect()
    }

    /// Its folder.
    #[getter]
    fn folder(&self) -> PathBuf {
        self.run.folder.clone()
    }
}
