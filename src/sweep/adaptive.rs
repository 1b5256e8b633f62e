//! Sweeps that stop when they know: step by step the units of what a task's curves ask for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::drawn::shared_part;
use super::units::ToRun;
use super::{Prepared, PreparedTask};
use crate::engine::EngineError;
use crate::experiment::{Cell, Comparison, Scored, Treatment, Unit};
use crate::intervention::Kind;
use crate::stats::{Asked, Decisions, Known, KnownItem, Until, Window};
use crate::tasks::{Item, TaskName};

/// One manipulation of a task over the layers.
struct Curve {
    kind: Kind,
    /// The items that it runs on, by their places in the set.
    items: Vec<usize>,
    layers: Vec<u32>,
    /// The cells of each layer, one a seed, by their numbers in the task.
    cells: Vec<Vec<usize>>,
    /// What it has asked for so far.
    asked: Asked,
    decisions: Option<Decisions>,
}

/// A task's curves.
pub(super) struct Curves<'p> {
    prepared: &'p Prepared,
    task: &'p PreparedTask,
    until: Until,
    curves: Vec<Curve>,
    clusters: Vec<Option<usize>>,
    /// The number in the task of what is not manipulated.
    unmanipulated: Vec<usize>,
    /// Items whose clean run has been asked for.
    clean: BTreeSet<usize>,
}

/// A task's stored scores by item and cell of the task's.
pub(super) type Stored = HashMap<String, HashMap<usize, Scored>>;

impl<'p> Curves<'p> {
    pub fn new(prepared: &'p Prepared, task: &'p PreparedTask, until: Until) -> Self {
        let variant = &prepared.variant;
        let (_, cells) = variant.grid.of_task(task.task);
        let number = |is: &dyn Fn(&Cell) -> bool| -> Vec<usize> {
            (0..cells.len()).filter(|&n| is(&cells[n])).collect()
        };
        let items = &task.set.items;
        let of = |&kind: &Kind| {
            let of_kind = number(&|cell| cell.treatment.kind() == Some(kind));
            let mut layers: Vec<u32> = of_kind.iter().map(|&n| cells[n].layer).collect();
            layers.sort_unstable();
            layers.dedup();
            let at = |layer: &u32| {
                let those = of_kind.iter().copied();
                those.filter(|&n| cells[n].layer == *layer).collect()
            };
            let runs = |&n: &usize| !kind.has_donor() || items[n].swap.is_some();
            Curve {
                kind,
                items: (0..items.len()).filter(runs).collect(),
                cells: layers.iter().map(at).collect(),
                asked: Asked::none(layers.len()),
                layers,
                decisions: None,
            }
        };
        let curves = variant.spec.manipulations.iter().map(of);
        Curves {
            curves: curves.filter(|curve| !curve.layers.is_empty()).collect(),
            clusters: clusters(task.task, items),
            unmanipulated: number(&|cell| cell.treatment.kind().is_none()),
            clean: BTreeSet::new(),
            prepared,
            task,
            until,
        }
    }

    /// The units of the next step, decided by what is stored; none when all is decided. Steps
    /// follow from scores alone, so that a resumed sweep runs the units of an undisturbed one.
    pub fn step(
        &mut self,
        stored: &Stored,
        comparison: &Comparison,
    ) -> Result<Vec<Unit>, EngineError> {
        let mut needs: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let known: Vec<Known> = self.curves.iter().map(|c| self.known(c, stored)).collect();
        for (curve, known) in self.curves.iter_mut().zip(known) {
            let compared = comparison.of(self.task.task, curve.kind);
            let decisions = known.decide(&self.until, &curve.asked, &compared);
            for (k, cells) in curve.cells.iter().enumerate() {
                let new = curve.asked.at[k]..decisions.asked.at[k];
                for item in &curve.items[new] {
                    needs.entry(*item).or_default().extend(cells);
                }
            }
            for &item in &curve.items[..decisions.asked.clean] {
                if self.clean.insert(item) {
                    let cells = needs.entry(item).or_default();
                    cells.extend(&self.unmanipulated);
                }
            }
            curve.asked = decisions.asked.clone();
            curve.decisions = Some(decisions);
        }
        let to_run = ToRun {
            variant: &self.prepared.variant,
            selector: &self.prepared.selector,
            task: self.task.task,
            items: &self.task.set.items,
        };
        let needs: Vec<(usize, Vec<usize>)> = needs
            .into_iter()
            .map(|(item, cells)| (item, cells.into_iter().collect()))
            .collect();
        let alike = needs.chunk_by(|a, b| a.0 + 1 == b.0 && a.1 == b.1);
        let mut units = Vec::new();
        for alike in alike {
            let items = alike[0].0..alike[alike.len() - 1].0 + 1;
            units.extend(to_run.units(items, &alike[0].1)?);
        }
        Ok(units)
    }

    /// The windows of the curves, once all is decided.
    pub fn windows(&self) -> impl Iterator<Item = (TaskName, Kind, Window)> {
        let curves = self.curves.iter();
        curves.filter_map(|curve| {
            let window = curve.decisions.as_ref()?.half_way.clone()?;
            Some((self.task.task, curve.kind, window))
        })
    }

    /// How far the curves are decided, in words.
    pub fn told(&self) -> String {
        let made = |curve: &&Curve| {
            let decisions = curve.decisions.as_ref();
            decisions.is_some_and(|decisions| decisions.are_made(&self.until))
        };
        let (made, all) = (self.curves.iter().filter(made).count(), self.curves.len());
        format!("{}: {made} of {all} manipulations decided", self.task.task)
    }

    fn known(&self, curve: &Curve, stored: &Stored) -> Known {
        let (_, cells) = self.prepared.variant.grid.of_task(self.task.task);
        let treated = |treatment| {
            let mut numbers = self.unmanipulated.iter();
            numbers.find(|&&n| cells[n].treatment == treatment)
        };
        let (clean, again) = (treated(Treatment::Clean), treated(Treatment::CleanAgain));
        let none = HashMap::new();
        let of_item = |&n: &usize| {
            let scores = stored.get(&self.task.set.items[n].id).unwrap_or(&none);
            let one = |cell: Option<&usize>| Some(scores.get(cell?)?.score);
            let over_seeds = |of: fn(&Scored) -> Option<f64>| {
                let mean = |cells: &Vec<usize>| {
                    let each = cells.iter().map(|cell| of(scores.get(cell)?));
                    let each: Vec<f64> = each.collect::<Option<_>>()?;
                    Some(each.iter().sum::<f64>() / each.len() as f64)
                };
                curve.cells.iter().map(mean).collect()
            };
            KnownItem {
                clean: one(clean),
                again: one(again),
                at: over_seeds(|scored| Some(scored.score)),
                donor: if curve.kind.has_donor() {
                    over_seeds(|scored| scored.modified.map(|is| f64::from(u8::from(is))))
                } else {
                    Vec::new()
                },
                chance: clean
                    .and_then(|cell| scores.get(cell)?.chance)
                    .unwrap_or(0.0),
                cluster: self.clusters[n],
            }
        };
        Known {
            layers: curve.layers.clone(),
            items: curve.items.iter().map(of_item).collect(),
        }
    }
}

/// The cluster of each item, where items have a passage in common.
fn clusters(task: TaskName, items: &[Item]) -> Vec<Option<usize>> {
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let of = items.iter().map(|item| {
        let passage = shared_part(task, item)?;
        let next = known.len();
        Some(*known.entry(passage).or_insert(next))
    });
    of.collect()
}
