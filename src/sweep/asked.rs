//! What is asked of the engine for items under cells: one request a result. The same requests are
//! priced beforehand and run.

use std::sync::Arc;

use super::seen::tails;
use crate::engine::{EngineError, Request, TokenSelector};
use crate::experiment::{Cell, Grid, Treatment, Variant};
use crate::intervention::{Kind, PositionSet, Site, States};
use crate::tasks::{Item, Swap, TaskName};

/// What a request is asked for: a result, or, without a cell, the clean run that the others are
/// compared with.
pub(super) struct Asked<'i> {
    /// The item's place among those at hand.
    pub of: usize,
    pub cell: Option<(usize, Treatment)>,
    pub swap: Option<&'i Swap>,
}

/// Requests that are handed over together.
#[derive(Default)]
pub(super) struct Requests<'i> {
    pub asked: Vec<Asked<'i>>,
    pub requests: Vec<Request>,
}

impl Requests<'_> {
    /// How many of them give a result.
    pub fn results(&self) -> usize {
        let with_cell = self.asked.iter().filter(|asked| asked.cell.is_some());
        with_cell.count()
    }
}

/// The states that a manipulation puts at a site; `None` for manipulations that need none.
pub(super) type Given<'g> = dyn FnMut(Kind, Site) -> Result<Option<Arc<States>>, EngineError> + 'g;

/// Some of a task's cells.
pub(super) struct Asking<'a> {
    pub variant: &'a Variant,
    pub selector: &'a TokenSelector,
    pub task: TaskName,
    /// Their numbers among the task's, rising.
    pub cells: &'a [usize],
}

impl Asking<'_> {
    /// Adds an item's requests, its clean run first.
    pub fn ask<'i>(
        &self,
        of: usize,
        item: &'i Item,
        given: &mut Given<'_>,
        all: &mut Requests<'i>,
    ) -> Result<(), EngineError> {
        let tokens = self.selector.positions_in(&item.prompt, &item.parts)?;
        let cells = cells_for(item, &self.variant.grid, self.task, self.cells);
        for (n, (number, cell)) in cells.enumerate() {
            if n == 0 && cell.treatment != Treatment::Clean {
                let compared = Asked {
                    of,
                    cell: None,
                    swap: None,
                };
                all.asked.push(compared);
                all.requests.push(Request::new(&item.prompt));
            }
            let swap = item.swap.as_ref();
            let swap = swap.filter(|_| cell.treatment.has_donor());
            let request = self.request(item, cell, swap, &tokens, given)?;
            all.requests.push(request);
            all.asked.push(Asked {
                of,
                cell: Some((number, cell.treatment)),
                swap,
            });
        }
        Ok(())
    }

    /// The requests of items before any state of a donor is known: what is priced.
    pub fn unstated<'i>(&self, items: &'i [Item]) -> Result<Requests<'i>, EngineError> {
        let mut all = Requests::default();
        for (of, item) in items.iter().enumerate() {
            self.ask(of, item, &mut |_, _| Ok(None), &mut all)?;
        }
        Ok(all)
    }

    fn request(
        &self,
        item: &Item,
        cell: &Cell,
        swap: Option<&Swap>,
        tokens: &PositionSet,
        given: &mut Given<'_>,
    ) -> Result<Request, EngineError> {
        let spec = &self.variant.spec;
        let (continuations, generate) = tails(item, swap);
        let mut request = Request {
            continuations,
            generate,
            manipulate_generated: spec.manipulate_generated,
            from_step: spec.from_step,
            ..Request::new(&item.prompt)
        };
        if cell.treatment == Treatment::CleanAgain {
            request.cuts = last_alone(item);
        }
        let Some(kind) = cell.treatment.kind() else {
            return Ok(request);
        };
        let at = match swap {
            Some(of) => PositionSet::ranges(of.moves.iter().map(|(_, to)| *to..to + 1)),
            None => tokens.clone(),
        };
        let prior = item.prompt.tokens.len() as u32 - 1;
        let at = kind.places(cell.seed, &at, prior);
        for &site in &spec.sites {
            let states = given(kind, site)?;
            let made = kind.intervention(cell.layer, cell.seed, spec.extent, at.clone(), states);
            request.plan.push(made.on(site));
        }
        Ok(request)
    }
}

/// Where to cut a prompt so that its last token is decoded apart: the cheapest other shape.
fn last_alone(item: &Item) -> Vec<usize> {
    let last = item.prompt.tokens.len() - 1;
    if last > 0 { vec![last] } else { vec![] }
}

/// Those of the task's cells that an item runs under, with their numbers in the grid: all that are
/// given by their numbers in the task, but those that need a donor only where it has one.
pub(super) fn cells_for<'g>(
    item: &'g Item,
    grid: &'g Grid,
    task: TaskName,
    cells: &'g [usize],
) -> impl Iterator<Item = (usize, &'g Cell)> {
    let (first, of_task) = grid.of_task(task);
    let cells = cells.iter().map(move |&n| (first + n, &of_task[n]));
    cells.filter(|(_, cell)| !cell.treatment.has_donor() || item.swap.is_some())
}
