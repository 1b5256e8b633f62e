//! Runs a grid: a few items at a time, each under all its cells, committed together.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use super::donors::Donors;
use super::seen::{Seen, tails};
use super::{Cell, Grid, GridError, Spec, Treatment, Variant};
use crate::engine::{Engine, EngineError, Request, TokenSelector};
use crate::files::HeldError;
use crate::intervention::{Kind, PositionSet};
use crate::store::{ItemRow, Part, StoreError, Unit};
use crate::tasks::data::DataError;
use crate::tasks::{Item, ItemSet, Swap, TaskName};

/// What can stop a sweep.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The engine failed.
    #[error("{task}, item {item}: {source}")]
    Item {
        /// The task.
        task: TaskName,
        /// The item and the cell, or the first and the last of the items that ran together.
        item: String,
        /// Why.
        source: EngineError,
    },
    /// The engine failed before any item.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The results could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to run.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// The user stopped it. Everything committed stays.
    #[error("interrupted; repeat the command to go on where it stopped")]
    Interrupted,
    /// What results are computed from is not what it was.
    #[error(transparent)]
    Changed(#[from] HeldError),
    /// A task's data file cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The token selector does not fit sweeps.
    #[error("{0}")]
    Tokens(String),
}

/// Follows a sweep. All methods do nothing by default.
pub trait Progress {
    /// `cells` are to be run in all, `done` of them are there from an earlier session.
    fn begin(&mut self, cells: usize, done: usize) {
        let _ = (cells, done);
    }
    /// A cell has run.
    fn cell(&mut self, task: TaskName, item: &str) {
        let _ = (task, item);
    }
    /// Something the user should know.
    fn note(&mut self, text: &str) {
        let _ = text;
    }
    /// Asked before anything is stored: whether what was computed from is still what it was.
    ///
    /// # Errors
    /// Nothing is stored then.
    fn check(&self) -> Result<(), HeldError> {
        Ok(())
    }
    /// Whether to stop.
    fn stopped(&self) -> bool {
        false
    }
}

impl Progress for () {}

/// What a sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Items run in this session.
    pub items: usize,
    /// Items that were there already.
    pub resumed: usize,
}

/// Prompts on which the noise floor is measured.
const FLOOR_PROMPTS: usize = 5;

/// Runs what is missing of a variant.
///
/// # Errors
/// [`SweepError`]; what was committed before stays and is not run again.
pub fn run(
    variant: &Variant,
    engine: &mut dyn Engine,
    store: &mut Part<'_>,
    progress: &mut dyn Progress,
) -> Result<Summary, SweepError> {
    let Variant { spec, grid } = variant;
    let selector: TokenSelector = spec.tokens.parse().map_err(SweepError::Tokens)?;
    if matches!(selector, TokenSelector::Text(_)) {
        return Err(SweepError::Tokens(
            "text: selects tokens of one prompt; a sweep has many: use prior, skip:N or positions (--tokens)".into(),
        ));
    }
    let mut work: Vec<(TaskName, ItemSet)> = Vec::new();
    for task in &spec.tasks {
        work.push((task.task, task.items(engine, spec.context.n_ctx)?));
    }
    measure_noise_floor(&work, engine, store, progress)?;
    let mut summary = Summary {
        items: 0,
        resumed: 0,
    };
    let mut pending = Vec::new();
    let (mut cells, mut done_cells) = (0, 0);
    for (task, set) in &work {
        note_left_out(*task, set, grid, store, progress)?;
        store.note_items(*task, set.items.len())?;
        let done = store.done(*task)?;
        for together in groups(&set.items, engine.shares()) {
            let items = &set.items[together];
            let n: usize = items
                .iter()
                .map(|i| cells_for(i, grid, *task).count())
                .sum();
            cells += n;
            if items.iter().all(|item| done.contains(&item.id)) {
                summary.resumed += items.len();
                done_cells += n;
            } else {
                pending.push((*task, items));
            }
        }
    }
    progress.begin(cells, done_cells);
    let mut told = false;
    for (task, items) in pending {
        let sweep = ItemSweep {
            spec,
            selector: &selector,
            grid,
            task,
        };
        let units = sweep.run(items, engine, progress)?;
        progress.check()?;
        store.commit(&units)?;
        summary.items += items.len();
        let work = engine.work();
        store.note_work(&work)?;
        if let Some(reason) = work.reason.filter(|_| !told) {
            told = true;
            progress.note(&format!("runs that were computed whole: {reason}"));
        }
    }
    Ok(summary)
}

/// Items that run and commit together at most.
pub const ITEMS_TOGETHER: usize = 40;
/// Tokens of theirs at most, what they begin with in common counted once.
const TOKENS_TOGETHER: usize = 1024;

/// Ranges of items that run together. They follow from the items alone, so that an interrupted
/// run goes on in the same batches.
pub(super) fn groups(items: &[Item], shares: bool) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (n, item) in items.iter().enumerate() {
        let first = &items[start].prompt.tokens;
        let pairs = item.prompt.tokens.iter().zip(first);
        let shared = if n > start {
            pairs.take_while(|(a, b)| a == b).count()
        } else {
            0
        };
        let own = item.prompt.tokens.len() - shared;
        let full = n - start >= ITEMS_TOGETHER || tokens + own > TOKENS_TOGETHER;
        if n > start && (!shares || full) {
            groups.push(start..n);
            (start, tokens) = (n, item.prompt.tokens.len());
        } else {
            tokens += own;
        }
    }
    if start < items.len() {
        groups.push(start..items.len());
    }
    groups
}

fn measure_noise_floor(
    work: &[(TaskName, ItemSet)],
    engine: &mut dyn Engine,
    store: &mut Part<'_>,
    progress: &dyn Progress,
) -> Result<(), SweepError> {
    if store.has_noise_floor()? {
        return Ok(());
    }
    let measured: Vec<(TaskName, &Item)> = work
        .iter()
        .flat_map(|(task, set)| {
            set.items
                .iter()
                .map(move |item| (*task, item))
                .take(FLOOR_PROMPTS)
        })
        .collect();
    let prompts: Vec<_> = measured
        .iter()
        .map(|(_, item)| item.prompt.clone())
        .collect();
    let floors = engine.noise_floor(&prompts).map_err(|error| {
        let (prompt, source) = error.request();
        match prompt.map(|n| measured[n]) {
            Some((task, item)) => SweepError::Item {
                task,
                item: format!("{}, clean", item.id),
                source,
            },
            None => source.into(),
        }
    })?;
    progress.check()?;
    store.put_noise_floor(&floors)?;
    Ok(())
}

fn note_left_out(
    task: TaskName,
    set: &ItemSet,
    grid: &Grid,
    store: &mut Part<'_>,
    progress: &mut dyn Progress,
) -> Result<(), SweepError> {
    let injects = grid
        .cells_of(task)
        .any(|(_, cell)| cell.treatment == INJECT);
    let mut left_out: Vec<(String, &str, String)> = set
        .left_out
        .iter()
        .map(|(id, reason)| (id.clone(), "item", reason.clone()))
        .collect();
    if injects {
        let swaps = set.without_swap.iter();
        left_out.extend(swaps.map(|(id, reason)| (id.clone(), "inject", reason.clone())));
        if !set.without_swap.is_empty() {
            progress.note(&format!(
                "{task}: inject leaves out {} of {} items (no donor name with as many tokens)",
                set.without_swap.len(),
                set.items.len()
            ));
        }
    }
    store.put_left_out(task, &left_out)?;
    Ok(())
}

/// The cells an item runs under: all of the task's, without `inject` where it has no swap.
pub(super) fn cells_for<'g>(
    item: &'g Item,
    grid: &'g Grid,
    task: TaskName,
) -> impl Iterator<Item = (usize, &'g Cell)> {
    grid.cells_of(task)
        .filter(|(_, cell)| cell.treatment != INJECT || item.swap.is_some())
}

const INJECT: Treatment = Treatment::Manipulated(Kind::Inject);

/// Where to cut a prompt so that its last token is decoded apart: the cheapest other shape.
fn last_alone(item: &Item) -> Vec<usize> {
    let last = item.prompt.tokens.len() - 1;
    if last > 0 { vec![last] } else { vec![] }
}

/// A task's sweep over items.
struct ItemSweep<'s> {
    spec: &'s Spec,
    selector: &'s TokenSelector,
    grid: &'s Grid,
    task: TaskName,
}

/// An item under a cell.
struct Asked<'i> {
    /// The item's place among those at hand.
    of: usize,
    cell: usize,
    treatment: Treatment,
    swap: Option<&'i Swap>,
}

impl ItemSweep<'_> {
    /// Runs items under all their cells.
    fn run(
        &self,
        items: &[Item],
        engine: &mut dyn Engine,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Unit>, SweepError> {
        let (mut asked, mut requests) = (Vec::new(), Vec::new());
        for (of, item) in items.iter().enumerate() {
            let failed = |source| self.failed(std::slice::from_ref(item), source);
            self.ask(of, item, engine, &mut asked, &mut requests)
                .map_err(failed)?;
        }
        let mut clean: HashMap<usize, Vec<f32>> = HashMap::new();
        let mut seen: Vec<Option<Seen>> = requests.iter().map(|_| None).collect();
        if progress.stopped() {
            return Err(SweepError::Interrupted);
        }
        let result = engine.run_all(&requests, &mut |n, outcome| {
            let Asked {
                of,
                treatment,
                swap,
                ..
            } = asked[n];
            let item = &items[of];
            if treatment == Treatment::Clean {
                clean.insert(of, outcome.logits.clone());
            }
            // The clean cell comes first among its item's.
            let clean = &clean[&of];
            seen[n] = Some(Seen::of(outcome, clean, item, swap));
            progress.cell(self.task, &item.id);
            if progress.stopped() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        match result {
            Ok(()) => {}
            // What is complete is kept.
            Err(EngineError::Stopped) if seen.iter().all(Option::is_some) => {}
            Err(EngineError::Stopped) => return Err(SweepError::Interrupted),
            Err(source) => {
                let (request, source) = source.request();
                return Err(match request.map(|n| &asked[n]) {
                    Some(asked) => self.failed_at(&items[asked.of], asked.cell, source),
                    None => self.failed(items, source),
                });
            }
        }
        let mut units: Vec<Unit> = items.iter().map(|item| self.unit(item)).collect();
        let mut answers: Vec<Option<String>> = vec![None; items.len()];
        for (asked, seen) in asked.iter().zip(seen) {
            let (seen, item) = (
                seen.expect("each request has its outcome"),
                &items[asked.of],
            );
            // The clean cell is an item's first.
            let clean = answers[asked.of].get_or_insert_with(|| seen.answer(item, engine));
            let row = seen.row(asked.cell, clean, (self.task, item, asked.swap), engine);
            units[asked.of].rows.push(row);
        }
        Ok(units)
    }

    /// The requests of an item, one a cell.
    fn ask<'i>(
        &self,
        of: usize,
        item: &'i Item,
        engine: &mut dyn Engine,
        asked: &mut Vec<Asked<'i>>,
        requests: &mut Vec<Request>,
    ) -> Result<(), EngineError> {
        let spec = self.spec;
        let tokens = self.selector.positions(&item.prompt)?;
        let mut donors = Donors::new(&spec.sites);
        for (
            cell,
            Cell {
                treatment,
                layer,
                seed,
            },
        ) in cells_for(item, self.grid, self.task)
        {
            let swap = item.swap.as_ref().filter(|_| *treatment == INJECT);
            let (continuations, generate) = tails(item, swap);
            let mut request = Request {
                continuations,
                generate,
                manipulate_generated: spec.manipulate_generated,
                from_step: spec.from_step,
                ..Request::new(&item.prompt)
            };
            let at = match swap {
                Some(of) => PositionSet::ranges(of.moves.iter().map(|(_, to)| *to..to + 1)),
                None => tokens.clone(),
            };
            if *treatment == Treatment::CleanAgain {
                request.cuts = last_alone(item);
            }
            if let Some(kind) = treatment.kind() {
                for &site in &spec.sites {
                    let states = donors.states(kind, site, item, engine)?;
                    let made = kind.intervention(*layer, *seed, spec.extent, at.clone(), states);
                    request.plan.push(made.on(site));
                }
            }
            asked.push(Asked {
                of,
                cell,
                treatment: *treatment,
                swap,
            });
            requests.push(request);
        }
        Ok(())
    }

    fn unit(&self, item: &Item) -> Unit {
        let swap = item.swap.as_ref();
        Unit {
            item: ItemRow {
                task: self.task,
                name: item.id.clone(),
                prompt: item.prompt.text.clone(),
                answer: item.answer.text.clone(),
                cut: item.cut,
                swap: swap.map(|of| (of.donor.text.clone(), of.answer.text.clone())),
            },
            rows: Vec::new(),
        }
    }

    fn failed_at(&self, item: &Item, cell: usize, source: EngineError) -> SweepError {
        let mut cells = self.grid.cells_of(self.task);
        let cell = cells.find(|(n, _)| *n == cell);
        SweepError::Item {
            task: self.task,
            item: match cell {
                Some((_, cell)) => format!("{}, {cell}", item.id),
                None => item.id.clone(),
            },
            source,
        }
    }

    fn failed(&self, items: &[Item], source: EngineError) -> SweepError {
        let mut item = items[0].id.clone();
        if let [_, .., last] = items {
            item = format!("{item} to {}", last.id);
        }
        SweepError::Item {
            task: self.task,
            item,
            source,
        }
    }
}
