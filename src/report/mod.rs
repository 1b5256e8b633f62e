//! What a run shows: accuracy against layer, tables, figures.
//!
//! Exporters are pure, rows in and text out; [`write()`] puts the files into the run's folder.

mod figure;
mod scaling;
mod series;
mod table;

use std::path::PathBuf;

pub use figure::{injection_svg, panels_svg, score_svg};
pub use scaling::{ScalingLine, ScalingPanel, scaling_svg};
pub use series::{Curve, Point, Share, TaskSeries, series};
pub use table::{STYLE, markdown, terminal};

use crate::files::replace;
use crate::store::StoredRun;

/// A file of the report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be written: {source} (--out)")]
pub struct ReportError {
    path: PathBuf,
    source: std::io::Error,
}

/// Writes `report.md`, a figure a task and one of all of them, and a heat map where `inject` was run, into the run's
/// folder. Returns the files.
///
/// # Errors
/// [`ReportError`].
pub fn write(run: &StoredRun) -> Result<Vec<PathBuf>, ReportError> {
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
    put("report.md".into(), markdown(run))?;
    let tasks = series(run);
    if let Some(svg) = panels_svg(run, &tasks) {
        put("scores.svg".into(), svg)?;
    }
    for task in tasks {
        put(format!("score-{}.svg", task.task), score_svg(run, &task))?;
        if let Some(svg) = injection_svg(&task) {
            put(format!("inject-{}.svg", task.task), svg)?;
        }
    }
    Ok(files)
}
