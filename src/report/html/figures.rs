//! The page's figures: data, axes and colours of meaning from here, looks from the script.

use std::collections::BTreeSet;

use maud::{Markup, Render, html};
use plotly::common::{AxisSide, DashType, Fill, HoverInfo, Line, Marker, Mode};
use plotly::layout::{Axis, HoverMode};
use plotly::{HeatMap, Layout, Plot, Scatter};
use plotters::style::Color;

use super::{View, in_script, task_heading};
use crate::intervention::Kind;
use crate::report::figure::{ceiling, colour, hex, label};
use crate::report::grid::percent;
use crate::report::overlay::VARIANT_COLOURS;
use crate::report::series::{Curve, Point, Share, TaskSeries};
use crate::report::table::sample_mark;
use crate::tasks::TaskName;

/// A figure with its heading and its downloads.
pub(super) struct Figure {
    heading: Markup,
    /// The title within a downloaded image, and its file name without an ending.
    title: String,
    file: String,
    note: String,
    plot: Plot,
    class: &'static str,
}

impl Render for Figure {
    fn render(&self) -> Markup {
        html! {
            figure.plot.(self.class) data-title=(self.title) data-file=(self.file) {
                div.bar {
                    h4 { (self.heading) }
                    div.downloads {
                        button type="button" data-image="svg" { "SVG" }
                        button type="button" data-image="png" { "PNG" }
                    }
                }
                div.canvas role="img" aria-label=(self.title) {}
                script type="application/json" { (in_script(&self.plot.to_json())) }
                @if !self.note.is_empty() { figcaption { (self.note) } }
            }
        }
    }
}

/// Text as Plotly should draw it: it knows tags, entities and, in hover texts, variables.
fn drawn(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('{', "&#123;")
}

fn rgba((r, g, b): (u8, u8, u8), alpha: f64) -> String {
    format!("rgba({r}, {g}, {b}, {alpha})")
}

/// A file name of plain characters.
pub(super) fn file_name(words: &[&str]) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') => c,
        _ => '-',
    };
    let name: String = words.join("-").chars().map(plain).take(100).collect();
    name.trim_matches(['-', '.']).to_string()
}

fn told(share: &Share) -> String {
    format!("{} %", percent(share))
}

/// Layers between ticks.
fn tick_step(n_layer: u32) -> f64 {
    match n_layer {
        0..=12 => 1.0,
        13..=24 => 2.0,
        25..=60 => 5.0,
        _ => 10.0,
    }
}

/// An axis of layers below, and one of depth above that stays in step with it.
fn layer_axes(layout: Layout, n_layer: u32) -> Layout {
    let n = f64::from(n_layer.max(1));
    let range = vec![-0.5, n - 0.5];
    let shares = [0.0, 20.0, 40.0, 60.0, 80.0];
    layout
        .x_axis(
            Axis::new()
                .title("manipulated layer k")
                .range(range.clone())
                .tick0(0.0)
                .dtick(tick_step(n_layer)),
        )
        .x_axis2(
            Axis::new()
                .title("depth")
                .overlaying("x")
                .side(AxisSide::Top)
                .matches("x")
                .range(range)
                .tick_values(shares.iter().map(|s| n * s / 100.0).collect())
                .tick_text(shares.iter().map(|s| format!("{s:.0}%")).collect())
                .show_grid(false),
        )
}

fn score_axis(metric: &str, top: f64) -> Axis {
    Axis::new()
        .title(metric)
        .range(vec![-0.02 * top, 1.03 * top])
        .tick_format(".0%")
        .range_mode(plotly::layout::RangeMode::ToZero)
}

/// A trace that shows nothing: an axis without one is not drawn.
fn holds_axis(x: f64) -> Box<Scatter<f64, Option<f64>>> {
    Scatter::new(vec![x], vec![None])
        .x_axis("x2")
        .show_legend(false)
        .hover_info(HoverInfo::Skip)
}

/// A shaded outline: along the upper ends, back along the lower ones.
fn band(x: &[f64], ends: &[(f64, f64)]) -> Box<Scatter<f64, f64>> {
    let there = x.iter().zip(ends).map(|(x, (_, high))| (*x, *high));
    let back = x.iter().zip(ends).map(|(x, (low, _))| (*x, *low)).rev();
    let (x, y) = there.chain(back).unzip();
    Scatter::new(x, y)
        .mode(Mode::Lines)
        .line(Line::new().width(0.0))
        .fill(Fill::ToSelf)
        .show_legend(false)
        .hover_info(HoverInfo::Skip)
}

struct Look<'l> {
    name: String,
    group: &'l str,
    colour: (u8, u8, u8),
    dash: DashType,
    /// Whether values say their layer: needed where lines have theirs at different places.
    names_layers: bool,
}

/// A curve with its interval; `x` gives a layer its place.
fn add_curve(plot: &mut Plot, curve: &Curve, look: &Look<'_>, x: impl Fn(u32) -> f64) {
    let xs: Vec<f64> = curve.points.iter().map(|p| x(p.layer)).collect();
    let ends: Vec<(f64, f64)> = curve
        .points
        .iter()
        .map(|p| (p.accuracy.low, p.accuracy.high))
        .collect();
    let colour = rgba(look.colour, 1.0);
    plot.add_trace(
        band(&xs, &ends)
            .legend_group(look.group)
            .fill_color(rgba(look.colour, 0.12)),
    );
    let values = curve.points.iter().map(|p| p.accuracy.value).collect();
    let text = |p: &Point| match look.names_layers {
        true => format!("{} at layer {}", told(&p.accuracy), p.layer),
        false => told(&p.accuracy),
    };
    let texts: Vec<String> = curve.points.iter().map(text).collect();
    plot.add_trace(
        Scatter::new(xs, values)
            .name(&look.name)
            .legend_group(look.group)
            .mode(Mode::LinesMarkers)
            .line(
                Line::new()
                    .color(colour.clone())
                    .width(2.0)
                    .dash(look.dash.clone()),
            )
            .marker(Marker::new().color(colour).size(6))
            .custom_data(texts)
            .hover_template("%{customdata}"),
    );
}

/// Score against layer: a line a manipulation, the clean score with its noise floor.
pub(super) fn scores(n: usize, view: &View<'_>, task: &TaskSeries) -> Figure {
    let n_layer = view.variant.spec.model.facts.n_layer;
    let clean = task.clean.value;
    let mut plot = Plot::new();
    plot.add_trace(holds_axis(0.0));
    let edges = [-0.5, f64::from(n_layer) - 0.5];
    if let Some(floor) = &task.floor {
        let ends = [((clean - floor.score).max(0.0), clean + floor.score); 2];
        plot.add_trace(band(&edges, &ends).legend_group("clean"));
    }
    plot.add_trace(
        Scatter::new(edges.to_vec(), vec![clean; 2])
            .name("clean")
            .legend_group("clean")
            .mode(Mode::Lines)
            .line(Line::new().dash(DashType::Dash).width(1.5))
            .hover_info(HoverInfo::Skip),
    );
    // All values of a layer are shown together: that of the clean run, which answers the pointer
    // only where something was swept, says which layer it is.
    let points = task.curves.iter().flat_map(|curve| &curve.points);
    let swept: BTreeSet<u32> = points.map(|p| p.layer).collect();
    let texts: Vec<String> = swept
        .iter()
        .map(|&layer| {
            let depth = 100.0 * f64::from(layer) / f64::from(n_layer.max(1));
            format!("{} (layer {layer}, depth {depth:.0}%)", told(&task.clean))
        })
        .collect();
    plot.add_trace(
        Scatter::new(
            swept.iter().map(|&layer| f64::from(layer)).collect(),
            vec![clean; swept.len()],
        )
        .name("clean")
        .legend_group("clean")
        .show_legend(false)
        .mode(Mode::Markers)
        .marker(Marker::new().size(1))
        .custom_data(texts)
        .hover_template("%{customdata}"),
    );
    for curve in &task.curves {
        let name = label(curve.kind);
        let look = Look {
            group: &curve.kind.to_string(),
            name,
            colour: colour(curve.kind).rgb(),
            dash: DashType::Solid,
            names_layers: false,
        };
        add_curve(&mut plot, curve, &look, f64::from);
    }
    let layout = layer_axes(Layout::new(), n_layer)
        .y_axis(score_axis(task.metric.name(), ceiling(task)))
        .hover_mode(HoverMode::XUnified);
    plot.set_layout(layout);
    let floor = task.floor.as_ref().map_or(String::new(), |floor| {
        format!(
            " Rounding alone moves it by {:.1} points and changes {:.0} % of answers ({} items).",
            100.0 * floor.score,
            100.0 * floor.changed,
            floor.n
        )
    });
    Figure {
        heading: task_heading(view, task),
        title: title(view, task),
        file: file_name(&["score", &number(n, view), &task.task.to_string()]),
        note: format!(
            "Clean {} {} of {} items.{floor}",
            task.metric.name(),
            told(&task.clean),
            task.clean.n
        ),
        plot,
        class: "score",
    }
}

/// What a downloaded image is called by: the mark of a sample goes with it.
fn title(view: &View<'_>, task: &TaskSeries) -> String {
    let mark = sample_mark(view.variant, task);
    format!("{}{mark} on {}", task.task, view.name)
}

/// A variant's number and name, for file names.
pub(super) fn number(n: usize, view: &View<'_>) -> String {
    format!("{}-{}", n + 1, view.name)
}

/// What is answered after injection at each layer: the original answer or the donor's.
pub(super) fn injection(n: usize, view: &View<'_>, task: &TaskSeries) -> Option<Figure> {
    let curve = task.curves.iter().find(|c| c.kind.has_donor())?;
    let n_layer = view.variant.spec.model.facts.n_layer;
    let modified = |p: &Point| p.modified.unwrap_or(p.accuracy);
    let points = || curve.points.iter();
    let rows: [Vec<Share>; 2] = [
        points().map(|p| p.accuracy).collect(),
        points().map(modified).collect(),
    ];
    let z: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| row.iter().map(|share| share.value).collect())
        .collect();
    let texts: Vec<Vec<String>> = rows.iter().map(|r| r.iter().map(told).collect()).collect();
    let answers = vec!["original".to_string(), "donor\u{2019}s".to_string()];
    let mut plot = Plot::new();
    plot.add_trace(
        HeatMap::new(points().map(|p| f64::from(p.layer)).collect(), answers, z)
            .zmin(0.0)
            .zmax(1.0)
            .show_scale(false)
            .text_matrix(texts)
            .hover_template("layer %{x}, %{y} answer: %{text}<extra></extra>"),
    );
    // Cells are as wide as layers lie apart, and as wide at the ends.
    let layers = f64::from(curve.points.last()?.layer) - f64::from(curve.points[0].layer);
    let half = 0.5 * (layers / (curve.points.len() as f64 - 1.0).max(1.0)).max(1.0);
    let range = vec![
        f64::from(curve.points[0].layer) - half,
        f64::from(curve.points.last()?.layer) + half,
    ];
    plot.set_layout(
        Layout::new()
            .x_axis(
                Axis::new()
                    .title("manipulated layer k")
                    .range(range)
                    .tick0(0.0)
                    .dtick(tick_step(n_layer))
                    .show_grid(false),
            )
            .y_axis(Axis::new().show_grid(false)),
    );
    Some(Figure {
        heading: html! { "Answer after injection at layer k" },
        title: format!("answer after injection, {}", title(view, task)),
        file: file_name(&[curve.kind.name(), &number(n, view), &task.task.to_string()]),
        note: "Share of items answered as asked, and as the donor would have it.".into(),
        plot,
        class: "heat",
    })
}

/// Where there are several variants: for each task a panel a manipulation, a line a variant.
pub(super) fn overlays(views: &[View<'_>]) -> Vec<(TaskName, Vec<Figure>)> {
    if views.len() < 2 {
        return Vec::new();
    }
    let mut names: Vec<TaskName> = Vec::new();
    for series in views.iter().flat_map(|view| &view.series) {
        if !names.contains(&series.task) {
            names.push(series.task);
        }
    }
    let tasks = names.into_iter().map(|task| {
        let mut kinds: Vec<Kind> = Vec::new();
        for curve in views
            .iter()
            .filter_map(|v| v.task(task))
            .flat_map(|s| &s.curves)
        {
            if !kinds.contains(&curve.kind) {
                kinds.push(curve.kind);
            }
        }
        kinds.sort();
        let figures = kinds
            .into_iter()
            .filter_map(|kind| overlay(views, task, kind));
        (task, figures.collect::<Vec<Figure>>())
    });
    tasks.filter(|(_, figures)| !figures.is_empty()).collect()
}

fn overlay(views: &[View<'_>], task: TaskName, kind: Kind) -> Option<Figure> {
    let lines: Vec<(usize, &View<'_>, &TaskSeries, &Curve)> = views
        .iter()
        .enumerate()
        .filter_map(|(n, view)| {
            let series = view.task(task)?;
            let curve = series.curves.iter().find(|c| c.kind == kind)?;
            Some((n, view, series, curve))
        })
        .collect();
    if lines.len() < 2 {
        return None;
    }
    let depth = |view: &View<'_>| view.variant.spec.model.facts.n_layer;
    let n_layer = depth(lines[0].1);
    let alike = lines.iter().all(|(_, view, ..)| depth(view) == n_layer);
    let mut plot = Plot::new();
    if alike {
        plot.add_trace(holds_axis(0.0));
    }
    for (n, view, series, curve) in &lines {
        let layers = f64::from(depth(view).max(1));
        let x = |layer: u32| match alike {
            true => f64::from(layer),
            false => 100.0 * f64::from(layer) / layers,
        };
        let dashes = [DashType::Solid, DashType::Dot, DashType::DashDot];
        let look = Look {
            name: drawn(&view.name),
            group: &n.to_string(),
            colour: VARIANT_COLOURS[n % VARIANT_COLOURS.len()],
            dash: dashes[n / VARIANT_COLOURS.len() % dashes.len()].clone(),
            names_layers: !alike,
        };
        let end = if alike { layers - 0.5 } else { 100.0 };
        plot.add_trace(
            Scatter::new(vec![-0.5, end], vec![series.clean.value; 2])
                .legend_group(look.group)
                .show_legend(false)
                .mode(Mode::Lines)
                .line(
                    Line::new()
                        .color(rgba(look.colour, 0.8))
                        .dash(DashType::Dash)
                        .width(1.0),
                )
                .hover_info(HoverInfo::Skip),
        );
        add_curve(&mut plot, curve, &look, x);
    }
    let top = lines.iter().map(|(_, _, series, _)| ceiling(series));
    let top = top.fold(0.1, f64::max);
    let layout = if alike {
        layer_axes(Layout::new(), n_layer)
    } else {
        Layout::new().x_axis(
            Axis::new()
                .title("depth of layer k, %")
                .range(vec![-1.0, 100.0]),
        )
    };
    plot.set_layout(
        layout
            .y_axis(score_axis(lines[0].2.metric.name(), top))
            .hover_mode(HoverMode::XUnified),
    );
    Some(Figure {
        heading: html! { span.swatch style={ "background:" (hex(kind)) } {} (label(kind)) },
        title: format!("{task}, {}", label(kind)),
        file: file_name(&["comparison", &task.to_string(), &kind.to_string()]),
        note: String::new(),
        plot,
        class: "overlay",
    })
}
