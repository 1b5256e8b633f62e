//! A unit's requests, and its results.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::asked::{Asked, Requests};
use super::donors::Donors;
use super::prepared::Prepared;
use super::seen::Seen;
use super::{Progress, SweepError};
use crate::engine::{Engine, EngineError};
use crate::experiment::{ItemResults, ItemRow, Treatment, Unit};
use crate::tasks::{Item, TaskName};

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
        let items = self.items.iter().enumerate();
        let mut results: Vec<ItemResults> = items.map(|(n, item)| self.item(n, item)).collect();
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
            let row = seen.row(cell, clean, (item, asked.swap), engine);
            results[asked.of].rows.push(row);
        }
        results.retain(|item| !item.rows.is_empty());
        Ok(results)
    }

    /// The requests, an item's clean run first.
    fn requests(&self, engine: &mut dyn Engine) -> Result<Requests<'_>, SweepError> {
        let asking = self.prepared.asking(self.task, &self.unit.cells);
        let mut all = Requests::default();
        for (of, item) in self.items.iter().enumerate() {
            let mut donors = Donors::new(&self.prepared.variant.spec.sites, &self.prepared.given);
            let mut given = |kind, site| donors.states(kind, site, item, &mut *engine);
            asking
                .ask(of, item, &mut given, &mut all)
                .map_err(|source| self.failed(std::slice::from_ref(item), source))?;
        }
        Ok(all)
    }

    /// The `n`-th item of the unit, without results.
    fn item(&self, n: usize, item: &Item) -> ItemResults {
        let swap = item.swap.as_ref();
        ItemResults {
            item: ItemRow {
                task: self.task,
                name: item.id.clone(),
                place: self.prepared.place_of(self.task, self.unit.items.start + n),
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
