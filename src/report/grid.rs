//! What tables show, before they are Markdown, plain text or HTML.

use super::drift::compared;
use super::findings::{Finding, Report};
use super::series::{Curve, Share, TaskSeries};
use crate::experiment::{Drift, LayerDrift};
use crate::intervention::Kind;
use crate::stats::Margin;
use crate::store::{StoredRun, StoredVariant};
use crate::tasks::TaskName;

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

pub(super) const LAYERS_TITLE: &str = "half-way layer, at which half of the clean score is back (95% bootstrap interval over items), and the layer from which up the loss is within the margin (paired score tests, 95%)";

pub(super) const LOSS_TITLE: &str =
    "mean loss against the clean run in points, and its upper bound (one-sided 95%)";

pub(super) const DIFFERENCE_TITLE: &str = "half-way layers against the first model's, over the same items: differences with 95% intervals, paired permutation tests with Holm's correction, test of equivalence within 1 layer";

/// A row for each variant, task and manipulation.
pub(super) fn layers_grid(report: &Report<'_>) -> Grid {
    let margin = report.options.margin;
    let mut head: Vec<String> = [
        "model",
        "task",
        "manipulation",
        "items",
        "half-way layer",
        "depth, %",
        "rise, layers",
        "noise floor, layers",
    ]
    .map(String::from)
    .to_vec();
    head.push(format!("loss at most {margin} from layer"));
    if let Some(threshold) = report.options.threshold {
        let share = (1000.0 * threshold).round() / 10.0;
        head.push(format!("first layer at {share}% of clean (descriptive)"));
    }
    let number = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:.1}"));
    let rows = report.findings.iter().map(|of| {
        let found = of.half_way.found();
        let depth = |layer: f64| (100.0 * layer / f64::from(of.n_layer.max(1))).round();
        let mut row = vec![
            of.label.clone(),
            of.task.to_string(),
            of.kind.to_string(),
            of.items.to_string(),
            of.half_way_text(),
            found.map_or(String::new(), |f| depth(f.layer).to_string()),
            // Of layers that lie apart it says where they were put.
            number(found.filter(|f| f.between.is_none()).and_then(|f| f.rise)),
            of.moved.map_or(String::new(), |x| format!("{x:.2}")),
            of.ignorable_text(),
        ];
        row.extend(report.options.threshold.map(|_| of.first_at_text()));
        row
    });
    // One model's name in every row says nothing.
    let from = usize::from(report.run.variants.len() < 2);
    Grid {
        rows: rows.map(|row| row[from..].to_vec()).collect(),
        head: head.split_off(from),
    }
}

/// A row a layer, a column a manipulation: loss and bound.
pub(super) fn loss_grid(findings: &[&Finding]) -> Grid {
    let mut layers: Vec<u32> = findings.iter().flat_map(|f| f.layers.clone()).collect();
    layers.sort_unstable();
    layers.dedup();
    let mut head = vec!["layer".to_string()];
    head.extend(findings.iter().map(|f| f.kind.to_string()));
    let cell = |finding: &Finding, layer: u32| {
        let mut losses = finding.ignorable.by_layer.iter();
        let loss = losses.find(|loss| loss.layer == layer);
        loss.map_or("-".into(), |l| {
            let points = |x: f64| format!("{:.1}", 100.0 * x).replace("-0.0", "0.0");
            let unit = match finding.ignorable.margin {
                Margin::Points(_) => "",
                Margin::Relative(_) => "%",
            };
            format!(
                "{}{unit} (at most {}{unit})",
                points(l.loss),
                points(l.bound)
            )
        })
    };
    let rows = layers.into_iter().map(|layer| {
        let cells = findings.iter().map(|finding| cell(finding, layer));
        std::iter::once(layer.to_string()).chain(cells).collect()
    });
    Grid {
        rows: rows.collect(),
        head,
    }
}

pub(super) const MODELS_TITLE: &str =
    "models: bits a weight as they really are, clean scores in percent, half-way layers";

/// A row a variant, for runs of several: what it costs, what it knows, where each manipulation
/// stops mattering.
pub(super) fn models_grid(report: &Report<'_>) -> Grid {
    let mut head = vec!["model".to_string(), "bits a weight".to_string()];
    let mut columns: Vec<(TaskName, Kind)> = Vec::new();
    let mut tasks: Vec<TaskName> = Vec::new();
    for finding in &report.findings {
        if !tasks.contains(&finding.task) {
            tasks.push(finding.task);
        }
        if !columns.contains(&(finding.task, finding.kind)) {
            columns.push((finding.task, finding.kind));
        }
    }
    let metric = |task: &TaskName| {
        let mut series = report.series.iter().flatten();
        let series = series.find(|series| series.task == *task);
        series.map_or("", |series| series.metric.name())
    };
    head.extend(
        tasks
            .iter()
            .map(|task| format!("{task}: clean {}", metric(task))),
    );
    head.extend(columns.iter().map(|(task, kind)| format!("{task}, {kind}")));
    let rows = report.run.variants.iter().enumerate().map(|(n, variant)| {
        let bits = variant.spec.model.facts.bits_per_weight();
        let clean = |task: &TaskName| {
            let series = report.series[n].iter().find(|s| s.task == *task);
            series.map_or("-".into(), |s| percent(&s.clean))
        };
        let layer = |(task, kind): &(TaskName, Kind)| {
            let found = report.of(n, *task).find(|f| f.kind == *kind);
            found.map_or("-".into(), Finding::half_way_text)
        };
        let mut row = vec![variant.label.clone(), format!("{bits:.2}")];
        row.extend(tasks.iter().map(clean));
        row.extend(columns.iter().map(layer));
        row
    });
    Grid {
        rows: rows.collect(),
        head,
    }
}

pub(super) const DRIFT_TITLE: &str = "drift of the clean hidden states from the first model's: for the states entering each layer the mean length of the difference in percent of the state, and the cosine";

/// A row a layer, a column a model, and what rounding does; the next token last. Without rows
/// where no model was compared.
pub(super) fn drift_grid(run: &StoredRun) -> Grid {
    let (names, columns): (Vec<String>, Vec<&Drift>) = compared(run)
        .into_iter()
        .map(|(_, name, drift)| (name, drift))
        .unzip();
    let mut head = vec!["states entering layer".to_string()];
    head.extend(names);
    let layers = columns.iter().map(|drift| drift.layers.len()).max();
    let mut rows: Vec<Vec<String>> = (0..layers.unwrap_or(0))
        .map(|layer| {
            let cells = columns.iter().map(|drift| {
                let at = drift.layers.get(layer);
                at.map_or("-".into(), drift_text)
            });
            std::iter::once(layer.to_string()).chain(cells).collect()
        })
        .collect();
    if !columns.is_empty() {
        let kl = columns.iter().map(|drift| format!("{:.4}", drift.kl));
        let name = "next token: KL, nats".to_string();
        rows.push(std::iter::once(name).chain(kl).collect());
    }
    Grid { head, rows }
}

/// `3.10% (0.99952)`.
pub(super) fn drift_text(drift: &LayerDrift) -> String {
    format!("{:.2}% ({:.5})", 100.0 * drift.error, drift.cosine)
}

pub(super) fn difference_grid(report: &Report<'_>) -> Grid {
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
        "verdict",
    ];
    let rows = report.differences.iter().map(|row| {
        let d = row.difference;
        vec![
            row.variant.1.clone(),
            row.reference.clone(),
            row.task.to_string(),
            row.kind.to_string(),
            d.items.to_string(),
            row.layers_text(),
            format!("{:.4}", d.p),
            format!("{:.4}", row.corrected),
            row.floor.map_or(String::new(), |f| format!("{f:.2}")),
            row.verdict_text(),
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
