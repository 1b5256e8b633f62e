//! Maps of generation: the step at which a manipulation begins, and the layer.

use std::ops::ControlFlow;

use super::question::{COARSE, has_control};
use super::unfinished::{Done, Keeping, Place};
use super::{Down, Followed, Map, Told, Unfinished};
use crate::engine::{DonorStates, Engine, EngineError, Outcome, Prompt, Request, kl, logprob};
use crate::hook::Anatomy;
use crate::intervention::{Extent, Intervention, Kind, PositionSet, Site};

/// What a map of steps asks: the clean run's own continuation of a prompt is followed, and from a
/// step on all tokens before the newest are manipulated, as arXiv 2605.30574 splices in a scaffold.
#[derive(Clone, Debug)]
pub struct Steps<'q> {
    /// The prompt.
    pub prompt: &'q Prompt,
    /// Its continuation, which every run follows.
    pub followed: Followed,
    /// The steps, the rows: how many of the continuation's tokens are there when the manipulation
    /// begins. Each is smaller than the continuation is long.
    pub steps: Vec<u32>,
    /// The manipulation.
    pub kind: Kind,
    /// The states that it needs, at the positions of the prompt and of its continuation.
    pub states: Option<DonorStates>,
    /// Which rows of a layer are manipulated.
    pub sites: Vec<Site>,
    /// Which layers, seen from a cell's.
    pub extent: Extent,
    /// Seeds, whose values are averaged.
    pub seeds: Vec<u64>,
    /// The layers, the columns.
    pub layers: Vec<u32>,
    /// Which of the tokens before the newest.
    pub tokens: PositionSet,
    /// Whether a cell is the KL divergence from the clean run, and not the change of the
    /// continuation's log-probability.
    pub kl: bool,
}

impl Steps<'_> {
    /// What the numbers are, in words. Both are means over the continuation's tokens from a step
    /// on.
    pub fn measure(&self) -> &'static str {
        match self.kl {
            true => "KL divergence from the clean run, nats a token",
            false => "log-probability of the clean continuation, nats a token",
        }
    }

    /// What a map of a model of this name shows.
    pub fn title(&self, model: &str) -> String {
        format!("{model}: {} from a step on", self.kind)
    }

    /// How many cells a first picture has, where every manipulation has its place.
    pub fn first_picture(&self) -> usize {
        self.steps.len() * self.layers.len().div_ceil(COARSE)
    }

    /// A run from a step on: what was generated until then is prompt, and the rest follows.
    fn request(&self, plan: Vec<Intervention>, step: u32) -> Request {
        let (before, rest) = self.followed.0.split_at(step as usize);
        Request {
            tokens: [&self.prompt.tokens, before].concat(),
            plan,
            continuations: vec![rest[..rest.len() - 1].to_vec()],
            ..Request::default()
        }
    }

    fn plan(&self, kind: Kind, layer: u32, step: u32, seed: u64) -> Vec<Intervention> {
        // States that are given are known for the whole text.
        let follow = match &self.states {
            Some(_) => self.followed.0.len() as u32,
            None => step,
        };
        let prior = self.prompt.tokens.len() as u32 + follow - 1;
        let at = kind.places(seed, &self.tokens, prior);
        let plan = self.sites.iter().map(|&site| {
            let states = self.states.as_ref().filter(|_| kind == self.kind);
            let states = states.map(|states| states.at(site));
            let made = kind.intervention(layer, seed, self.extent, at.clone(), states);
            made.on(site)
        });
        plan.collect()
    }

    /// The cells in the order in which they run, every fourth layer first.
    fn cells(&self, n_layer: u32, anatomy: &Anatomy) -> Vec<(usize, usize)> {
        let layers = 0..self.layers.len();
        let mut cells: Vec<(usize, usize)> = layers
            .flat_map(|layer| (0..self.steps.len()).map(move |step| (step, layer)))
            .filter(|&(step, layer)| {
                let (step, layer) = (self.steps[step], self.layers[layer]);
                let plan = self.plan(self.kind, layer, step, self.seeds[0]);
                let end = self.prompt.tokens.len() as u32 + step - 1;
                let mut plan = plan.iter();
                self.kind.is_defined(layer, n_layer)
                    && plan.all(|i| i.tokens.count_below(end) > 0 && anatomy.admits(i).is_ok())
            })
            .collect();
        cells.sort_by_key(|(_, layer)| layer % COARSE != 0);
        cells
    }

    /// The measure of the first step's clean run.
    fn clean(&self, outcome: &Outcome) -> f64 {
        let rest = &self.followed.0[self.steps[0] as usize..];
        let tokens = rest.iter().enumerate();
        let each = tokens.map(|(n, token)| logprob(outcome.after(0, n), *token));
        match self.kl {
            true => 0.0,
            false => each.sum::<f64>() / rest.len() as f64,
        }
    }

    /// A cell's number, its step's clean run beside: the mean over the tokens from the step on.
    fn value(&self, step: u32, clean: &Outcome, outcome: &Outcome) -> f64 {
        let rest = &self.followed.0[step as usize..];
        let each = rest.iter().enumerate().map(|(n, token)| {
            let (clean, own) = (clean.after(0, n), outcome.after(0, n));
            let of = |logits| logprob(logits, *token);
            match self.kl {
                true => kl(clean, own),
                false => of(own) - of(clean),
            }
        });
        each.sum::<f64>() / rest.len() as f64
    }
}

/// Draws a map of steps. `told` is given the map, how many cells have their values and how many
/// there are, after each cell; it may stop the rest.
///
/// # Errors
/// The engine's.
pub fn draw_steps(
    engine: &mut dyn Engine,
    anatomy: &Anatomy,
    question: &Steps<'_>,
    told: &mut Told<'_>,
) -> Result<Map, EngineError> {
    draw_steps_on(engine, anatomy, question, None, told)
}

/// Draws what is not drawn of a map of steps: cells that `unfinished` holds are not run again, and
/// those that are go to it. The clean runs are run anew.
///
/// # Errors
/// The engine's; what cannot be kept is no error ([`Unfinished::failed`]).
pub fn draw_steps_on(
    engine: &mut dyn Engine,
    anatomy: &Anatomy,
    question: &Steps<'_>,
    unfinished: Option<&mut Unfinished>,
    told: &mut Told<'_>,
) -> Result<Map, EngineError> {
    let seeds = match question.kind.has_seed() {
        true => &question.seeds[..],
        false => &question.seeds[..1],
    };
    let cells = question.cells(engine.facts().n_layer, anatomy);
    let steps = 0..question.steps.len();
    let mut requests = Vec::new();
    let mut runs = Vec::new();
    for row in steps {
        requests.push(question.request(Vec::new(), question.steps[row]));
        runs.push((row, Run::Clean));
    }
    let mut kept = Keeping::new(unfinished, question);
    for (n, &(row, column)) in cells.iter().enumerate() {
        let (step, layer) = (question.steps[row], question.layers[column]);
        let mut push = |kind, seed, run| {
            let plan = question.plan(kind, layer, step, seed);
            requests.push(question.request(plan, step));
            runs.push((row, run));
        };
        if !kept.has(n, Place::Cell(row, column)) {
            for seed in seeds {
                push(question.kind, *seed, Run::Cell(n));
            }
        }
        if has_control(n, cells.len()) && !kept.has(n, Place::Control(n)) {
            push(Kind::control(), seeds[0], Run::Control(n));
        }
    }
    let mut map = Map {
        layers: question.layers.clone(),
        down: Down::Steps,
        rows: question.steps.clone(),
        values: vec![vec![None; question.layers.len()]; question.steps.len()],
        clean: f64::NAN,
        corrupted: None,
        floor: 0.0,
        says: None,
    };
    let mut clean: Vec<Option<Outcome>> = vec![None; question.steps.len()];
    // Outcomes of a step that came before its clean run.
    let mut early: Vec<(usize, Outcome)> = Vec::new();
    let mut sums = vec![(0.0, 0); cells.len()];
    let mut done = 0;
    engine.run_all(&requests, &mut |n, outcome| {
        early.push((n, outcome));
        for (n, outcome) in std::mem::take(&mut early) {
            let (row, run) = runs[n];
            let (Run::Control(_) | Run::Cell(_), Some(clean)) = (run, &clean[row]) else {
                match run {
                    Run::Clean => {
                        if row == 0 {
                            map.clean = question.clean(&outcome);
                        }
                        clean[row] = Some(outcome);
                    }
                    _ => early.push((n, outcome)),
                }
                continue;
            };
            let value = question.value(question.steps[row], clean, &outcome);
            let cell = match run {
                Run::Cell(cell) => cell,
                Run::Control(cell) => {
                    map.floor = map.floor.max(value.abs());
                    let done = Done::new(vec![value.abs()], &[]);
                    kept.keep(Place::Control(cell), done);
                    continue;
                }
                Run::Clean => continue,
            };
            sums[cell] = (sums[cell].0 + value, sums[cell].1 + 1);
            if sums[cell].1 < seeds.len() {
                continue;
            }
            let (row, column) = cells[cell];
            let value = sums[cell].0 / seeds.len() as f64;
            map.values[row][column] = Some(value);
            kept.keep(Place::Cell(row, column), Done::new(vec![value], &[]));
            done += 1;
            told(&map, done, cells.len())?;
        }
        if clean[0].is_none() {
            return ControlFlow::Continue(());
        }
        for (n, place, before) in std::mem::take(&mut kept.before) {
            if let Place::Control(_) = place {
                map.floor = map.floor.max(before.values[0]);
                continue;
            }
            let (row, column) = cells[n];
            map.values[row][column] = Some(before.values[0]);
            done += 1;
            told(&map, done, cells.len())?;
        }
        ControlFlow::Continue(())
    })?;
    Ok(map)
}

/// What a run is for.
#[derive(Clone, Copy)]
enum Run {
    /// What its step's values are changes of.
    Clean,
    /// Rows rewritten by themselves, to see what rounding does: those of the cell with this number.
    Control(usize),
    /// A cell, by its number.
    Cell(usize),
}
