//! What a map is asked, and drawn on the engine's thread.

use midlayer::engine::{self, Engine, TokenSelector};
use midlayer::intervention::{Kind, Site};
use midlayer::maps::{Down, Measure, draw};
use midlayer::models::Remember;
use midlayer::tasks::Parts;
use midlayer::trial::{self, About, Donor, NamedTask, OfItems, Part, Told, item_maps};
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

const ONE_MEASURE: &str = "`kl` compares whole distributions: leave out `answer` and `foil`";

/// What items' right answers are compared with.
pub enum Foil {
    None,
    Own,
    Text(String),
}

/// A foil as Python gives it: a text, or True for each item's own.
pub fn of_item(foil: Option<&Bound<'_, PyAny>>) -> PyResult<Foil> {
    let Some(foil) = foil else {
        return Ok(Foil::None);
    };
    match foil.extract::<bool>() {
        Ok(true) => Ok(Foil::Own),
        Ok(false) => Ok(Foil::None),
        Err(_) => match foil.extract() {
            Ok(text) => Ok(Foil::Text(text)),
            Err(_) => Err(usage("`foil` is a text, or True for each item's own")),
        },
    }
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
        if self.kl && (answer.is_some() || foil.is_some()) {
            return Err(usage(ONE_MEASURE));
        }
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
        (task, told): (&NamedTask, &Told<'_>),
        foil: &Foil,
        n_ctx: u32,
    ) -> PyResult<(Map, Option<String>)> {
        if self.kl && !matches!(foil, Foil::None) {
            return Err(usage(ONE_MEASURE));
        }
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
            about: match foil {
                Foil::Own => About::OwnFoil,
                Foil::Text(text) => About::Foil(text),
                Foil::None if self.kl => About::Kl,
                Foil::None => About::Answer,
            },
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
        let (said, reasons) = (made.notice(task.task), made.reasons());
        let title = of.title(&bench.model.facts().name, task.task, made.maps.len());
        let map = Map::over(made.maps, title, of.measure());
        let none = || {
            let task = task.task;
            usage(format!("{task}: no item can be mapped: {reasons} (`task`)"))
        };
        Ok((map.ok_or_else(none)?, said))
    }
}
