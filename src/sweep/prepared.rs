//! What a variant is about to run, known before anything is computed: its items, their units, and
//! what is left out.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::asked::Asking;
use super::units::units;
use super::{Amount, Cell, Grid, SweepError, Treatment, Unit, Variant};
use crate::engine::{Engine, EngineError, PromptError, TokenSelector};
use crate::intervention::Kind;
use crate::store::{Part, StoreError};
use crate::tasks::{Item, ItemSet, TaskName};

/// A variant with its items, made by its model's tokenizer.
#[derive(Debug)]
pub struct Prepared {
    pub(super) variant: Variant,
    pub(super) selector: TokenSelector,
    pub(super) tasks: Vec<PreparedTask>,
}

/// A task with its items.
#[derive(Debug)]
pub struct PreparedTask {
    /// The task.
    pub task: TaskName,
    /// Its items, and those left out.
    pub set: ItemSet,
    pub(super) units: Vec<Unit>,
}

/// Reasons with how many items have each, the most frequent first, as
/// `it does not fit the context, raise -c (12), it has no answer (1)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasons(Vec<(String, usize)>);

impl Reasons {
    /// Counts reasons.
    pub fn of<'r>(reasons: impl IntoIterator<Item = &'r str>) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in reasons {
            *counts.entry(reason).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    /// How many items there are in all.
    pub fn count(&self) -> usize {
        self.0.iter().map(|(_, n)| n).sum()
    }
}

impl<R: Into<String>> FromIterator<(R, usize)> for Reasons {
    fn from_iter<I: IntoIterator<Item = (R, usize)>>(counts: I) -> Self {
        let counts = counts.into_iter().map(|(reason, n)| (reason.into(), n));
        let mut counts: Vec<_> = counts.collect();
        counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        Self(counts)
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.0.iter().map(|(reason, n)| format!("{reason} ({n})"));
        f.write_str(&each.collect::<Vec<_>>().join(", "))
    }
}

pub(super) const INJECT: Treatment = Treatment::Manipulated(Kind::Inject);

impl PreparedTask {
    /// Why items are left out of everything, and, where `inject` runs, out of that.
    fn left_out(&self, grid: &Grid) -> Vec<(String, &'static str, String)> {
        let named = |left: &[(String, String)], what| {
            let left = left.iter();
            left.map(|(id, reason)| (id.clone(), what, reason.clone()))
                .collect::<Vec<_>>()
        };
        let mut left_out = named(&self.set.left_out, "item");
        if self.injects(grid) {
            left_out.extend(named(&self.set.without_swap, "inject"));
        }
        left_out
    }

    fn injects(&self, grid: &Grid) -> bool {
        let mut cells = grid.cells_of(self.task);
        cells.any(|(_, cell)| cell.treatment == INJECT)
    }

    /// What the user should know of what is left out.
    fn notes(&self, grid: &Grid) -> Vec<String> {
        let (task, n) = (self.task, self.set.items.len());
        let reasons = |left: &[(String, String)]| Reasons::of(left.iter().map(|(_, r)| &**r));
        let mut notes = Vec::new();
        if !self.set.left_out.is_empty() {
            let left = reasons(&self.set.left_out);
            notes.push(format!(
                "{task}: {n} items; {} others cannot be used: {left}",
                left.count()
            ));
        }
        if self.injects(grid) && !self.set.without_swap.is_empty() {
            let left = reasons(&self.set.without_swap);
            notes.push(format!(
                "{task}: inject leaves out {} of {n} items: {left}",
                left.count()
            ));
        }
        notes
    }

    /// That there is something to run: an item, and one that a manipulation can act on.
    fn check(&self, grid: &Grid) -> Result<(), SweepError> {
        let no_item = |what, left: &[(String, String)]| SweepError::NoItem {
            task: self.task,
            what,
            reasons: Reasons::of(left.iter().map(|(_, reason)| &**reason)),
        };
        if self.set.items.is_empty() {
            return Err(no_item("can be used", &self.set.left_out));
        }
        let manipulated = |(_, cell): (usize, &Cell)| cell.treatment.kind().is_some();
        let all = 0..grid.cells_of(self.task).count();
        let mut items = self.set.items.iter();
        if !items.any(|item| cells_for(item, grid, self.task, all.clone()).any(manipulated)) {
            return Err(no_item("has a donor for inject", &self.set.without_swap));
        }
        Ok(())
    }
}

impl Prepared {
    /// Makes the items, and checks what can be checked without computing anything.
    ///
    /// # Errors
    /// A data file that cannot be used, a task without a usable item, tokens that a prompt does
    /// not have (`--tokens`).
    pub fn new(variant: Variant, engine: &dyn Engine) -> Result<Self, SweepError> {
        let Variant { spec, grid } = &variant;
        let selector: TokenSelector = spec.tokens.parse().map_err(SweepError::Tokens)?;
        let mut tasks = Vec::new();
        for of in &spec.tasks {
            let learned = engine.learned_positions();
            let mut set = of.items(engine.tokenizer(), spec.context.n_ctx, learned)?;
            select(&selector, &mut set).map_err(|(item, source)| SweepError::Item {
                task: of.task,
                item,
                source: EngineError::Prompt(source),
            })?;
            let mut task = PreparedTask {
                task: of.task,
                units: Vec::new(),
                set,
            };
            task.check(grid)?;
            task.units = units(&variant, &selector, of.task, &task.set.items)?;
            tasks.push(task);
        }
        Ok(Self {
            variant,
            selector,
            tasks,
        })
    }

    /// The variant.
    pub fn variant(&self) -> &Variant {
        &self.variant
    }

    /// Notes in the results what is to be run and what is left out.
    ///
    /// # Errors
    /// The store's.
    pub fn note(&self, store: &mut Part<'_>) -> Result<(), StoreError> {
        for task in &self.tasks {
            let results = task.units.iter().map(|unit| unit.amount.results).sum();
            store.put_left_out(task.task, &task.left_out(&self.variant.grid))?;
            store.note_planned(task.task, task.set.items.len(), results)?;
        }
        Ok(())
    }

    /// The tasks with their items.
    pub fn tasks(&self) -> &[PreparedTask] {
        &self.tasks
    }

    /// What is to be computed in all.
    pub fn amount(&self) -> Amount {
        let mut amount = Amount::default();
        let units = self.tasks.iter().flat_map(|task| &task.units);
        units.for_each(|unit| amount += unit.amount);
        amount
    }

    /// What is asked for some of a task's cells.
    pub(super) fn asking(&self, task: TaskName, cells: Range<usize>) -> Asking<'_> {
        Asking {
            variant: &self.variant,
            selector: &self.selector,
            task,
            cells,
        }
    }

    /// What the user should know before anything is computed.
    pub fn notes(&self) -> Vec<String> {
        let tasks = self.tasks.iter();
        tasks
            .flat_map(|task| task.notes(&self.variant.grid))
            .collect()
    }
}

/// Leaves out the items in whose prompts the selector finds nothing that it names.
///
/// # Errors
/// An item whose prompt is too short for the positions that are asked for.
fn select(selector: &TokenSelector, set: &mut ItemSet) -> Result<(), (String, PromptError)> {
    let mut kept = Vec::new();
    for item in std::mem::take(&mut set.items) {
        match selector.positions_in(&item.prompt, &item.parts) {
            Ok(_) => kept.push(item),
            Err(error @ PromptError::NotPrior { .. }) => return Err((item.id, error)),
            Err(error) => set.left_out.push((item.id, error.to_string())),
        }
    }
    set.items = kept;
    Ok(())
}

/// The cells of a range of the task's that an item runs under, with their numbers in the grid:
/// all, but `inject` only where it has a donor.
pub(super) fn cells_for<'g>(
    item: &'g Item,
    grid: &'g Grid,
    task: TaskName,
    range: Range<usize>,
) -> impl Iterator<Item = (usize, &'g Cell)> {
    let cells = grid.cells_of(task).skip(range.start).take(range.len());
    cells.filter(|(_, cell)| cell.treatment != INJECT || item.swap.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_the_most_frequent_first() {
        let reasons = Reasons::of(["b", "a", "b", "c"]);
        assert_eq!(reasons.to_string(), "b (2), a (1), c (1)");
        assert_eq!(reasons.count(), 4);
    }
}
