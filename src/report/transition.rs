//! From which layer prior tokens stop mattering, for each variant, task and manipulation, and
//! whether the variants of a run differ in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::intervention::Kind;
use crate::stats::{Difference, ItemScores, Profile, Transition, holm, mean};
use crate::store::{ResultRow, StoredRun, StoredVariant};
use crate::sweep::Treatment;
use crate::tasks::TaskName;

/// The share of the clean score at which prior tokens count as not mattering any more.
pub const THRESHOLD: f64 = 0.95;

/// One variant's transition layer.
#[derive(Clone, Debug)]
pub struct TransitionRow {
    /// The variant's label.
    pub variant: String,
    /// Its number of layers.
    pub n_layer: u32,
    /// The task.
    pub task: TaskName,
    /// The manipulation.
    pub kind: Kind,
    /// Items that ran under it.
    pub items: usize,
    /// The layers swept.
    pub layers: Vec<u32>,
    /// What was found.
    pub transition: Transition,
}

/// How a variant differs from the run's first.
#[derive(Clone, Debug)]
pub struct DifferenceRow {
    /// The first variant's label.
    pub reference: String,
    /// The other's.
    pub variant: String,
    /// The task.
    pub task: TaskName,
    /// The manipulation.
    pub kind: Kind,
    /// Items that both ran.
    pub items: usize,
    /// Of the other's transition layer over the reference's.
    pub difference: Difference,
    /// The p-value, corrected for all comparisons of the run (Holm).
    pub corrected: f64,
    /// By how many layers rounding alone moves either transition, where that is known.
    pub floor: Option<f64>,
}

impl DifferenceRow {
    /// What the row says, in a word: a difference counts if it clears both chance and rounding.
    pub fn verdict(&self) -> &'static str {
        if self.difference.layers == 0.0 {
            "none"
        } else if self
            .floor
            .is_some_and(|f| self.difference.layers.abs() <= f)
        {
            "none (within the noise floor)"
        } else if self.corrected < 0.05 {
            "differs"
        } else {
            "none (chance would do)"
        }
    }
}

/// Seeds of one item are averaged.
fn by_item<'r>(rows: impl Iterator<Item = &'r ResultRow>) -> BTreeMap<&'r str, f64> {
    let mut scores: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in rows {
        scores.entry(&row.item).or_default().push(row.score);
    }
    let means = scores.into_iter();
    means.map(|(item, scores)| (item, mean(scores))).collect()
}

/// The scores of a task under a manipulation with the names of the items, those that ran at
/// every layer.
fn profile<'r>(rows: &[&'r ResultRow], task: TaskName, kind: Kind) -> (Profile, Vec<&'r str>) {
    let rows = rows.iter().copied().filter(|r| r.task == task);
    let rows: Vec<&ResultRow> = rows.collect();
    let of = |treatment| {
        rows.iter()
            .copied()
            .filter(move |r| r.treatment == treatment)
    };
    let clean = by_item(of(Treatment::Clean));
    let again = by_item(of(Treatment::CleanAgain));
    let mut layers: BTreeMap<u32, Vec<&ResultRow>> = BTreeMap::new();
    for row in of(Treatment::Manipulated(kind)) {
        layers.entry(row.layer.unwrap_or(0)).or_default().push(row);
    }
    let layers: Vec<(u32, BTreeMap<&str, f64>)> = layers
        .into_iter()
        .map(|(layer, rows)| (layer, by_item(rows.into_iter())))
        .collect();
    let mut items = Vec::new();
    let mut names = Vec::new();
    for (&name, &clean) in &clean {
        let at: Option<Vec<f64>> = layers.iter().map(|(_, s)| s.get(name).copied()).collect();
        if let Some(at) = at.filter(|at| !at.is_empty()) {
            let again = again.get(name).copied();
            items.push(ItemScores { clean, again, at });
            names.push(name);
        }
    }
    let layers = layers.into_iter().map(|(layer, _)| layer).collect();
    (Profile { layers, items }, names)
}

/// The pairs of task and manipulation that a variant ran.
fn pairs(variant: &StoredVariant) -> impl Iterator<Item = (TaskName, Kind)> {
    let spec = &variant.spec;
    let tasks = spec.tasks.iter();
    tasks.flat_map(|task| {
        spec.manipulations
            .iter()
            .map(move |kind| (task.task, *kind))
    })
}

/// The transition layers of a run. A manipulation that a task did not run has no row.
pub fn transitions(run: &StoredRun, threshold: f64) -> Vec<TransitionRow> {
    let mut rows = Vec::new();
    for variant in &run.variants {
        let counted = variant.counted();
        for (task, kind) in pairs(variant) {
            let (profile, names) = profile(&counted, task, kind);
            if profile.layers.is_empty() {
                continue;
            }
            rows.push(TransitionRow {
                variant: variant.label.clone(),
                n_layer: variant.spec.model.facts.n_layer,
                task,
                kind,
                items: names.len(),
                layers: profile.layers.clone(),
                transition: profile.transition(threshold),
            });
        }
    }
    rows
}

/// How the run's other variants differ from its first, over the items that both ran, where they
/// have as many layers and the same ones were swept.
pub fn differences(run: &StoredRun, threshold: f64) -> Vec<DifferenceRow> {
    let Some((first, others)) = run.variants.split_first() else {
        return Vec::new();
    };
    let depth = |v: &StoredVariant| v.spec.model.facts.n_layer;
    let mut rows = Vec::new();
    let of_first = first.counted();
    for other in others.iter().filter(|other| depth(other) == depth(first)) {
        let of_other = other.counted();
        for (task, kind) in pairs(first) {
            let (mut a, a_names) = profile(&of_first, task, kind);
            let (mut b, b_names) = profile(&of_other, task, kind);
            let common: BTreeSet<&str> = a_names
                .iter()
                .copied()
                .filter(|n| b_names.contains(n))
                .collect();
            let keep = |profile: &mut Profile, names: &[&str]| {
                let mut known = names.iter().map(|name| common.contains(name));
                profile.items.retain(|_| known.next().unwrap_or(false));
            };
            keep(&mut a, &a_names);
            keep(&mut b, &b_names);
            let Some(difference) = a.difference(&b, threshold) else {
                continue;
            };
            rows.push(DifferenceRow {
                reference: first.label.clone(),
                variant: other.label.clone(),
                task,
                kind,
                items: common.len(),
                difference,
                corrected: 1.0,
                floor: moved_by_rounding(&a, threshold)
                    .into_iter()
                    .chain(moved_by_rounding(&b, threshold))
                    .reduce(f64::max),
            });
        }
    }
    let p: Vec<f64> = rows.iter().map(|row| row.difference.p).collect();
    for (row, corrected) in rows.iter_mut().zip(holm(&p)) {
        row.corrected = corrected;
    }
    rows
}

fn moved_by_rounding(profile: &Profile, threshold: f64) -> Option<f64> {
    match profile.transition(threshold) {
        Transition::At {
            layer,
            again: Some(again),
            ..
        } => Some((f64::from(layer) - f64::from(again)).abs()),
        _ => None,
    }
}

impl TransitionRow {
    /// Depth of a layer: 0 below the first, 1 above the last.
    fn depth(&self, layer: u32) -> f64 {
        f64::from(layer) / f64::from(self.n_layer)
    }

    /// The layer with its interval, as `24 (22-26)`, or why there is none.
    pub fn layer_text(&self) -> String {
        match &self.transition {
            Transition::At {
                layer, low, high, ..
            } => {
                let high = high.map_or("none".to_string(), |h| h.to_string());
                format!("{layer} ({low}-{high})")
            }
            Transition::NoLayer { found } => format!(
                "no layer of those swept (in {:.0} % of resamples one)",
                100.0 * found
            ),
            Transition::TooFew { scored } => {
                format!("too few items: the clean model scores on {scored}")
            }
        }
    }

    /// The layer as a share of depth in percent, with its interval; empty where there is none.
    pub fn depth_text(&self) -> String {
        let Transition::At {
            layer, low, high, ..
        } = self.transition
        else {
            return String::new();
        };
        let p = |layer: u32| (100.0 * self.depth(layer)).round();
        let high = high.map_or("none".to_string(), |h| p(h).to_string());
        format!("{} ({}-{high})", p(layer), p(low))
    }

    /// How far rounding moves it, in layers; empty where that is not known.
    pub fn floor_text(&self) -> String {
        match self.transition {
            Transition::At {
                layer,
                again: Some(again),
                ..
            } => layer.abs_diff(again).to_string(),
            _ => String::new(),
        }
    }

    /// The finding in a clause, as `freeze from layer 19 of 30: the top 37% (33-41) can be
    /// ignored`.
    fn clause(&self) -> String {
        let Transition::At {
            layer, low, high, ..
        } = self.transition
        else {
            return format!("{}: {}", self.kind, self.layer_text());
        };
        let top = |layer: u32| (100.0 * (1.0 - self.depth(layer))).round();
        format!(
            "{} from layer {layer} of {}: the top {}% ({}-{}) can be ignored",
            self.kind,
            self.n_layer,
            top(layer),
            high.map_or(0.0, top),
            top(low)
        )
    }

    /// What the paper found for four models of 32 layers (arXiv 2409.03621, abstract), in
    /// brackets; empty for what it did not try.
    fn paper(&self) -> String {
        let found = self.kind.manipulation().paper();
        found.map_or(String::new(), |found| format!(" (paper: {found})"))
    }
}

/// What was found of a model on a task, in a sentence.
pub struct Sentence {
    /// What it speaks of.
    about: String,
    /// A clause a manipulation.
    clauses: Vec<String>,
}

impl Sentence {
    /// A line for what it speaks of and one for each clause.
    pub fn lines(&self) -> String {
        let clauses = self.clauses.iter().map(|clause| format!("\n  {clause}"));
        format!("{}:{}", self.about, clauses.collect::<String>())
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}.", self.about, self.clauses.join("; "))
    }
}

/// A sentence for each model and task: how much of the model can be ignored under each
/// manipulation (95% interval), the paper's figure beside it.
pub fn sentences(rows: &[TransitionRow], threshold: f64) -> Vec<Sentence> {
    let keep = (100.0 * threshold).round();
    let same = |a: &TransitionRow, b: &TransitionRow| (&a.variant, a.task) == (&b.variant, b.task);
    let of = rows.chunk_by(same).map(|rows| Sentence {
        about: format!("{}, {}, at {keep}% of clean", rows[0].variant, rows[0].task),
        clauses: rows.iter().map(|row| row.clause() + &row.paper()).collect(),
    });
    of.collect()
}
