//! The page's figures: data, axes and colours of meaning from here, looks from the script.

use std::collections::BTreeSet;

use maud::{Markup, Render, html};
use plotly::common::{AxisSide, DashType, Fill, HoverInfo, Line, Marker, MarkerSymbol, Mode};
use plotly::layout::{Axis, HoverMode};
use plotly::{HeatMap, Layout, Plot, Scatter};
use plotters::style::Color;

use super::marks::add_strip;
use super::{View, in_script, task_heading};
use crate::report::figure::{ceiling, colour, label};
use crate::report::grid::percent;
use crate::report::lines::{Dash, Mark, Style};
use crate::report::series::{Curve, Point, Share, TaskSeries};
use crate::report::table::sample_mark;

/// A figure with its heading and its downloads.
pub(super) struct Figure {
    pub(super) heading: Markup,
    /// The title within a downloaded image, and its file name without an ending.
    pub(super) title: String,
    pub(super) file: String,
    pub(super) note: String,
    pub(super) plot: Plot,
    pub(super) class: &'static str,
    /// Rows of a figure whose height they make; 0 of others.
    pub(super) rows: usize,
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
                @let height = (self.rows > 0).then(|| format!("height:{}px", 70 + 22 * self.rows));
                div.canvas role="img" aria-label=(self.title) style=[height] {}
                script type="application/json" { (in_script(&self.plot.to_json())) }
                @if !self.note.is_empty() { figcaption { (self.note) } }
            }
        }
    }
}

/// Text as Plotly should draw it: it knows tags, entities and, in hover texts, variables.
pub(super) fn drawn(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('{', "&#123;")
}

pub(super) fn rgba((r, g, b): (u8, u8, u8), alpha: f64) -> String {
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
pub(super) fn layer_axes(layout: Layout, n_layer: u32) -> Layout {
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

/// The height of a strip below zero, as a share of the axis above it.
pub(super) const STRIP: f64 = 0.045;

/// A score axis up to `top`, with room for strips below zero.
pub(super) fn score_axis(metric: &str, top: f64, strips: usize) -> Axis {
    let low = -(0.02 + STRIP * strips as f64) * top;
    let step = match top {
        x if x > 0.5 => 0.2,
        x if x > 0.25 => 0.1,
        _ => 0.05,
    };
    let ticks = (0..=(1.001 * top / step) as usize).map(|n| n as f64 * step);
    Axis::new()
        .title(metric)
        .range(vec![low, 1.03 * top])
        .tick_values(ticks.collect())
        .tick_format(".0%")
}

/// A trace that shows nothing: an axis without one is not drawn.
pub(super) fn holds_axis(x: f64) -> Box<Scatter<f64, Option<f64>>> {
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

pub(super) struct Look<'l> {
    pub(super) name: String,
    pub(super) group: &'l str,
    pub(super) colour: (u8, u8, u8),
    pub(super) style: Style,
    /// Whether a half-way layer has the style's mark, where models share a panel, or a tick.
    pub(super) marked: bool,
    /// Whether values say their layer: needed where lines have theirs at different places.
    pub(super) names_layers: bool,
}

pub(super) fn dash(dash: Dash) -> DashType {
    match dash {
        Dash::Solid => DashType::Solid,
        Dash::Dotted => DashType::Dot,
        Dash::Dashed => DashType::Dash,
        Dash::Long => DashType::LongDash,
    }
}

pub(super) fn symbol(mark: Mark) -> MarkerSymbol {
    match mark {
        Mark::Circle => MarkerSymbol::Circle,
        Mark::Square => MarkerSymbol::Square,
        Mark::Triangle => MarkerSymbol::TriangleUp,
        Mark::Diamond => MarkerSymbol::Diamond,
        Mark::Cross => MarkerSymbol::Cross,
    }
}

/// A curve with its interval; `x` gives a layer its place.
pub(super) fn add_curve(plot: &mut Plot, curve: &Curve, look: &Look<'_>, x: impl Fn(u32) -> f64) {
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
                    .dash(dash(look.style.dash)),
            )
            .marker(
                Marker::new()
                    .color(colour)
                    .size(if look.marked { 7 } else { 6 })
                    .symbol(symbol(look.style.mark)),
            )
            .custom_data(texts)
            .hover_template("%{customdata}"),
    );
}

/// Score against layer: a line a manipulation, the clean score with its noise floor.
pub(super) fn scores(n: usize, view: &View<'_>, task: &TaskSeries) -> Figure {
    let n_layer = view.variant.spec.model.facts.n_layer;
    let clean = task.clean.value;
    let findings = view.findings(task.task);
    let top = ceiling(task);
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
            style: Style::of(0),
            marked: false,
            names_layers: false,
        };
        add_curve(&mut plot, curve, &look, f64::from);
        let found = findings.iter().position(|f| f.kind == curve.kind);
        if let Some(n) = found {
            add_strip(&mut plot, findings[n], &look, n, top);
        }
    }
    let layout = layer_axes(Layout::new(), n_layer)
        .y_axis(score_axis(task.metric.name(), top, findings.len()))
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
        rows: 0,
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
        rows: 0,
    })
}
