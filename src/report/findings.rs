//! What a run shows, computed once for all that render it: from which layer each manipulation
//! stops mattering, and whether the run's models differ in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::series::{TaskSeries, series};
use crate::intervention::Kind;
use crate::stats::{
    Difference, HalfWay, Ignorable, ItemScores, Margin, Profile, Verdict, holm, mean,
};
use crate::store::{ResultRow, StoredRun, StoredVariant};
use crate::sweep::Treatment;
use crate::tasks::{CHANCE, Metric, TaskName};

/// What a report is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The loss up to which a manipulation can be ignored.
    pub margin: Margin,
    /// The paper's rule, where it is asked for: the share of the clean score from which prior
    /// tokens count as not mattering.
    pub threshold: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            margin: Margin::DEFAULT,
            threshold: None,
        }
    }
}

/// The confidence of intervals and claims.
pub(super) const LEVEL: f64 = 0.95;

/// A run with all that its renderings share.
pub struct Report<'r> {
    /// The run.
    pub run: &'r StoredRun,
    /// What was asked for.
    pub options: Options,
    /// Each variant's curves.
    pub series: Vec<Vec<TaskSeries>>,
    /// What was found of each variant, task and manipulation that has results.
    pub findings: Vec<Finding>,
    /// How the other variants differ from the first, where that can be compared.
    pub differences: Vec<DifferenceRow>,
}

/// What was found of one variant, task and manipulation.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The variant's number.
    pub variant: usize,
    /// Its label.
    pub label: String,
    /// Its number of layers.
    pub n_layer: u32,
    /// The task.
    pub task: TaskName,
    /// What its score is.
    pub metric: Metric,
    /// The manipulation.
    pub kind: Kind,
    /// Items that ran under it.
    pub items: usize,
    /// Clusters they come in, as passages; as many as items where they are independent.
    pub clusters: usize,
    /// Their mean clean score.
    pub clean: f64,
    /// The layers swept.
    pub layers: Vec<u32>,
    /// Their mean score at the highest.
    pub top: f64,
    /// The half-way layer.
    pub half_way: HalfWay,
    /// By how many layers it moves when the clean run in another batch shape is the measure;
    /// `None` where that was not measured or finds none.
    pub moved: Option<f64>,
    /// For `inject`: from where the original answer is commoner than the donor's, and its
    /// interval.
    pub overtakes: Option<(f64, f64, f64)>,
    /// From where it can be ignored.
    pub ignorable: Ignorable,
    /// The paper's rule, where it was asked for: the first layer that keeps to it, if one does.
    pub first_at: Option<Option<u32>>,
}

/// How a variant differs from the run's first.
#[derive(Clone, Debug)]
pub struct DifferenceRow {
    /// The first variant's label.
    pub reference: String,
    /// The other's number and label.
    pub variant: (usize, String),
    /// The task.
    pub task: TaskName,
    /// The manipulation.
    pub kind: Kind,
    /// Of the other's half-way layer over the reference's.
    pub difference: Difference,
    /// The p-value, corrected for all comparisons of the run (Holm).
    pub corrected: f64,
    /// By how many layers rounding alone moves either half-way layer, where that is known.
    pub floor: Option<f64>,
    /// What can be said.
    pub verdict: Verdict,
    /// The layers swept.
    pub layers: Vec<u32>,
}

/// A profile with the names of its items.
struct Named<'r> {
    variant: usize,
    task: TaskName,
    kind: Kind,
    profile: Profile,
    names: Vec<&'r str>,
}

impl<'r> Report<'r> {
    /// Computes all of it, on all processors.
    pub fn new(run: &'r StoredRun, options: Options) -> Self {
        let series = in_parallel(&run.variants, series);
        let variants: Vec<usize> = (0..run.variants.len()).collect();
        let of = |&n: &usize| profiles(n, &run.variants[n]);
        let profiles: Vec<Named<'r>> = in_parallel(&variants, of).into_iter().flatten().collect();
        let findings = in_parallel(&profiles, |named| finding(run, named, options));
        let pairs = pairs(run, &profiles);
        let rows = in_parallel(&pairs, |(a, b)| difference(run, a, b));
        let mut differences: Vec<DifferenceRow> = rows.into_iter().flatten().collect();
        let p: Vec<f64> = differences.iter().map(|row| row.difference.p).collect();
        for (row, corrected) in differences.iter_mut().zip(holm(&p)) {
            row.corrected = corrected;
            row.verdict = row.difference.verdict(corrected, row.floor);
        }
        Report {
            run,
            options,
            series,
            findings,
            differences,
        }
    }

    /// What was found of a variant's task.
    pub(super) fn of(&self, variant: usize, task: TaskName) -> impl Iterator<Item = &Finding> {
        let findings = self.findings.iter();
        findings.filter(move |f| f.variant == variant && f.task == task)
    }
}

/// What `of` gives for each, in their order; each processor takes the next when it is free.
fn in_parallel<T: Sync, R: Send>(all: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(all.len()) {
            scope.spawn(|| {
                while let Some((n, one)) = {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    all.get(n).map(|one| (n, one))
                } {
                    let found = of(one);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((n, found));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, found)| found).collect()
}

/// Means over seeds, by item.
type ByItem<'r> = BTreeMap<&'r str, f64>;

fn by_item<'r>(rows: &[&'r ResultRow], of: impl Fn(&ResultRow) -> f64) -> ByItem<'r> {
    let mut scores: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for &row in rows {
        scores.entry(&row.item).or_default().push(of(row));
    }
    let means = scores.into_iter();
    means.map(|(item, scores)| (item, mean(scores))).collect()
}

/// The profiles of a variant: of each task and manipulation the items that ran at every layer.
fn profiles(n: usize, variant: &StoredVariant) -> Vec<Named<'_>> {
    type Cell<'r> = ((TaskName, Treatment), Vec<&'r ResultRow>);
    let mut rows: Vec<Cell<'_>> = Vec::new();
    for row in variant.counted() {
        let of = (row.task, row.treatment);
        match rows.iter().position(|(known, _)| *known == of) {
            Some(n) => rows[n].1.push(row),
            None => rows.push((of, vec![row])),
        }
    }
    let none = Vec::new();
    let spec = &variant.spec;
    let mut profiles = Vec::new();
    for task in spec.tasks.iter().map(|task| task.task) {
        let of = |treatment| {
            let mut cells = rows.iter().filter(|(of, _)| *of == (task, treatment));
            cells.next().map_or(&none, |(_, rows)| rows)
        };
        let clean = by_item(of(Treatment::Clean), |row| row.score);
        let again = by_item(of(Treatment::CleanAgain), |row| row.score);
        let clusters = clusters(variant, task);
        // Answers are free where nothing says how many choices there are.
        let chance = by_item(of(Treatment::Clean), |row| {
            row.metrics.get(CHANCE).copied().unwrap_or(0.0)
        });
        let chance = mean(chance.into_values());
        for &kind in &spec.manipulations {
            let (layers, at, donor) = by_layer(of(Treatment::Manipulated(kind)));
            if layers.is_empty() {
                continue;
            }
            let (mut items, mut names) = (Vec::new(), Vec::new());
            for (&name, &clean) in &clean {
                let all = |by: &[ByItem<'_>]| -> Option<Vec<f64>> {
                    by.iter().map(|scores| scores.get(name).copied()).collect()
                };
                let Some(at) = all(&at) else { continue };
                items.push(ItemScores {
                    clean,
                    again: again.get(name).copied(),
                    at,
                    donor: all(&donor).unwrap_or_default(),
                    cluster: clusters.get(name).copied(),
                });
                names.push(name);
            }
            profiles.push(Named {
                variant: n,
                task,
                kind,
                profile: Profile {
                    layers,
                    chance,
                    items,
                },
                names,
            });
        }
    }
    profiles
}

/// The layers of a manipulation's rows, the items' scores at each, and whether the answers are
/// the donor's, where one was injected.
fn by_layer<'r>(rows: &[&'r ResultRow]) -> (Vec<u32>, Vec<ByItem<'r>>, Vec<ByItem<'r>>) {
    let mut layers: BTreeMap<u32, Vec<&ResultRow>> = BTreeMap::new();
    for &row in rows {
        layers.entry(row.layer.unwrap_or(0)).or_default().push(row);
    }
    let injected = rows.iter().any(|row| row.modified_correct.is_some());
    let donors = |row: &ResultRow| f64::from(u8::from(row.modified_correct == Some(true)));
    let at = layers.values().map(|rows| by_item(rows, |row| row.score));
    let donor = layers.values().filter(|_| injected);
    (
        layers.keys().copied().collect(),
        at.collect(),
        donor.map(|rows| by_item(rows, donors)).collect(),
    )
}

/// The cluster of each item of a task in which several have one: questions about one passage.
fn clusters(variant: &StoredVariant, task: TaskName) -> BTreeMap<&str, usize> {
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let items = variant.items.iter().filter(|item| item.task == task);
    let passages =
        items.filter_map(|item| Some((item, task.built_in()?.shared_part(&item.prompt)?)));
    passages
        .map(|(item, passage)| {
            let next = known.len();
            (item.name.as_str(), *known.entry(passage).or_insert(next))
        })
        .collect()
}

fn finding(run: &StoredRun, named: &Named<'_>, options: Options) -> Finding {
    let variant = &run.variants[named.variant];
    let profile = &named.profile;
    let items = || profile.items.iter();
    let passages: BTreeSet<usize> = items().filter_map(|item| item.cluster).collect();
    Finding {
        variant: named.variant,
        label: variant.label.clone(),
        n_layer: variant.spec.model.facts.n_layer,
        task: named.task,
        metric: variant.spec.metric(named.task),
        kind: named.kind,
        items: profile.items.len(),
        clusters: match passages.len() {
            0 => profile.items.len(),
            n => n,
        },
        clean: mean(items().map(|item| item.clean)),
        layers: profile.layers.clone(),
        top: mean(items().filter_map(|item| item.at.last().copied())),
        half_way: profile.half_way(LEVEL),
        moved: moved(profile),
        overtakes: profile.overtakes(LEVEL),
        ignorable: profile.ignorable(options.margin, LEVEL),
        first_at: options.threshold.map(|share| profile.first_at(share)),
    }
}

fn moved(profile: &Profile) -> Option<f64> {
    let again = profile.measured_again()?;
    let apart = (profile.half_way_point() - again.half_way_point()).abs();
    apart.is_finite().then_some(apart)
}

/// What can be compared: each other variant of as many layers with the first, over the same task
/// and manipulation.
fn pairs<'p, 'r>(
    run: &StoredRun,
    profiles: &'p [Named<'r>],
) -> Vec<(&'p Named<'r>, &'p Named<'r>)> {
    let depth = |n: usize| run.variants[n].spec.model.facts.n_layer;
    let others = profiles
        .iter()
        .filter(|named| named.variant > 0 && depth(named.variant) == depth(0));
    let first = |named: &Named<'_>| {
        let of_first = profiles.iter().take_while(|p| p.variant == 0);
        let mut same = of_first.filter(|p| (p.task, p.kind) == (named.task, named.kind));
        same.next()
    };
    others
        .filter_map(|named| Some((first(named)?, named)))
        .collect()
}

/// Over the items that both ran, where the same layers were swept.
fn difference(run: &StoredRun, a: &Named<'_>, b: &Named<'_>) -> Option<DifferenceRow> {
    let common: BTreeSet<&str> = {
        let of_b: BTreeSet<&str> = b.names.iter().copied().collect();
        let both = a.names.iter().copied();
        both.filter(|name| of_b.contains(name)).collect()
    };
    let kept = |named: &Named<'_>| {
        let names = named.names.iter();
        let items = names.zip(&named.profile.items);
        let items = items.filter(|(name, _)| common.contains(*name));
        Profile {
            items: items.map(|(_, item)| item.clone()).collect(),
            layers: named.profile.layers.clone(),
            chance: named.profile.chance,
        }
    };
    let (one, other) = (kept(a), kept(b));
    let floors = [moved(&one), moved(&other)];
    let difference = one.difference(&other)?;
    Some(DifferenceRow {
        reference: run.variants[a.variant].label.clone(),
        variant: (b.variant, run.variants[b.variant].label.clone()),
        task: a.task,
        kind: a.kind,
        difference,
        corrected: 1.0,
        floor: floors.into_iter().flatten().reduce(f64::max),
        verdict: difference.verdict(1.0, None),
        layers: one.layers,
    })
}
