//! What a run shows, computed once for all that render it: from which layer each manipulation
//! stops mattering, and whether the run's models differ in it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::profiles::{Named, Stopped, profiles, windows};
use super::series::{TaskSeries, series};
use crate::experiment::Comparison;
use crate::intervention::Kind;
use crate::runtime::processors;
use crate::stats::{
    Difference, HalfWay, Ignorable, LOOKS_LEVEL, Margin, Profile, Verdict, holm, mean,
};
use crate::store::StoredRun;
use crate::tasks::{Metric, TaskName};

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
    /// Items that the half-way layer is estimated from: fewer, where a sweep stopped when it knew.
    pub estimated_from: usize,
    /// Whether the sweep went on until all was decided that it was to find out.
    pub decided: bool,
    /// The confidence of the half-way layer's interval.
    pub level: f64,
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

impl<'r> Report<'r> {
    /// Computes all of it, on all processors.
    pub fn new(run: &'r StoredRun, mut options: Options) -> Self {
        // A sweep that stops when it knows was about one margin, fixed before.
        let until = run.variants.iter().filter_map(|variant| variant.spec.until);
        let mut margins = until.filter_map(|until| until.ignorable);
        options.margin = margins.next().unwrap_or(options.margin);
        let series = in_parallel(&run.variants, series);
        let of = |n: usize, with: &Comparison| profiles(n, &run.variants[n], with);
        let (first, others) = match run.variants.len() {
            0 => (Vec::new(), 0..0),
            1 => (of(0, &Comparison::Alone), 1..1),
            n => (of(0, &Comparison::First), 1..n),
        };
        let with = Comparison::With(windows(&first));
        let others: Vec<usize> = others.collect();
        let others = in_parallel(&others, |&n| of(n, &with));
        let profiles: Vec<Named<'r>> = first
            .into_iter()
            .chain(others.into_iter().flatten())
            .collect();
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
    let threads = processors().given as usize;
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

fn finding(run: &StoredRun, named: &Named<'_>, options: Options) -> Finding {
    let variant = &run.variants[named.variant];
    let profile = &named.profile;
    let items = || profile.items.iter();
    let passages: BTreeSet<usize> = items().filter_map(|item| item.cluster).collect();
    let stopped = named.stopped.as_ref();
    let level = match stopped {
        Some(stopped) if stopped.half_way => LOOKS_LEVEL,
        _ => LEVEL,
    };
    let wide = stopped.map_or(profile, |stopped| &stopped.wide);
    let mut half_way = profile.half_way(level);
    let whole = stopped.map(|stopped| stopped.wide.half_way(level));
    if let (HalfWay::At(found), Some(HalfWay::At(whole))) = (&mut half_way, whole) {
        found.also_above = whole.also_above;
        found.falls = whole.falls;
    }
    Finding {
        variant: named.variant,
        label: variant.label.clone(),
        n_layer: variant.spec.model.facts.n_layer,
        task: named.task,
        metric: variant.spec.metric(named.task),
        kind: named.kind,
        items: stopped.map_or(profile.items.len(), |stopped| stopped.items),
        estimated_from: profile.items.len(),
        decided: stopped.is_none_or(|stopped| stopped.decided),
        level,
        clusters: match passages.len() {
            0 => stopped.map_or(profile.items.len(), |stopped| stopped.items),
            n => n,
        },
        clean: match stopped {
            Some(stopped) => stopped.clean,
            None => mean(items().map(|item| item.clean)),
        },
        layers: stopped
            .map_or(&profile.layers, |stopped| &stopped.layers)
            .clone(),
        top: mean(wide.items.iter().filter_map(|item| item.at.last().copied())),
        half_way,
        moved: moved(profile),
        overtakes: wide.overtakes(level),
        ignorable: match stopped {
            Some(stopped) => ignorable(stopped, options.margin),
            None => profile.ignorable(options.margin, LEVEL),
        },
        first_at: options.threshold.map(|share| wide.first_at(share)),
    }
}

/// What a sweep that stops when it knows has decided; nothing where it has not.
fn ignorable(stopped: &Stopped<'_>, margin: Margin) -> Ignorable {
    let decided = stopped.decisions.ignorable.clone();
    decided.unwrap_or(Ignorable {
        margin,
        level: LEVEL,
        from: None,
        vacuous: false,
        by_layer: Vec::new(),
    })
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
    let compared = b
        .stopped
        .as_ref()
        .and_then(|stopped| stopped.compared.as_ref());
    let (of_a, of_b) = match compared {
        Some((profile, names)) => ((&a.profile, &a.names), (profile, names)),
        None => ((&a.profile, &a.names), (&b.profile, &b.names)),
    };
    let names_of_b: BTreeSet<&str> = of_b.1.iter().copied().collect();
    let both = of_a.1.iter().copied();
    let common: BTreeSet<&str> = both.filter(|name| names_of_b.contains(name)).collect();
    let kept = |(profile, names): (&Profile, &Vec<&str>)| {
        let items = names.iter().zip(&profile.items);
        let items = items.filter(|(name, _)| common.contains(*name));
        Profile {
            items: items.map(|(_, item)| item.clone()).collect(),
            layers: profile.layers.clone(),
            chance: profile.chance,
        }
    };
    let (one, other) = (kept(of_a), kept(of_b));
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
