//! What a variant is about to run, known before anything is computed: its items, their units, and
//! what is left out.

use std::ops::Range;

use super::asked::{Asking, cells_for};
use super::drawn::draw;
use super::drift::compared;
use super::units::ToRun;
use super::{Given, SweepError};
use crate::engine::{Engine, EngineError, PromptError, TokenSelector};
use crate::experiment::{Amount, Cell, Grid, Reasons, Unit, Variant};
use crate::intervention::Kind;
use crate::runtime::Token;
use crate::store::{Part, StoreError};
use crate::tasks::{Item, ItemSet, TaskName};

/// A variant with its items, made by its model's tokenizer.
#[derive(Debug)]
pub struct Prepared {
    pub(super) variant: Variant,
    pub(super) selector: TokenSelector,
    pub(super) given: Given,
    pub(super) tasks: Vec<PreparedTask>,
    /// Prompts of the whole run, whichever part of it runs here, on which models' states are
    /// compared.
    pub(super) compared: Vec<Vec<Token>>,
}

/// A task with its items.
#[derive(Debug)]
pub struct PreparedTask {
    /// The task.
    pub task: TaskName,
    /// Its items, and those left out.
    pub set: ItemSet,
    pub(super) units: Vec<Unit>,
    /// Results of the whole run, whichever part of it runs here.
    results: usize,
    /// How many items of the run come before its first, where that is known.
    first: Option<usize>,
}

/// Prompts of each task on which the noise floor is measured.
const FLOOR_PROMPTS: usize = 5;

impl PreparedTask {
    /// Why items are left out of everything, and of a manipulation that needs a donor, where one runs.
    fn left_out(&self, grid: &Grid) -> Vec<(String, &'static str, String)> {
        let named = |left: &[(String, String)], what| {
            let left = left.iter();
            left.map(|(id, reason)| (id.clone(), what, reason.clone()))
                .collect::<Vec<_>>()
        };
        let mut left_out = named(&self.set.left_out, "item");
        if let Some(kind) = self.with_donor(grid) {
            left_out.extend(named(&self.set.without_swap, kind.name()));
        }
        left_out
    }

    /// The manipulation that needs a donor, where one runs.
    fn with_donor(&self, grid: &Grid) -> Option<Kind> {
        let mut kinds = grid
            .cells_of(self.task)
            .filter_map(|(_, cell)| cell.treatment.kind());
        kinds.find(|kind| kind.has_donor())
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
        let kind = self
            .with_donor(grid)
            .filter(|_| !self.set.without_swap.is_empty());
        if let Some(kind) = kind {
            let left = reasons(&self.set.without_swap);
            notes.push(format!(
                "{task}: {kind} leaves out {} of {n} items: {left}",
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
        let all: Vec<usize> = (0..grid.cells_of(self.task).count()).collect();
        let mut items = self.set.items.iter();
        if !items.any(|item| cells_for(item, grid, self.task, &all).any(manipulated)) {
            return Err(no_item("has a donor", &self.set.without_swap));
        }
        Ok(())
    }
}

impl Prepared {
    /// The items on which the noise floor is measured.
    pub(super) fn floor_prompts(&self) -> Vec<(TaskName, &Item)> {
        let tasks = self.tasks.iter();
        let items = tasks.flat_map(|task| {
            let items = task.set.items.iter().take(FLOOR_PROMPTS);
            items.map(|item| (task.task, item))
        });
        items.collect()
    }

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
            if spec.until.is_some() {
                draw(of.task, &mut set.items);
            }
            let mut task = PreparedTask {
                task: of.task,
                units: Vec::new(),
                results: 0,
                first: None,
                set,
            };
            task.check(grid)?;
            for item in &task.set.items {
                let failed = |source| SweepError::Item {
                    task: of.task,
                    item: item.id.clone(),
                    source: EngineError::Prompt(source),
                };
                let chosen = selector.positions_in(&item.prompt, &item.parts);
                let chosen = chosen.map_err(failed)?;
                let prior = item.prompt.tokens.len() as u32 - 1;
                let mut kinds = spec.manipulations.iter();
                let nowhere = |kind: &&Kind| kind.places(1, &chosen, prior).first().is_none();
                if let Some(kind) = kinds.find(|kind| chosen.first().is_some() && nowhere(kind)) {
                    return Err(SweepError::Tokens(format!(
                        "{kind} acts on other tokens than those asked for, and all are; leave some out (`tokens`)"
                    )));
                }
            }
            let to_run = ToRun {
                variant: &variant,
                selector: &selector,
                task: of.task,
                items: &task.set.items,
            };
            task.units = to_run.all()?;
            task.results = task.units.iter().map(|unit| unit.amount.results).sum();
            tasks.push(task);
        }
        Ok(Self {
            given: Given::read(&spec.outside, engine)?,
            variant,
            selector,
            compared: compared(&tasks),
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
            store.put_left_out(task.task, &task.left_out(&self.variant.grid))?;
            let items = task.set.items.len();
            // What decides when it stops is known only then.
            match self.variant.spec.until {
                Some(_) => store.note_items(task.task, items)?,
                None => store.note_planned(task.task, items, task.results)?,
            }
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

    /// The work of each group of items that travel together, in the order in which they run. What
    /// they share, a clean run and the tokens that they begin with, stays with them.
    pub fn groups(&self) -> Vec<f64> {
        let tasks = self.tasks.iter();
        let groups = tasks.flat_map(|task| task.units.chunk_by(|a, b| a.items == b.items));
        groups
            .map(|units| units.iter().map(|unit| unit.amount.work).sum())
            .collect()
    }

    /// Leaves only these of the [groups](Self::groups) to run.
    pub fn keep(&mut self, kept: &Range<usize>) {
        let mut n = 0;
        for task in &mut self.tasks {
            let units = std::mem::take(&mut task.units);
            for units in units.chunk_by(|a, b| a.items == b.items) {
                if kept.contains(&n) {
                    task.units.extend_from_slice(units);
                }
                n += 1;
            }
        }
    }

    /// Gives the items their places in the run, of which `before` come before this variant's;
    /// returns how many there are with these. A sweep that stops when it knows runs items in an
    /// order of its own.
    pub fn place(&mut self, before: usize) -> usize {
        let mut next = before;
        for task in &mut self.tasks {
            task.first = self.variant.spec.until.is_none().then_some(next);
            next += task.set.items.len();
        }
        next
    }

    /// The place of a task's `n`-th item among all of the run.
    pub(super) fn place_of(&self, task: TaskName, n: usize) -> Option<usize> {
        let of = self.tasks.iter().find(|of| of.task == task)?;
        Some(of.first? + n)
    }

    /// What is asked for some of a task's cells.
    pub(super) fn asking<'a>(&'a self, task: TaskName, cells: &'a [usize]) -> Asking<'a> {
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
