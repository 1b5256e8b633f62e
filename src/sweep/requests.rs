//! A unit's requests, and its results.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::donors::Donors;
use super::prepared::{Prepared, cells_for};
use super::seen::{Seen, tails};
use super::{Cell, Progress, SweepError, Treatment, Unit};
use crate::engine::{Engine, EngineError, Request};
use crate::intervention::PositionSet;
use crate::store::{ItemResults, ItemRow};
use crate::tasks::{Item, Swap, TaskName};

/// What a unit's request is asked for: a result, or, without a cell, the clean run that the
/// others are compared with.
struct Asked<'i> {
    /// The item's place in the unit.
    of: usize,
    cell: Option<(usize, Treatment)>,
    swap: Option<&'i Swap>,
}

/// A unit's requests.
#[derive(Default)]
struct Requests<'i> {
    asked: Vec<Asked<'i>>,
    requests: Vec<Request>,
}

/// A unit about to run.
pub(super) struct UnitRun<'p> {
    pub prepared: &'p Prepared,
    pub task: TaskName,
    pub unit: &'p Unit,
    /// The items of the unit.
    pub items: &'p [Item],
}

impl UnitRun<'_> {
    /// Runs the items under the unit's cells. `clean_answers` are those of items whose clean cell
    /// has run, by name.
    pub fn run(
        &self,
        clean_answers: &mut HashMap<String, String>,
        engine: &mut dyn Engine,
        progress: &mut dyn Progress,
    ) -> Result<Vec<ItemResults>, SweepError> {
        let Requests { asked, requests } = self.requests(engine)?;
        let mut clean: HashMap<usize, Vec<f32>> = HashMap::new();
        let mut seen: Vec<Option<Seen>> = requests.iter().map(|_| None).collect();
        let result = engine.run_all(&requests, &mut |n, outcome| {
            let Asked { of, cell, swap } = asked[n];
            let item = &self.items[of];
            // An item's clean run comes first.
            if cell.is_none_or(|(_, treatment)| treatment == Treatment::Clean) {
                clean.insert(of, outcome.logits.clone());
            }
            if cell.is_some() {
                seen[n] = Some(Seen::of(outcome, &clean[&of], item, swap));
                progress.result(self.task, &item.id);
            }
            ControlFlow::Continue(())
        });
        result.map_err(|source| {
            let (request, source) = source.request();
            match request.map(|n| &asked[n]) {
                Some(asked) => self.failed_at(asked, source),
                None => self.failed(self.items, source),
            }
        })?;
        let mut results: Vec<ItemResults> = self.items.iter().map(|i| self.item(i)).collect();
        for (asked, seen) in asked.iter().zip(seen) {
            let Some((cell, treatment)) = asked.cell else {
                continue;
            };
            let item = &self.items[asked.of];
            let seen = seen.expect("each request has its outcome");
            if treatment == Treatment::Clean {
                let answer = seen.answer(item, engine);
                clean_answers.insert(item.id.clone(), answer);
            }
            let clean = &clean_answers[&item.id];
            let row = seen.row(cell, clean, (self.task, item, asked.swap), engine);
            results[asked.of].rows.push(row);
        }
        results.retain(|item| !item.rows.is_empty());
        Ok(results)
    }

    /// The requests, an item's clean run first.
    fn requests(&self, engine: &mut dyn Engine) -> Result<Requests<'_>, SweepError> {
        let mut all = Requests::default();
        for (of, item) in self.items.iter().enumerate() {
            self.ask(of, item, engine, &mut all)
                .map_err(|source| self.failed(std::slice::from_ref(item), source))?;
        }
        Ok(all)
    }

    fn ask<'i>(
        &'i self,
        of: usize,
        item: &'i Item,
        engine: &mut dyn Engine,
        all: &mut Requests<'i>,
    ) -> Result<(), EngineError> {
        let tokens = self.prepared.selector.positions(&item.prompt)?;
        let mut donors = Donors::new(&self.prepared.variant.spec.sites, &self.prepared.given);
        let grid = &self.prepared.variant.grid;
        let cells = cells_for(item, grid, self.task, self.unit.cells.clone());
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
            let mut request = self.request(item, swap);
            if cell.treatment == Treatment::CleanAgain {
                request.cuts = last_alone(item);
            }
            let at = match swap {
                Some(of) => PositionSet::ranges(of.moves.iter().map(|(_, to)| *to..to + 1)),
                None => tokens.clone(),
            };
            let prior = item.prompt.tokens.len() as u32 - 1;
            let at = match cell.treatment.kind() {
                Some(kind) => kind.places(cell.seed, &at, prior),
                None => at,
            };
            self.intervene(&mut request, item, cell, at, &mut donors, engine)?;
            all.asked.push(Asked {
                of,
                cell: Some((number, cell.treatment)),
                swap,
            });
            all.requests.push(request);
        }
        Ok(())
    }

    fn request(&self, item: &Item, swap: Option<&Swap>) -> Request {
        let spec = &self.prepared.variant.spec;
        let (continuations, generate) = tails(item, swap);
        Request {
            continuations,
            generate,
            manipulate_generated: spec.manipulate_generated,
            from_step: spec.from_step,
            ..Request::new(&item.prompt)
        }
    }

    fn intervene(
        &self,
        request: &mut Request,
        item: &Item,
        cell: &Cell,
        at: PositionSet,
        donors: &mut Donors,
        engine: &mut dyn Engine,
    ) -> Result<(), EngineError> {
        let spec = &self.prepared.variant.spec;
        let Some(kind) = cell.treatment.kind() else {
            return Ok(());
        };
        for &site in &spec.sites {
            let states = donors.states(kind, site, item, engine)?;
            let made = kind.intervention(cell.layer, cell.seed, spec.extent, at.clone(), states);
            request.plan.push(made.on(site));
        }
        Ok(())
    }

    fn item(&self, item: &Item) -> ItemResults {
        let swap = item.swap.as_ref();
        ItemResults {
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

    fn failed_at(&self, asked: &Asked<'_>, source: EngineError) -> SweepError {
        let item = &self.items[asked.of].id;
        let mut cells = self.prepared.variant.grid.cells_of(self.task);
        let cell = asked.cell.and_then(|(at, _)| cells.find(|(n, _)| *n == at));
        SweepError::Item {
            task: self.task,
            item: match cell {
                Some((_, cell)) => format!("{item}, {cell}"),
                None => format!("{item}, clean"),
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

/// Where to cut a prompt so that its last token is decoded apart: the cheapest other shape.
fn last_alone(item: &Item) -> Vec<usize> {
    let last = item.prompt.tokens.len() - 1;
    if last > 0 { vec![last] } else { vec![] }
}
