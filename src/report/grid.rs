//! What tables show, before they are Markdown, plain text or HTML.

use super::series::{Curve, Share, TaskSeries};
use super::transition::{differences, transitions};
use crate::store::{StoredRun, StoredVariant};

/// A share in percent with its interval; a dash where there is nothing.
pub(super) fn percent(share: &Share) -> String {
    if share.n == 0 {
        return "-".into();
    }
    let p = |x: f64| (100.0 * x).round();
    format!("{} ({}-{})", p(share.value), p(share.low), p(share.high))
}

/// A table's cells.
pub(super) struct Grid {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// One row a layer, one column a manipulation.
fn by_layer(task: &TaskSeries, curves: &[&Curve], show: impl Fn(&super::Point) -> String) -> Grid {
    let mut layers: Vec<u32> = task
        .curves
        .iter()
        .flat_map(|c| c.points.iter().map(|p| p.layer))
        .collect();
    layers.sort_unstable();
    layers.dedup();
    let mut head = vec!["layer".to_string()];
    head.extend(curves.iter().map(|c| c.kind.to_string()));
    let rows = layers
        .into_iter()
        .map(|layer| {
            let mut row = vec![layer.to_string()];
            row.extend(curves.iter().map(|curve| {
                let point = curve.points.iter().find(|p| p.layer == layer);
                point.map_or("-".into(), &show)
            }));
            row
        })
        .collect();
    Grid { head, rows }
}

/// `inject` shows what was answered, original and modified; the others accuracy.
pub(super) fn accuracy_grid(task: &TaskSeries) -> Grid {
    let plain: Vec<&Curve> = task.curves.iter().collect();
    let mut grid = by_layer(task, &plain, |p| {
        format!("{}{}", percent(&p.accuracy), task.none_mark(&p.accuracy))
    });
    if let Some(inject) = task.curves.iter().find(|c| c.kind.has_donor()) {
        let modified = by_layer(task, &[inject], |p| {
            p.modified.as_ref().map_or("-".into(), percent)
        });
        for (row, mut extra) in grid.rows.iter_mut().zip(modified.rows) {
            row.push(extra.remove(1));
        }
        let kind = inject.kind.to_string();
        for name in &mut grid.head {
            if *name == kind {
                *name = format!("{kind}: original");
            }
        }
        grid.head.push(format!("{kind}: modified"));
    }
    grid
}

/// One of a task's tables by layer.
pub(super) struct LayerGrid {
    /// A word for file names.
    pub(super) name: &'static str,
    /// What it shows.
    pub(super) title: &'static str,
    pub(super) grid: Grid,
}

/// All of a task's tables by layer: scores first.
pub(super) fn layer_grids(task: &TaskSeries) -> Vec<LayerGrid> {
    let curves: Vec<&Curve> = task.curves.iter().collect();
    let mut grids = Vec::new();
    let mut add = |name, title, grid| grids.push(LayerGrid { name, title, grid });
    add("score", "Score, percent", accuracy_grid(task));
    add(
        "retention",
        "Retention, percent",
        by_layer(task, &curves, |p| percent(&p.retention)),
    );
    add(
        "agreement",
        "Answers that are the clean run's, percent",
        by_layer(task, &curves, |p| percent(&p.agreement)),
    );
    let mut points = curves.iter().flat_map(|c| &c.points);
    if points.any(|p| p.between_seeds.is_some()) {
        add(
            "seeds",
            "Standard deviation between seeds of the mean score, percent points (the intervals above speak of items)",
            by_layer(task, &curves, |p| {
                p.between_seeds
                    .map_or("-".into(), |d| format!("{:.1}", 100.0 * d))
            }),
        );
    }
    add(
        "kl",
        "Mean KL divergence from the clean next-token distribution, nats",
        by_layer(task, &curves, |p| format!("{:.3}", p.kl)),
    );
    add(
        "logprob",
        "Mean log-probability of the whole answer, nats",
        by_layer(task, &curves, |p| format!("{:.2}", p.logprob)),
    );
    grids
}

pub(super) fn transition_title(threshold: f64) -> String {
    format!(
        "transition layer, from which the score stays within {:.0} % of clean (95% bootstrap interval over items):",
        100.0 * threshold
    )
}

pub(super) const DIFFERENCE_TITLE: &str = "difference of transition layers from the first model's, over the same items (paired permutation tests, Holm's correction):";

pub(super) fn transition_grid(run: &StoredRun, threshold: f64) -> Grid {
    let head = [
        "model",
        "task",
        "manipulation",
        "items",
        "layer",
        "depth, %",
        "noise floor, layers",
    ];
    let rows = transitions(run, threshold).into_iter().map(|row| {
        vec![
            row.variant.clone(),
            row.task.to_string(),
            row.kind.to_string(),
            row.items.to_string(),
            row.layer_text(),
            row.depth_text(),
            row.floor_text(),
        ]
    });
    // One model's name in every row says nothing.
    let from = usize::from(run.variants.len() < 2);
    Grid {
        head: head[from..].iter().map(ToString::to_string).collect(),
        rows: rows.map(|row| row[from..].to_vec()).collect(),
    }
}

pub(super) fn difference_grid(run: &StoredRun, threshold: f64) -> Grid {
    let head = [
        "model",
        "against",
        "task",
        "manipulation",
        "items",
        "layers",
        "p",
        "p corrected",
        "noise floor, layers",
        "difference",
    ];
    let rows = differences(run, threshold).into_iter().map(|row| {
        let d = row.difference;
        vec![
            row.variant.clone(),
            row.reference.clone(),
            row.task.to_string(),
            row.kind.to_string(),
            row.items.to_string(),
            format!("{:+} ({:+} to {:+})", d.layers, d.low, d.high),
            format!("{:.3}", d.p),
            format!("{:.3}", row.corrected),
            row.floor.map_or(String::new(), |f| f.to_string()),
            row.verdict().to_string(),
        ]
    });
    Grid {
        head: head.map(String::from).to_vec(),
        rows: rows.collect(),
    }
}

/// A row for each batch shape in which clean prompts were decoded again.
pub(super) fn noise_grid(run: &StoredVariant) -> Grid {
    let head = [
        "shape",
        "prompts",
        "largest logit difference",
        "mean KL",
        "largest KL",
        "argmax changed",
    ];
    let rows = run.noise_floor.iter().map(|f| {
        vec![
            f.shape.clone(),
            f.prompts.to_string(),
            format!("{:.2e}", f.max_logit),
            format!("{:.2e}", f.mean_kl),
            format!("{:.2e}", f.max_kl),
            f.argmax_changes.to_string(),
        ]
    });
    Grid {
        head: head.map(String::from).to_vec(),
        rows: rows.collect(),
    }
}
