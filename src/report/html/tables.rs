//! The page's tables.

use maud::{Markup, html};

use super::figures::{file_name, number};
use super::words::folder_name;
use super::{View, task_heading};
use crate::report::findings::Report;
use crate::report::grid::{
    DIFFERENCE_TITLE, DRIFT_TITLE, Grid, LAYERS_TITLE, LOSS_TITLE, MODELS_TITLE, difference_grid,
    drift_grid, layer_grids, layers_grid, loss_grid, models_grid, noise_grid,
};
use crate::report::table::floor_line;

/// A table in its own scrolling box, with its download.
fn table(title: &str, file: &str, grid: &Grid) -> Markup {
    html! {
        figure.table data-file=(file) {
            div.bar {
                h4 { (title) }
                div.downloads { button type="button" data-csv="" { "CSV" } }
            }
            div.scroll tabindex="0" role="region" aria-label=(title) {
                table {
                    thead { tr { @for cell in &grid.head { th scope="col" { (cell) } } } }
                    tbody {
                        @for row in &grid.rows {
                            tr { @for cell in row { td { (cell) } } }
                        }
                    }
                }
            }
        }
    }
}

/// `the x, for y:` as a heading.
fn heading(text: &str) -> String {
    let text = text.trim_end_matches(':');
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// Half-way and ignorable layers, and how variants differ in them, run by run.
pub(super) fn layers_section(reports: &[Report<'_>]) -> Markup {
    html! {
        section #transitions {
            h2 { "Half-way and ignorable layers" }
            @for (n, report) in reports.iter().enumerate() {
                @if reports.len() > 1 { h3 { (folder_name(report.run)) } }
                @let n = (n + 1).to_string();
                @let layers = layers_grid(report);
                @if layers.rows.is_empty() {
                    p.muted { "No manipulation has run." }
                } @else {
                    (table(&heading(LAYERS_TITLE), &file_name(&["layers", &n]), &layers))
                }
                @if report.run.variants.len() > 1 {
                    (table(&heading(MODELS_TITLE), &file_name(&["models", &n]), &models_grid(report)))
                }
                @let differences = difference_grid(report);
                @if !differences.rows.is_empty() {
                    (table(&heading(DIFFERENCE_TITLE), &file_name(&["differences", &n]), &differences))
                }
                @let drift = drift_grid(report.run);
                @if !drift.rows.is_empty() {
                    (table(&heading(DRIFT_TITLE), &file_name(&["drift", &n]), &drift))
                }
            }
        }
    }
}

/// All numbers by layer, folded away.
pub(super) fn numbers_section(views: &[View<'_>]) -> Markup {
    html! {
        section #numbers {
            h2 { "Numbers by layer" }
            p.muted { "Scores in percent with their 95% intervals." }
            @for (n, view) in views.iter().enumerate().filter(|(_, view)| view.tasks().next().is_some()) {
                @if views.len() > 1 { h3 { (view.name) } }
                @let number = number(n, view);
                @for task in view.tasks() {
                    details {
                        summary { (task_heading(view, task)) }
                        @for part in layer_grids(task) {
                            @let task = task.task.to_string();
                            @let file = file_name(&[part.name, &number, &task]);
                            (table(part.title, &file, &part.grid))
                        }
                        @let findings = view.findings(task.task);
                        @if findings.iter().any(|f| f.tells_losses()) {
                            @let file = file_name(&["loss", &number, &task.task.to_string()]);
                            (table(&heading(LOSS_TITLE), &file, &loss_grid(&findings)))
                        }
                    }
                }
                @let noise = noise_grid(view.variant);
                @if !noise.rows.is_empty() {
                    details {
                        summary { "noise floor" }
                        p.muted { (heading(&floor_line(view.variant, view.series))) "." }
                        (table(
                            "The same clean prompts decoded in other batch shapes",
                            &file_name(&["noise-floor", &number]),
                            &noise,
                        ))
                    }
                }
            }
        }
    }
}
