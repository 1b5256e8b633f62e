//! A run's progress and curves.

use std::path::Path;

use serde::Serialize;

use super::Id;
use super::listed::{Progress, name};
use crate::report::{Share, TaskSeries, series};
use crate::store::{Glance, StoredRun, StoredVariant};

/// A run as it is looked at while it grows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// What it is asked for by.
    pub id: Id,
    /// Its folder's name.
    pub name: String,
    /// When it was begun, UTC.
    pub begun: Option<String>,
    /// The command that it was begun with.
    pub command: Option<String>,
    /// How far it is.
    #[serde(flatten)]
    pub progress: Progress,
    /// Its models, each under one set of settings.
    pub variants: Vec<ShownVariant>,
}

/// A model of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownVariant {
    /// What tells it apart from the run's others.
    pub label: String,
    /// The name that it has of itself.
    pub model: String,
    /// What it is by its contents (SHA-256).
    pub sha256: String,
    /// Layers.
    pub n_layer: u32,
    /// Items that have run, and those that will have.
    pub items: usize,
    /// See `items`.
    pub items_in_all: Option<usize>,
    /// Results that are stored, and those that will be.
    pub results: usize,
    /// See `results`.
    pub results_in_all: Option<usize>,
    /// Its tasks.
    pub tasks: Vec<ShownTask>,
}

/// A task's clean score and its curves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownTask {
    /// Its name.
    pub task: String,
    /// What is scored.
    pub metric: String,
    /// Mean clean score, with its 95% interval.
    pub clean: Point,
    /// By how much rounding alone changes the mean score.
    pub floor: Option<f64>,
    /// A curve for each manipulation.
    pub curves: Vec<Drawn>,
}

/// A manipulation over the layers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drawn {
    /// The manipulation.
    pub manipulation: String,
    /// Its points by layer.
    pub points: Vec<Point>,
}

/// A mean score of items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The layer; none for clean runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<u32>,
    /// The mean, from 0 to 1.
    pub score: f64,
    /// The 95% interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Items.
    pub n: usize,
}

impl Point {
    fn of(layer: Option<u32>, share: &Share) -> Self {
        Self {
            layer,
            score: share.value,
            low: share.low,
            high: share.high,
            n: share.n,
        }
    }
}

impl Shown {
    pub(super) fn of(folder: &Path, run: &StoredRun, glance: &Glance) -> Self {
        Self {
            id: Id::of(folder),
            name: name(folder),
            begun: run.started.clone(),
            command: run.command.clone(),
            progress: Progress::of(glance),
            variants: run.variants.iter().map(ShownVariant::of).collect(),
        }
    }
}

impl ShownVariant {
    fn of(variant: &StoredVariant) -> Self {
        let facts = &variant.spec.model.facts;
        let tasks = series(variant);
        let tasks = tasks.iter().filter(|task| task.clean.n > 0);
        Self {
            label: variant.label.clone(),
            model: facts.name.clone(),
            sha256: variant.spec.model.sha256.clone(),
            n_layer: facts.n_layer,
            items: variant.items.len(),
            items_in_all: variant.planned.items,
            results: variant.rows.len(),
            results_in_all: variant.planned.results,
            tasks: tasks.map(ShownTask::of).collect(),
        }
    }
}

impl ShownTask {
    fn of(series: &TaskSeries) -> Self {
        let curves = series.curves.iter().map(|curve| Drawn {
            manipulation: curve.kind.to_string(),
            points: (curve.points.iter())
                .map(|point| Point::of(Some(point.layer), &point.accuracy))
                .collect(),
        });
        Self {
            task: series.task.to_string(),
            metric: series.metric.name().to_string(),
            clean: Point::of(None, &series.clean),
            floor: series.floor.map(|floor| floor.score),
            curves: curves.collect(),
        }
    }
}
