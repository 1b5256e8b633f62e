//! Variants over one another.

use maud::html;
use plotly::common::{HoverInfo, Line, Marker, Mode};
use plotly::layout::{Axis, HoverMode};
use plotly::{Layout, Plot, Scatter};
use plotters::style::Color;

use super::View;
use super::figures::{
    Figure, Look, add_curve, dash, drawn, file_name, holds_axis, layer_axes, rgba, score_axis,
    symbol,
};
use super::marks::add_strip;
use crate::intervention::Kind;
use crate::report::drift::compared;
use crate::report::figure::{ceiling, colour, hex, label};
use crate::report::findings::Report;
use crate::report::grid::drift_text;
use crate::report::lines::Style;
use crate::report::series::{Curve, TaskSeries};
use crate::tasks::TaskName;

/// Clean scores, which are no manipulation's.
const GREY: (u8, u8, u8) = (128, 128, 128);

/// Where there are several variants: for each task a panel a manipulation, a line style a variant.
pub(super) fn overlays(views: &[View<'_>]) -> Vec<(TaskName, Vec<Figure>)> {
    if views.len() < 2 {
        return Vec::new();
    }
    let mut names: Vec<TaskName> = Vec::new();
    let mut kinds: Vec<Kind> = Vec::new();
    for series in views.iter().flat_map(|view| view.series) {
        if !names.contains(&series.task) {
            names.push(series.task);
        }
        for curve in &series.curves {
            if !kinds.contains(&curve.kind) {
                kinds.push(curve.kind);
            }
        }
    }
    kinds.sort();
    let tasks = names.into_iter().map(|task| {
        let kinds = kinds.iter().copied();
        let figures = kinds.filter_map(|kind| overlay(views, task, kind));
        (task, figures.collect::<Vec<Figure>>())
    });
    tasks.filter(|(_, figures)| !figures.is_empty()).collect()
}

/// The drift of models' states from the first one's, a line style a model.
pub(super) fn drift((n, report): (usize, &Report<'_>)) -> Option<Figure> {
    let compared = compared(report.run);
    let highest = compared.iter().flat_map(|(_, _, drift)| &drift.layers);
    let highest = highest.map(|layer| layer.error).fold(1e-6, f64::max);
    let layers = compared
        .iter()
        .map(|(.., drift)| drift.layers.len())
        .max()?;
    let mut plot = Plot::new();
    plot.add_trace(holds_axis(0.0));
    for (number, name, drift) in &compared {
        let style = Style::of(*number);
        let (x, y): (Vec<f64>, Vec<f64>) = drift
            .layers
            .iter()
            .enumerate()
            .map(|(layer, drift)| (layer as f64, drift.error))
            .unzip();
        let colour = rgba(GREY, 1.0);
        let marker = Marker::new().symbol(symbol(style.mark)).size(7);
        let line = Line::new().width(2.0).dash(dash(style.dash));
        plot.add_trace(
            Scatter::new(x, y)
                .name(drawn(name))
                .mode(Mode::LinesMarkers)
                .line(line.color(colour.clone()))
                .marker(marker.color(colour))
                .custom_data(drift.layers.iter().map(drift_text).collect())
                .hover_template("%{customdata}"),
        );
    }
    let axis = Axis::new()
        .title("difference, share of the state")
        .range(vec![0.0, 1.05 * highest])
        .tick_format(".2~%");
    plot.set_layout(
        layer_axes(Layout::new(), layers as u32)
            .y_axis(axis)
            .hover_mode(HoverMode::XUnified),
    );
    let (_, _, told) = compared.last()?;
    Some(Figure {
        heading: html! { "Drift of the states entering a layer, against " (report.run.variants[0].label) },
        title: "drift of the states entering a layer".into(),
        file: file_name(&["drift", &(n + 1).to_string()]),
        note: format!(
            "Clean runs of {} prompts, {} tokens in all: the length of the difference as a share of the first model's state, and in brackets the cosine. The first model in another batch is what rounding does.",
            told.prompts, told.tokens
        ),
        plot,
        class: "overlay drift",
        rows: 0,
    })
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
    let top = lines.iter().map(|(_, _, series, _)| ceiling(series));
    let top = top.fold(0.1, f64::max);
    for (strip, (n, view, series, curve)) in lines.iter().enumerate() {
        let layers = f64::from(depth(view).max(1));
        let x = |layer: u32| match alike {
            true => f64::from(layer),
            false => 100.0 * f64::from(layer) / layers,
        };
        let look = Look {
            name: drawn(&view.name),
            group: &n.to_string(),
            colour: colour(kind).rgb(),
            style: Style::of(*n),
            marked: true,
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
                        .color(rgba(GREY, 1.0))
                        .dash(dash(look.style.dash))
                        .width(1.0),
                )
                .hover_info(HoverInfo::Skip),
        );
        add_curve(&mut plot, curve, &look, x);
        let finding = view.findings(task).into_iter().find(|f| f.kind == kind);
        if let Some(finding) = finding.filter(|_| alike) {
            add_strip(&mut plot, finding, &look, strip, top);
        }
    }
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
            .y_axis(score_axis(
                lines[0].2.metric.name(),
                top,
                if alike { lines.len() } else { 0 },
            ))
            .hover_mode(HoverMode::XUnified),
    );
    Some(Figure {
        heading: html! { span.swatch style={ "background:" (hex(kind)) } {} (label(kind)) },
        title: format!("{task}, {}", label(kind)),
        file: file_name(&["comparison", &task.to_string(), &kind.to_string()]),
        note: String::new(),
        plot,
        class: "overlay",
        rows: 0,
    })
}
