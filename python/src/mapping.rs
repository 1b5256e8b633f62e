//! What a map is asked, and drawn on the engine's thread.

use midlayer::engine::{self, Engine, TokenSelector};
use midlayer::experiment::Reasons;
use midlayer::intervention::{Kind, Site};
use midlayer::maps::{Down, Measure, draw};
use midlayer::models::Remember;
use midlayer::tasks::Parts;
use midlayer::trial::{self, Donor, NamedTask, OfItems, Part, Told, item_maps};
use pyo3::prelude::*;

use crate::errors::{of_engine, of_trial, usage};
use crate::given::{list_of, selector};
use crate::manipulation::Manipulation;
use crate::map::Map;
use crate::told::tell_progress;
use crate::worker::Bench;

/// What maps of a prompt and of a task have in common.
pub struct Wish {
    pub manipulation: Manipulation,
    pub heads: bool,
    /// What corrupts which tokens, where one clean state is put back at a time.
    pub corrupted: Option<(Kind, TokenSelector)>,
    pub seeds: Option<Vec<u64>>,
    pub kl: bool,
    pub progress: Option<Py<PyAny>>,
}

impl Wish {
    pub fn new(
        manipulation: Manipulation,
        heads: bool,
        corrupt: Option<&Bound<'_, PyAny>>,
        (corrupt_by, seed): (&str, Option<&Bound<'_, PyAny>>),
        kl: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let by: Kind = corrupt_by.parse().map_err(usage)?;
        let corrupt = corrupt.map(selector).transpose()?;
        Ok(Self {
            manipulation,
            heads,
            corrupted: corrupt.map(|tokens| (by, tokens)),
            seeds: seed.map(list_of).transpose()?,
            kl,
            progress,
        })
    }

    /// The part, its layers and seeds, and what a map's rows are.
    fn asked(
        &self,
        bench: &mut Bench,
    ) -> PyResult<(
        Part,
        midlayer::intervention::LayerList,
        Vec<u64>,
        Option<Down>,
    )> {
        let engine = bench.engine.get();
        let restores = self.corrupted.is_some();
        let (mut part, layers, seeds) = (self.manipulation)
            .mapped(engine, restores)
            .map_err(of_trial)?;
        let seeds = self.seeds.clone().unwrap_or(seeds);
        if !self.heads {
            return Ok((part, layers, seeds, None));
        }
        let down = trial::heads(&bench.anatomy, part.kind).map_err(of_trial)?;
        match part.place.sites[..] {
            [Site::Residual | Site::HEADS] => part.place.sites = vec![Site::HEADS],
            _ => {
                return Err(usage(
                    "a map by head rewrites heads one by one: leave out `site`, or `heads`",
                ));
            }
        }
        Ok((part, layers, seeds, Some(down)))
    }

    /// The map of a prompt.
    pub fn of_prompt(
        &self,
        bench: &mut Bench,
        prompt: &engine::Prompt,
        answer: Option<&str>,
        foil: Option<&str>,
    ) -> PyResult<Map> {
        let (mut part, layers, seeds, down) = self.asked(bench)?;
        if self.corrupted.is_some() {
            part.donor = Some(Donor {
                prompt: prompt.clone(),
                at: None,
                from_at: None,
            });
        }
        let engine = bench.engine.get();
        let measure = match self.kl {
            true => Ok(Measure::Kl),
            false => trial::measure(engine, prompt, answer, foil),
        };
        let measure = measure.map_err(of_trial)?;
        let name = measure.name();
        let question = trial::question(&part, &layers, &seeds, measure, engine, prompt);
        let mut question = question.map_err(of_trial)?;
        question.down = down.unwrap_or(question.down);
        if let Some((by, tokens)) = &self.corrupted {
            let seed = question.seeds[0];
            let by = trial::corruption(*by, tokens, seed, prompt, &Parts::new());
            question.corrupted = Some(by.map_err(of_trial)?);
        }
        let mut failed = None;
        let drawn = draw(engine, &bench.anatomy, &question, &mut |_, done, all| {
            tell_progress(self.progress.as_ref(), (done, all), &mut failed)
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let title = question.title(&bench.model.facts().name);
        let drawn = drawn.map_err(of_engine)?;
        Ok(Map::new(drawn, &bench.model, prompt, title, name))
    }

    /// The average of the maps of a task's items, and what is said of items left out.
    pub fn of_task(
        &self,
        bench: &mut Bench,
        task: &NamedTask,
        told: &Told<'_>,
        n_ctx: u32,
    ) -> PyResult<(Map, Option<String>)> {
        let (part, layers, seeds, down) = self.asked(bench)?;
        if part.donor.is_some() {
            return Err(usage(
                "a donor has as many tokens as the prompt, which a task's items do not; corrupt a part of them (`corrupt`)",
            ));
        }
        let spec = task.spec(told, Remember::Hash).map_err(usage)?;
        let engine: &mut dyn Engine = bench.engine.get();
        let learned = engine.learned_positions();
        let set = spec
            .items(engine.tokenizer(), n_ctx, learned)
            .map_err(usage)?;
        let of = OfItems {
            part: &part,
            layers: &layers,
            seeds: &seeds,
            down: down.unwrap_or(Down::Roles),
            corrupted: self.corrupted.as_ref().map(|(by, tokens)| (*by, tokens)),
            kl: self.kl,
        };
        let (all, mut failed) = (set.items.len(), None);
        let made = item_maps(engine, &bench.anatomy, &of, &set.items, None, &mut |done| {
            tell_progress(self.progress.as_ref(), (done, all), &mut failed)
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let mut made = made.map_err(of_trial)?;
        made.left_out.extend(set.left_out);
        let said = (!made.left_out.is_empty()).then(|| {
            let reasons = Reasons::of(made.left_out.iter().map(|(_, reason)| &**reason));
            let (name, items, others) = (task.task, made.maps.len(), made.left_out.len());
            format!("{name}: {items} items; {others} others are left out: {reasons}")
        });
        let title = of.title(&bench.model.facts().name, task.task, made.maps.len());
        let map = Map::over(made.maps, title, of.measure());
        let none = || usage(format!("{}: no item can be mapped (`task`)", task.task));
        Ok((map.ok_or_else(none)?, said))
    }
}
