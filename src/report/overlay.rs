//! The variants of a run over one another: a panel for each task and manipulation.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::figure::{PANEL, Strips, axes, colour, legend, on_svg};
use super::findings::{Finding, Report};
use super::lines::Style;
use super::series::{Curve, Share, TaskSeries};
use crate::intervention::Kind;
use crate::tasks::{Metric, TaskName};

/// A variant's line in a panel.
struct Line<'s> {
    label: &'s str,
    style: Style,
    clean: Share,
    metric: Metric,
    curve: &'s Curve,
    finding: Option<&'s Finding>,
}

/// Score against layer in the manipulation's colour, a line style a variant; each variant's clean
/// score is a thin black line of its style. `None`
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
                .enumerate()
                .filter_map(|(n, (label, tasks))| {
                    let of_task = tasks.iter().find(|t| t.task == task)?;
                    let curve = of_task.curves.iter().find(|c| c.kind == kind)?;
                    Some(Line {
                        label,
                        style: Style::of(n),
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
    let colour = colour(kind);
    for (n, line) in lines.iter().enumerate() {
        if let Some(finding) = line.finding {
            strips.draw(&mut chart, n, finding, colour, Some(line.style.mark));
        }
    }
    for line in lines {
        let clean = line.clean.value;
        let ends = [(0.0, clean), (last, clean)];
        line.style.draw_level(&mut chart, ends, BLACK);
        let points = line.curve.points.iter();
        let points: Vec<(f64, f64)> = points
            .map(|p| (f64::from(p.layer), p.accuracy.value))
            .collect();
        line.style.draw(&mut chart, &points, colour, line.label);
    }
    legend(&mut chart);
}
