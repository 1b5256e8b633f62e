//! The variants of a run over one another: a panel for each task and manipulation.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::figure::{INFALLIBLE, PANEL, Strips, axes, legend, on_svg};
use super::findings::{Finding, Report};
use super::series::{Curve, Share, TaskSeries};
use crate::intervention::Kind;
use crate::tasks::{Metric, TaskName};

/// The bright scheme of Paul Tol, told apart by colour-blind readers and from the manipulations'
/// colours.
pub(super) const VARIANT_COLOURS: [(u8, u8, u8); 6] = [
    (68, 119, 170),
    (238, 102, 119),
    (34, 136, 51),
    (204, 187, 68),
    (170, 51, 119),
    (102, 204, 238),
];

/// A variant's line in a panel.
struct Line<'s> {
    label: &'s str,
    colour: RGBColor,
    clean: Share,
    metric: Metric,
    curve: &'s Curve,
    finding: Option<&'s Finding>,
}

/// Score against layer, a line a variant, each variant's clean score dashed in its colour. `None`
/// for a run of one variant.
pub fn overlay_svg(report: &Report<'_>) -> Option<String> {
    let run = report.run;
    if run.variants.len() < 2 {
        return None;
    }
    let labels = run.variants.iter().map(|v| v.label.as_str());
    let all: Vec<(&str, &Vec<TaskSeries>)> = labels.zip(&report.series).collect();
    let mut panels: Vec<(TaskName, Kind)> = Vec::new();
    for curve in all.iter().flat_map(|(_, tasks)| tasks.iter()) {
        for of in &curve.curves {
            if !panels.contains(&(curve.task, of.kind)) {
                panels.push((curve.task, of.kind));
            }
        }
    }
    if panels.is_empty() {
        return None;
    }
    let rows = panels.len().div_ceil(2);
    let last = run
        .variants
        .iter()
        .map(|v| v.spec.model.facts.n_layer)
        .max()?;
    let last = f64::from(last.saturating_sub(1).max(1));
    Some(on_svg((2 * PANEL.0, rows as u32 * PANEL.1), |root| {
        for (area, &(task, kind)) in root.split_evenly((rows, 2)).iter().zip(&panels) {
            let lines: Vec<Line<'_>> = all
                .iter()
                .zip(VARIANT_COLOURS.iter().cycle())
                .enumerate()
                .filter_map(|(n, ((label, tasks), &(r, g, b)))| {
                    let of_task = tasks.iter().find(|t| t.task == task)?;
                    let curve = of_task.curves.iter().find(|c| c.kind == kind)?;
                    Some(Line {
                        label,
                        colour: RGBColor(r, g, b),
                        clean: of_task.clean,
                        metric: of_task.metric,
                        curve,
                        finding: report.of(n, task).find(|f| f.kind == kind),
                    })
                })
                .collect();
            panel(area, task, kind, &lines, last);
        }
    }))
}

fn panel(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    task: TaskName,
    kind: Kind,
    lines: &[Line<'_>],
    last: f64,
) {
    let highest = lines
        .iter()
        .flat_map(|line| {
            line.curve
                .points
                .iter()
                .map(|p| p.accuracy.value)
                .chain([line.clean.value])
        })
        .fold(0.1, f64::max);
    let ceiling = ((highest * 10.0).floor() / 10.0 + 0.1).min(1.0);
    let title = format!("{task}, {kind}");
    let metric = lines.first().map_or("", |line| line.metric.name());
    let strips = Strips::new(lines.len(), ceiling);
    let mut chart = axes(root, title, last, (strips.floor(), ceiling), metric);
    for (n, line) in lines.iter().enumerate() {
        if let Some(finding) = line.finding {
            strips.draw(&mut chart, n, finding, line.colour);
        }
    }
    for line in lines {
        let (clean, colour) = (line.clean.value, line.colour);
        let dashes =
            DashedLineSeries::new([(0.0, clean), (last, clean)], 6, 4, colour.stroke_width(1));
        chart.draw_series(dashes).expect(INFALLIBLE);
        let points = line.curve.points.iter();
        let points = points.map(|p| (f64::from(p.layer), p.accuracy.value));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))
            .expect(INFALLIBLE)
            .label(line.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    legend(&mut chart);
}
