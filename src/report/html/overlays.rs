//! Variants over one another.

use maud::html;
use plotly::common::{DashType, HoverInfo, Line, Mode};
use plotly::layout::{Axis, HoverMode};
use plotly::{Layout, Plot, Scatter};

use super::View;
use super::figures::{
    Figure, Look, add_curve, drawn, file_name, holds_axis, layer_axes, rgba, score_axis,
};
use super::marks::add_strip;
use crate::intervention::Kind;
use crate::report::figure::{ceiling, hex, label};
use crate::report::overlay::VARIANT_COLOURS;
use crate::report::series::{Curve, TaskSeries};
use crate::tasks::TaskName;

/// Where there are several variants: for each task a panel a manipulation, a line a variant.
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
