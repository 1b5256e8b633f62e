//! What a run shows: accuracy against layer, tables, figures.
//!
//! Exporters are pure, rows in and text out; [`write()`] puts the files into the run's folder.

mod drift;
mod figure;
mod findings;
mod fit;
mod grid;
pub mod html;
mod lines;
mod numbers;
mod overlay;
mod profiles;
mod provenance;
mod scaling;
mod series;
mod table;
mod verdicts;

use std::path::{Path, PathBuf};

pub use drift::drift_svg;
pub(crate) use figure::{INFALLIBLE, axes, colour, legend, on_svg};
pub use figure::{injection_svg, panels_svg, score_svg};
pub use findings::{DifferenceRow, Finding, Options, Report};
pub use fit::{Column, STYLE, fit, wrap};
pub use overlay::overlay_svg;
pub use provenance::settings;
pub use scaling::{ScalingLine, ScalingPanel, scaling_svg};
pub use series::{Curve, Point, Share, TaskSeries, series};
pub use table::{incomplete, markdown, terminal};

use crate::files::replace;
use crate::store::{StoredRun, StoredVariant};

/// A file of the report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be written: {source} (`out`)")]
pub struct ReportError {
    path: PathBuf,
    source: std::io::Error,
}

/// What the names of a variant's files begin with: nothing where it is the run's only one.
fn prefix(run: &StoredRun, variant: &StoredVariant) -> String {
    if run.variants.len() < 2 {
        return String::new();
    }
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '_'
        }
    };
    let mut label: String = variant.label.chars().map(plain).collect();
    if label.len() > LONGEST_LABEL {
        // Cut short it may be another's too.
        let mut variants = run.variants.iter();
        let n = variants.position(|v| std::ptr::eq(v, variant));
        label = format!("{}_{}", n.unwrap_or_default(), &label[..LONGEST_LABEL]);
    }
    format!("{label}-")
}

/// Characters of a label in a file's name.
const LONGEST_LABEL: usize = 100;

/// Writes `report.md`, and for each variant a figure a task, one of all of them, and a heat map
/// where `inject` was run, into the run's folder. Returns the files.
///
/// # Errors
/// [`ReportError`].
pub fn write(report: &Report<'_>) -> Result<Vec<PathBuf>, ReportError> {
    let run = report.run;
    let mut files = Vec::new();
    let mut put = |name: String, text: String| {
        let path = run.folder.join(name);
        replace(&path, &text).map_err(|source| ReportError {
            path: path.clone(),
            source,
        })?;
        files.push(path);
        Ok(())
    };
    put("report.md".into(), markdown(report))?;
    if let Some(svg) = overlay_svg(report) {
        put("variants.svg".into(), svg)?;
    }
    if let Some(svg) = drift_svg(run) {
        put("drift.svg".into(), svg)?;
    }
    for (n, variant) in run.variants.iter().enumerate() {
        let prefix = prefix(run, variant);
        let tasks = report.series[n].iter().filter(|task| task.clean.n > 0);
        let tasks: Vec<&TaskSeries> = tasks.collect();
        if let Some(svg) = panels_svg(report, n, &tasks) {
            put(format!("{prefix}scores.svg"), svg)?;
        }
        for task in tasks {
            let svg = score_svg(report, n, task);
            put(format!("{prefix}score-{}.svg", task.task), svg)?;
            if let Some(svg) = injection_svg(task) {
                put(format!("{prefix}inject-{}.svg", task.task), svg)?;
            }
        }
    }
    Ok(files)
}

/// The page's file name within a run's folder.
pub const PAGE: &str = "report.html";

/// Writes the [page](html::page) of one or several runs.
///
/// # Errors
/// [`ReportError`].
pub fn write_page(reports: &[Report<'_>], file: &Path) -> Result<(), ReportError> {
    replace(file, &html::page(reports)).map_err(|source| ReportError {
        path: file.to_path_buf(),
        source,
    })
}
