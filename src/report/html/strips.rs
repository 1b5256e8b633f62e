//! All half-way layers on one axis, and the differences between models as a forest plot.

use maud::html;
use plotly::common::{HoverInfo, Line, Mode};
use plotly::layout::{Axis, HoverMode, Shape, ShapeLayer, ShapeType};
use plotly::{Layout, Plot, Scatter};
use plotters::style::Color;

use super::View;
use super::figures::{Figure, drawn, rgba};
use super::marks::{Marks, tick};
use crate::report::figure::colour;
use crate::report::findings::{Finding, Report};
use crate::stats::SAME_WITHIN;

/// Rows of a figure from the top down: name, marks, colour, what the pointer is told.
struct Row {
    name: String,
    marks: Marks,
    colour: (u8, u8, u8),
    told: String,
}

/// Where there are several models, tasks or manipulations: their half-way layers on one axis, and
/// the differences between the models of each run.
pub(super) fn strips(views: &[View<'_>], reports: &[Report<'_>]) -> Vec<Figure> {
    let mut figures = Vec::new();
    figures.extend(half_way(views));
    figures.extend(reports.iter().enumerate().filter_map(forest));
    figures
}

fn half_way(views: &[View<'_>]) -> Option<Figure> {
    let mut rows = Vec::new();
    let several = views.len() > 1;
    for view in views {
        let depth = f64::from(view.variant.spec.model.facts.n_layer.max(1));
        let findings = view.report.findings.iter();
        for finding in findings.filter(|f| f.variant == view.number) {
            let mut marks = Marks::of(finding)?;
            marks.scale(100.0 / depth);
            rows.push(Row {
                name: name(view, finding, several),
                marks,
                colour: colour(finding.kind).rgb(),
                told: format!("half-way layer: {}", finding.half_way_text()),
            });
        }
    }
    // A single row is in the figure of scores.
    if rows.len() < 2 {
        return None;
    }
    Some(figure(
        "Half-way layers",
        "half-way-layers",
        "A tick at each half-way layer on the line of its interval; shaded is the range that can be ignored.",
        &rows,
        Axis::new().title("depth, %").range(vec![-1.0, 101.0]),
        None,
    ))
}

fn name(view: &View<'_>, finding: &Finding, several: bool) -> String {
    match several {
        true => format!("{}, {}, {}", view.name, finding.task, finding.kind),
        false => format!("{}, {}", finding.task, finding.kind),
    }
}

/// A run's differences with the band in which they count as the same.
fn forest((n, report): (usize, &Report<'_>)) -> Option<Figure> {
    let rows: Vec<Row> = report
        .differences
        .iter()
        .filter(|row| row.difference.found)
        .map(|row| Row {
            name: format!("{}, {}, {}", row.variant.1, row.task, row.kind),
            marks: Marks {
                interval: Some(row.difference.interval),
                layer: Some(row.difference.layers),
                ignorable: None,
            },
            colour: colour(row.kind).rgb(),
            told: format!("{} layers: {}", row.layers_text(), row.verdict_text()),
        })
        .collect();
    let reference = &report.differences.first()?.reference;
    if rows.is_empty() {
        return None;
    }
    let ends = rows.iter().filter_map(|row| row.marks.interval);
    let far = ends
        .flat_map(|(low, high)| [low.abs(), high.abs()])
        .filter(|x| x.is_finite())
        .fold(1.5 * SAME_WITHIN, f64::max);
    let far = (1.1 * far).min(100.0);
    Some(figure(
        &format!("Half-way layers against {reference}"),
        &format!("differences-{}", n + 1),
        "Differences in layers with their 95% intervals; within the shaded band of 1 layer they count as the same.",
        &rows,
        Axis::new().title("layers later").range(vec![-far, far]),
        Some(SAME_WITHIN),
    ))
}

fn figure(
    title: &str,
    file: &str,
    note: &str,
    rows: &[Row],
    axis: Axis,
    band: Option<f64>,
) -> Figure {
    let mut plot = Plot::new();
    for (n, row) in rows.iter().enumerate() {
        let y = -(n as f64);
        let line = |(low, high): (f64, f64), width: f64, alpha: f64| {
            Scatter::new(vec![low.max(-200.0), high.min(200.0)], vec![y; 2])
                .show_legend(false)
                .mode(Mode::Lines)
                .line(Line::new().color(rgba(row.colour, alpha)).width(width))
                .hover_info(HoverInfo::Skip)
        };
        if let Some(range) = row.marks.ignorable {
            plot.add_trace(line(range, 12.0, 0.3));
        }
        if let Some(range) = row.marks.interval {
            plot.add_trace(line(range, 2.0, 1.0));
        }
        let at = row.marks.layer.or(row
            .marks
            .interval
            .map(|(low, high)| 0.5 * (low.max(-200.0) + high.min(200.0))));
        if let Some(at) = at {
            let size = if row.marks.layer.is_some() { 12 } else { 1 };
            plot.add_trace(
                Scatter::new(vec![at], vec![y])
                    .show_legend(false)
                    .mode(Mode::Markers)
                    .marker(tick(row.colour).size(size))
                    .custom_data(vec![drawn(&format!("{}: {}", row.name, row.told))])
                    .hover_template("%{customdata}<extra></extra>"),
            );
        }
    }
    let names = rows.iter().map(|row| drawn(&row.name));
    let places = (0..rows.len()).map(|n| -(n as f64));
    let mut layout = Layout::new()
        .x_axis(axis)
        .y_axis(
            Axis::new()
                .range(vec![0.6 - rows.len() as f64, 0.6])
                .tick_values(places.collect())
                .tick_text(names.collect())
                .show_grid(false),
        )
        .hover_mode(HoverMode::Closest);
    if let Some(half) = band {
        let shade = Shape::new()
            .shape_type(ShapeType::Rect)
            .layer(ShapeLayer::Below)
            .x_ref("x")
            .y_ref("paper")
            .x0(-half)
            .x1(half)
            .y0(0)
            .y1(1)
            .fill_color("rgba(128, 128, 128, 0.2)")
            .line(plotly::layout::ShapeLine::new().width(0.0));
        layout = layout.shapes(vec![shade]);
    }
    plot.set_layout(layout);
    Figure {
        heading: html! { (title) },
        title: title.to_string(),
        file: file.to_string(),
        note: note.to_string(),
        plot,
        class: "strips",
        rows: rows.len(),
    }
}
