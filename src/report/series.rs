//! Rows to curves.

use std::collections::{BTreeMap, HashSet};

use crate::experiment::Treatment;
use crate::intervention::Kind;
use crate::stats::{bootstrap, deviation, mean, wilson};
use crate::store::{ResultRow, StoredVariant};
use crate::tasks::{Metric, TaskName};

/// A mean score of items with its 95% interval: Wilson's for scores of 0 and 1, a bootstrap over
/// items for others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The mean.
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
    /// Mean score of all items. With several seeds an item counts by its mean.
    pub accuracy: Share,
    /// Mean score of the items that the clean model gets right to the letter.
    pub retention: Share,
    /// Items whose answer is the clean run's.
    pub agreement: Share,
    /// Standard deviation, over seeds, of the mean score over items; the intervals speak of
    /// items.
    pub between_seeds: Option<f64>,
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
    /// What its score is.
    pub metric: Metric,
    /// Accuracy of the clean run.
    pub clean: Share,
    /// Mean log-probability of the answer in the clean run, nats.
    pub clean_logprob: f64,
    /// What rounding alone does, where it was measured.
    pub floor: Option<Floor>,
    /// A curve a manipulation.
    pub curves: Vec<Curve>,
}

/// Marks a score that does not differ from the clean one by more than rounding does.
pub const NONE_MARK: &str = "≈";

impl TaskSeries {
    /// `≈` for a score whose difference from the clean one does not clear the noise
    /// floor.
    pub fn none_mark(&self, score: &Share) -> &'static str {
        match self.floor {
            Some(floor) if (score.value - self.clean.value).abs() <= floor.score + 1e-12 => {
                NONE_MARK
            }
            _ => "",
        }
    }
}

/// The difference between the clean run and the same run with its last token decoded apart: an
/// effect that is not larger is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// By how much the mean score differs.
    pub score: f64,
    /// Mean KL divergence, nats.
    pub kl: f64,
    /// Share of items whose answer is another one.
    pub changed: f64,
    /// Items.
    pub n: usize,
}

/// The series of a variant, in the order of its specification.
pub fn series(variant: &StoredVariant) -> Vec<TaskSeries> {
    let spec = &variant.spec;
    let rows = variant.counted();
    let tasks = spec.tasks.iter();
    tasks
        .map(|task| of_task(task.task, task.metric(), &spec.manipulations, &rows))
        .collect()
}

fn of_task(task: TaskName, metric: Metric, kinds: &[Kind], rows: &[&ResultRow]) -> TaskSeries {
    let rows = rows.iter().copied().filter(|row| row.task == task);
    let rows = by_item(rows);
    let clean: Vec<&ResultRow> = rows
        .iter()
        .copied()
        .filter(|row| row.cell.treatment == Treatment::Clean)
        .collect();
    let known: HashSet<&str> = clean
        .iter()
        .filter(|row| row.correct)
        .map(|row| &*row.item)
        .collect();
    let curves = kinds
        .iter()
        .map(|&kind| {
            let mut layers: BTreeMap<u32, Vec<&ResultRow>> = BTreeMap::new();
            for &row in rows
                .iter()
                .filter(|r| r.cell.treatment.kind() == Some(kind))
            {
                layers
                    .entry(row.cell.layer.unwrap_or(0))
                    .or_default()
                    .push(row);
            }
            let points = layers
                .into_iter()
                .map(|(layer, rows)| point(metric, layer, &rows, &known))
                .collect();
            Curve { kind, points }
        })
        .filter(|curve: &Curve| !curve.points.is_empty())
        .collect();
    TaskSeries {
        task,
        metric,
        clean: share(&clean, metric.is_binary(), |row| row.score),
        clean_logprob: mean(clean.iter().map(|row| row.logprob)),
        floor: floor(&clean, &rows),
        curves,
    }
}

/// Rows by their items' names: all of an item together, in the order in which they are stored.
fn by_item<'r>(rows: impl Iterator<Item = &'r ResultRow>) -> Vec<&'r ResultRow> {
    let mut rows: Vec<&ResultRow> = rows.collect();
    rows.sort_by(|a, b| a.item.cmp(&b.item));
    rows
}

fn floor(clean: &[&ResultRow], rows: &[&ResultRow]) -> Option<Floor> {
    let again = rows
        .iter()
        .filter(|row| row.cell.treatment == Treatment::CleanAgain);
    let again: Vec<&ResultRow> = again.copied().collect();
    let both: HashSet<&str> = again.iter().map(|row| &*row.item).collect();
    let clean = clean.iter().filter(|row| both.contains(&*row.item));
    let score = mean(clean.map(|row| row.score));
    (!again.is_empty()).then(|| Floor {
        score: (score - mean(again.iter().map(|row| row.score))).abs(),
        kl: mean(again.iter().map(|row| row.kl)),
        changed: mean(again.iter().map(|row| f64::from(u8::from(!row.agrees)))),
        n: again.len(),
    })
}

fn point(metric: Metric, layer: u32, rows: &[&ResultRow], known: &HashSet<&str>) -> Point {
    let binary = metric.is_binary();
    let retained: Vec<&ResultRow> = rows
        .iter()
        .copied()
        .filter(|row| known.contains(&*row.item))
        .collect();
    let modified = rows.iter().any(|row| row.modified_correct.is_some());
    let mut seeds: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for row in rows {
        seeds
            .entry(row.cell.seed.unwrap_or(0))
            .or_default()
            .push(row.score);
    }
    let seeds: Vec<f64> = seeds.into_values().map(mean).collect();
    Point {
        layer,
        accuracy: share(rows, binary, |row| row.score),
        retention: share(&retained, binary, |row| row.score),
        agreement: share(rows, true, |row| f64::from(u8::from(row.agrees))),
        between_seeds: deviation(&seeds),
        modified: modified.then(|| {
            share(rows, true, |row| {
                f64::from(u8::from(row.modified_correct == Some(true)))
            })
        }),
        kl: mean(rows.iter().map(|row| row.kl)),
        logprob: mean(rows.iter().map(|row| row.logprob)),
    }
}

/// The mean over items, whose rows stand [together](by_item): seeds of one item are averaged
/// first, so that the interval speaks of items.
fn share(rows: &[&ResultRow], binary: bool, score: impl Fn(&ResultRow) -> f64) -> Share {
    let items = rows.chunk_by(|a, b| a.item == b.item);
    let scores: Vec<f64> = items
        .map(|seeds| mean(seeds.iter().map(|row| score(row))))
        .collect();
    let n = scores.len();
    let value = mean(scores.iter().copied());
    let (low, high) = if binary {
        wilson(value, n)
    } else {
        bootstrap(&scores)
    };
    Share {
        value,
        low,
        high,
        n,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::StoredCell;

    fn row(item: &str, kind: Option<Kind>, seed: u64, correct: bool) -> ResultRow {
        ResultRow {
            task: TaskName::Capitals,
            item: item.into(),
            cell: Arc::new(StoredCell {
                treatment: kind.map_or(Treatment::Clean, Treatment::Manipulated),
                layer: kind.map(|_| 3),
                seed: kind.map(|_| seed),
            }),
            score: f64::from(u8::from(correct)),
            correct,
            metrics: BTreeMap::new().into(),
            agrees: correct,
            answer: "".into(),
            logprob: -1.0,
            rank: 1,
            kl: 0.5,
            argmax_text: "".into(),
            modified_correct: None,
            modified_logprob: None,
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
        let rows: Vec<&ResultRow> = rows.iter().collect();
        let series = of_task(
            TaskName::Capitals,
            Metric::Accuracy,
            &[Kind::Random, Kind::Freeze],
            &rows,
        );
        assert_eq!((series.clean.value, series.clean.n), (0.5, 2));
        assert_eq!(series.curves.len(), 1, "freeze has no rows");
        let point = series.curves[0].points[0];
        assert_eq!(
            (point.layer, point.accuracy.value, point.accuracy.n),
            (3, 0.25, 2)
        );
        assert_eq!((point.retention.value, point.retention.n), (0.5, 1));
        assert_eq!(point.modified, None);
        // Seed 1 is right on one item of two, seed 2 on none.
        assert!((point.between_seeds.unwrap() - 0.125f64.sqrt()).abs() < 1e-12);
    }
}
