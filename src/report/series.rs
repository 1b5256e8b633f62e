//! Rows to curves.

use std::collections::{BTreeMap, BTreeSet};

use crate::intervention::Kind;
use crate::stats::{mean, wilson};
use crate::store::{ResultRow, StoredRun};
use crate::tasks::TaskName;

/// A proportion of items with its 95% Wilson interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The proportion.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Items.
    pub n: usize,
}

/// What a manipulation at one layer did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The layer `k`.
    pub layer: u32,
    /// Right answers among all items. With several seeds an item counts by its mean.
    pub accuracy: Share,
    /// Right answers among the items that the clean model gets right.
    pub retention: Share,
    /// For `inject`: the donor's answers among all items.
    pub modified: Option<Share>,
    /// Mean KL divergence from the clean next-token distribution, nats.
    pub kl: f64,
    /// Mean log-probability of the whole answer, nats.
    pub logprob: f64,
}

/// A manipulation over the layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The manipulation.
    pub kind: Kind,
    /// Its points by layer.
    pub points: Vec<Point>,
}

/// A task's clean accuracy and its curves.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSeries {
    /// The task.
    pub task: TaskName,
    /// Accuracy of the clean run.
    pub clean: Share,
    /// Mean log-probability of the answer in the clean run, nats.
    pub clean_logprob: f64,
    /// A curve a manipulation.
    pub curves: Vec<Curve>,
}

/// The series of a run, in the order of its specification.
pub fn series(run: &StoredRun) -> Vec<TaskSeries> {
    run.spec
        .tasks
        .iter()
        .map(|task| of_task(task.task, &run.spec.manipulations, &run.rows))
        .collect()
}

fn of_task(task: TaskName, kinds: &[Kind], rows: &[ResultRow]) -> TaskSeries {
    let rows: Vec<&ResultRow> = rows.iter().filter(|row| row.task == task).collect();
    let clean: Vec<&ResultRow> = rows
        .iter()
        .copied()
        .filter(|row| row.manipulation.is_none())
        .collect();
    let known: BTreeSet<&str> = clean
        .iter()
        .filter(|row| row.correct)
        .map(|row| row.item.as_str())
        .collect();
    let curves = kinds
        .iter()
        .map(|&kind| {
            let mut layers: BTreeMap<u32, Vec<&ResultRow>> = BTreeMap::new();
            for &row in rows.iter().filter(|r| r.manipulation == Some(kind)) {
                layers.entry(row.layer.unwrap_or(0)).or_default().push(row);
            }
            let points = layers
                .into_iter()
                .map(|(layer, rows)| point(layer, &rows, &known))
                .collect();
            Curve { kind, points }
        })
        .filter(|curve: &Curve| !curve.points.is_empty())
        .collect();
    TaskSeries {
        task,
        clean: share(&clean, |row| row.correct),
        clean_logprob: mean(clean.iter().map(|row| row.logprob)),
        curves,
    }
}

fn point(layer: u32, rows: &[&ResultRow], known: &BTreeSet<&str>) -> Point {
    let retained: Vec<&ResultRow> = rows
        .iter()
        .copied()
        .filter(|row| known.contains(row.item.as_str()))
        .collect();
    let modified = rows.iter().any(|row| row.modified_correct.is_some());
    Point {
        layer,
        accuracy: share(rows, |row| row.correct),
        retention: share(&retained, |row| row.correct),
        modified: modified.then(|| share(rows, |row| row.modified_correct == Some(true))),
        kl: mean(rows.iter().map(|row| row.kl)),
        logprob: mean(rows.iter().map(|row| row.logprob)),
    }
}

/// The share of items: seeds of one item are averaged first, so that the interval speaks of
/// items.
fn share(rows: &[&ResultRow], right: impl Fn(&ResultRow) -> bool) -> Share {
    let mut items: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in rows {
        let score = f64::from(u8::from(right(row)));
        items.entry(&row.item).or_default().push(score);
    }
    let n = items.len();
    let value = if n == 0 {
        f64::NAN
    } else {
        mean(items.into_values().map(mean))
    };
    let (low, high) = wilson(value, n);
    Share {
        value,
        low,
        high,
        n,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(item: &str, kind: Option<Kind>, seed: u64, correct: bool) -> ResultRow {
        ResultRow {
            task: TaskName::Capitals,
            item: item.into(),
            manipulation: kind,
            layer: kind.map(|_| 3),
            seed: kind.map(|_| seed),
            correct,
            logprob: -1.0,
            rank: 1,
            kl: 0.5,
            argmax_text: String::new(),
            modified_correct: None,
        }
    }

    #[test]
    fn seeds_are_averaged_within_items_and_retention_counts_known_items() {
        let random = Some(Kind::Random);
        let rows = [
            row("a", None, 0, true),
            row("b", None, 0, false),
            row("a", random, 1, true),
            row("a", random, 2, false),
            row("b", random, 1, false),
            row("b", random, 2, false),
        ];
        let series = of_task(TaskName::Capitals, &[Kind::Random, Kind::Freeze], &rows);
        assert_eq!((series.clean.value, series.clean.n), (0.5, 2));
        assert_eq!(series.curves.len(), 1, "freeze has no rows");
        let point = series.curves[0].points[0];
        assert_eq!(
            (point.layer, point.accuracy.value, point.accuracy.n),
            (3, 0.25, 2)
        );
        assert_eq!((point.retention.value, point.retention.n), (0.5, 1));
        assert_eq!(point.modified, None);
    }
}
