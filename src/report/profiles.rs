//! The curves of a run's variants, item by item: what findings are computed from.

use std::collections::BTreeMap;

use crate::experiment::{Comparison, Treatment, Windows};
use crate::intervention::Kind;
use crate::stats::{Decisions, ItemScores, Known, KnownItem, Profile, Until, Window, mean};
use crate::store::{ResultRow, StoredItem, StoredVariant};
use crate::tasks::{CHANCE, TaskName};

/// A profile with the names of its items.
pub(super) struct Named<'r> {
    pub variant: usize,
    pub task: TaskName,
    pub kind: Kind,
    pub profile: Profile,
    pub names: Vec<&'r str>,
    /// Of a sweep that stops when it knows.
    pub stopped: Option<Stopped<'r>>,
}

/// What a sweep that stops when it knows has of a curve besides the layers and items that its
/// half-way layer is estimated from.
pub(super) struct Stopped<'r> {
    pub decisions: Decisions,
    /// Whether everything is decided.
    pub decided: bool,
    /// Whether a half-way layer was asked for.
    pub half_way: bool,
    /// The whole curve, coarsely.
    pub wide: Profile,
    /// All layers that have any item.
    pub layers: Vec<u32>,
    /// Items with a clean run, and their scores' mean.
    pub items: usize,
    pub clean: f64,
    /// What is compared with the first variant's curve, and its items' names.
    pub compared: Option<(Profile, Vec<&'r str>)>,
}

/// Means over seeds, by item.
type ByItem<'r> = BTreeMap<&'r str, f64>;

/// Of rows in which an item's stand together, as they are stored.
fn by_item<'r>(rows: &[&'r ResultRow], of: impl Fn(&ResultRow) -> f64) -> ByItem<'r> {
    let items = rows.chunk_by(|a, b| a.item == b.item);
    let mean_of = |seeds: &[&'r ResultRow]| {
        let name: &'r str = &seeds[0].item;
        (name, mean(seeds.iter().map(|row| of(row))))
    };
    items.map(mean_of).collect()
}

/// Of each task and manipulation the items that ran at every layer.
fn whole(n: usize, variant: &StoredVariant) -> Vec<Named<'_>> {
    type Cell<'r> = ((TaskName, Treatment), Vec<&'r ResultRow>);
    let mut rows: Vec<Cell<'_>> = Vec::new();
    for row in variant.counted() {
        let of = (row.task, row.cell.treatment);
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
                stopped: None,
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
        layers
            .entry(row.cell.layer.unwrap_or(0))
            .or_default()
            .push(row);
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

/// The profiles of a run's variants: those of the first decide what others are compared at, where
/// the sweep stops when it knows.
pub(super) fn windows(profiles: &[Named<'_>]) -> Windows {
    let windows = profiles.iter().filter_map(|named| {
        let stopped = named.stopped.as_ref()?;
        let window = stopped.decisions.half_way.clone()?;
        Some((named.task, named.kind, window))
    });
    windows.collect()
}

/// The profiles of a variant.
pub(super) fn profiles<'r>(
    n: usize,
    variant: &'r StoredVariant,
    comparison: &Comparison,
) -> Vec<Named<'r>> {
    match variant.spec.until {
        None => whole(n, variant),
        Some(until) => stopped(n, variant, &until, comparison),
    }
}

fn stopped<'r>(
    n: usize,
    variant: &'r StoredVariant,
    until: &Until,
    comparison: &Comparison,
) -> Vec<Named<'r>> {
    let mut profiles = Vec::new();
    for task in variant.spec.tasks.iter().map(|task| task.task) {
        for &kind in &variant.spec.manipulations {
            let (known, names) = known(variant, task, kind);
            if known.layers.is_empty() || names.is_empty() {
                continue;
            }
            let decisions = known.replay(until, &comparison.of(task, kind));
            let Some(wide) = decisions.wide.clone() else {
                continue;
            };
            let named = |window: &Window| -> (Profile, Vec<&'r str>) {
                let mut window = window.clone();
                window.items = window.items.min(names.len());
                let complete = (0..window.items).filter(|&item| known.is_known(item, &window));
                (known.profile(&window), complete.map(|n| names[n]).collect())
            };
            let window = decisions.half_way.clone();
            let (profile, of_profile) = named(&window.unwrap_or_else(|| wide.clone()));
            let compared = match comparison.of(task, kind) {
                crate::stats::Compared::With(window) => Some(named(&window)),
                _ => None,
            };
            let clean: Vec<f64> = known.items.iter().filter_map(|item| item.clean).collect();
            let at = |k: &usize| known.items.iter().any(|item| item.at[*k].is_some());
            let swept = (0..known.layers.len()).filter(at);
            profiles.push(Named {
                variant: n,
                task,
                kind,
                profile,
                names: of_profile,
                stopped: Some(Stopped {
                    decided: decisions.are_made(until),
                    half_way: until.half_way.is_some(),
                    wide: named(&wide).0,
                    layers: swept.map(|k| known.layers[k]).collect(),
                    items: clean.len(),
                    clean: mean(clean),
                    compared,
                    decisions,
                }),
            });
        }
    }
    profiles
}

/// What is stored of a curve of a sweep that stops when it knows, and the names of the items
/// that are stored. Those that are not come last, without a score.
fn known(variant: &StoredVariant, task: TaskName, kind: Kind) -> (Known, Vec<&str>) {
    let runs =
        |item: &&StoredItem| item.task == task && (!kind.has_donor() || item.donor.is_some());
    let names: Vec<&str> = variant
        .items
        .iter()
        .filter(runs)
        .map(|i| &*i.name)
        .collect();
    let rows = |treatment| {
        let rows = variant.rows.iter();
        let rows = rows.filter(move |row| row.task == task && row.cell.treatment == treatment);
        rows.collect::<Vec<_>>()
    };
    let layers: Vec<u32> = variant.spec.layers_of(kind).collect();
    let clean = by_item(&rows(Treatment::Clean), |row| row.score);
    let again = by_item(&rows(Treatment::CleanAgain), |row| row.score);
    let chance = by_item(&rows(Treatment::Clean), |row| {
        row.metrics.get(CHANCE).copied().unwrap_or(0.0)
    });
    // A layer counts of an item once all seeds are there.
    let seeds = if kind.has_seed() {
        variant.spec.seeds.len()
    } else {
        1
    };
    let mut at: BTreeMap<(&str, u32), Vec<&ResultRow>> = BTreeMap::new();
    for row in rows(Treatment::Manipulated(kind)) {
        let cell = (&*row.item, row.cell.layer.unwrap_or(0));
        at.entry(cell).or_default().push(row);
    }
    let over_seeds = |name: &str, of: fn(&ResultRow) -> f64| {
        let mean_at = |layer: &u32| {
            let rows = at.get(&(name, *layer)).filter(|rows| rows.len() == seeds)?;
            Some(mean(rows.iter().map(|row| of(row))))
        };
        layers.iter().map(mean_at).collect::<Vec<_>>()
    };
    let clusters = clusters(variant, task);
    let item = |&name: &&str| KnownItem {
        clean: clean.get(name).copied(),
        again: again.get(name).copied(),
        at: over_seeds(name, |row| row.score),
        donor: match kind.has_donor() {
            true => over_seeds(name, |row| {
                f64::from(u8::from(row.modified_correct == Some(true)))
            }),
            false => Vec::new(),
        },
        chance: chance.get(name).copied().unwrap_or(0.0),
        cluster: clusters.get(name).copied(),
    };
    let mut items: Vec<KnownItem> = names.iter().map(item).collect();
    let planned = variant.planned.of_task.iter().find(|(of, _)| *of == task);
    let without = (task.to_string(), kind.name().to_string());
    let without = variant.left_out.get(&without).filter(|_| kind.has_donor());
    let all = planned.map_or(0, |(_, n)| *n);
    let all = all.saturating_sub(without.map_or(0, |reasons| reasons.count()));
    let none = KnownItem {
        at: vec![None; layers.len()],
        donor: if kind.has_donor() {
            vec![None; layers.len()]
        } else {
            Vec::new()
        },
        ..KnownItem::default()
    };
    items.resize(all.max(items.len()), none);
    (Known { layers, items }, names)
}
