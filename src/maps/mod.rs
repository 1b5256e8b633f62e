//! Maps: what one state matters, for each token and layer of a prompt.
//!
//! A cell of a map is a run of the prompt in which a single state, that of one token where it enters
//! one layer, is manipulated; its value is how much that changes the answer. Restoring is the
//! reverse (causal tracing, Meng et al. 2022, arXiv 2202.05262): part of the prompt is corrupted,
//! and a cell's value is how much of the answer comes back when one state is what it was in the
//! clean run.

mod lens;
mod measure;
mod picture;
mod svg;

use std::ops::ControlFlow;

pub use lens::{Lens, LensPicture, Said, Standing, written};
pub use measure::{Followed, Measure};
pub use picture::{Form, Picture};
pub use svg::colour;

use crate::engine::{DonorStates, Engine, EngineError, Outcome, Prompt, Request};
use crate::hook::Anatomy;
use crate::intervention::{Extent, Intervention, Kind, PositionSet, Site};
use crate::runtime::Token;

/// What is done to each state by itself.
#[derive(Clone, Debug)]
pub struct Question<'q> {
    /// The prompt.
    pub prompt: &'q Prompt,
    /// The manipulation.
    pub kind: Kind,
    /// The states that it needs, at the prompt's positions.
    pub states: Option<DonorStates>,
    /// Which rows of a layer are manipulated.
    pub sites: Vec<Site>,
    /// Seeds, whose values are averaged: of the manipulation, or else of what corrupts the prompt.
    pub seeds: Vec<u64>,
    /// The layers.
    pub layers: Vec<u32>,
    /// The tokens, all prior.
    pub positions: Vec<u32>,
    /// What every cell's run begins with: a corruption of the prompt, whose value is the map's zero.
    pub corrupted: Option<Corruption>,
    /// What a cell's value is.
    pub measure: Measure,
}

/// What corrupts a prompt: a manipulation of some of its tokens.
#[derive(Clone, Debug)]
pub struct Corruption {
    /// The manipulation.
    pub kind: Kind,
    /// Where.
    pub layer: u32,
    /// Which tokens.
    pub positions: PositionSet,
}

/// A map.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// The layers, the columns.
    pub layers: Vec<u32>,
    /// The tokens' positions, the rows.
    pub positions: Vec<u32>,
    /// By token, then by layer; `None` where the manipulation has no place.
    pub values: Vec<Vec<Option<f64>>>,
    /// The measure of the clean run.
    pub clean: f64,
    /// The measure of the corrupted run, where a map restores.
    pub corrupted: Option<f64>,
    /// The largest change that a control makes, a state rewritten by itself: rounding. A value that
    /// is no larger is none.
    pub floor: f64,
}

/// A cell: numbers of its token and its layer in the question.
type Cell = (usize, usize);

impl Question<'_> {
    fn request(&self, plan: Vec<Intervention>) -> Request {
        Request {
            plan,
            continuations: self.measure.continuations(),
            ..Request::new(self.prompt)
        }
    }

    fn corruption(&self, seed: u64) -> Option<Intervention> {
        let by = self.corrupted.as_ref()?;
        let at = by.positions.clone();
        Some(by.kind.intervention(by.layer, seed, Extent::Only, at, None))
    }

    /// What runs of a cell: `kind` at its state, after what corrupts the prompt.
    fn plan(&self, kind: Kind, (token, layer): Cell, seed: u64) -> Vec<Intervention> {
        let position = self.positions[token];
        let layer = self.layers[layer];
        let mut plan: Vec<Intervention> = self.corruption(seed).into_iter().collect();
        plan.extend(self.sites.iter().map(|&site| {
            let at = PositionSet::ranges([position..position + 1]);
            let states = self.states.as_ref().filter(|_| kind == self.kind);
            let states = states.map(|states| states.at(site));
            let made = kind.intervention(layer, seed, Extent::Only, at, states);
            made.on(site)
        }));
        plan
    }

    /// Cells at which a state is rewritten by itself, to see what rounding does: one at each layer
    /// of the first picture, from the first token to the last.
    fn controls(&self, anatomy: &Anatomy) -> Vec<Request> {
        let layers: Vec<usize> = (0..self.layers.len()).step_by(COARSE).collect();
        let (n, last) = (layers.len(), self.positions.len().saturating_sub(1));
        let token = |column: usize| column * last / n.saturating_sub(1).max(1);
        let cells = layers.into_iter().enumerate();
        let plans = cells.map(|(column, layer)| {
            let cell = (token(column), layer);
            self.plan(Kind::control(), cell, self.seeds[0])
        });
        let admitted = plans.filter(|plan| is_admitted(plan, anatomy));
        admitted.map(|plan| self.request(plan)).collect()
    }

    /// The cells in the order in which they run: those of the first picture, then all of its
    /// layers, then those between.
    fn cells(&self, n_layer: u32, anatomy: &Anatomy) -> Vec<Cell> {
        let defined = |layer: &usize| self.kind.is_defined(self.layers[*layer], n_layer);
        let layers = (0..self.layers.len()).filter(defined);
        let cells = layers.flat_map(|layer| (0..self.positions.len()).map(move |n| (n, layer)));
        let mut cells: Vec<Cell> = cells
            .filter(|cell| is_admitted(&self.plan(self.kind, *cell, self.seeds[0]), anatomy))
            .collect();
        cells.sort_by_key(|&(token, layer)| {
            (
                layer % COARSE != 0,
                layer % COARSE == 0 && token % SPARSE != 0,
            )
        });
        cells
    }
}

/// Whether all of a plan has its place in the model.
fn is_admitted(plan: &[Intervention], anatomy: &Anatomy) -> bool {
    let mut plan = plan.iter();
    plan.all(|intervention| anatomy.admits(intervention).is_ok())
}

/// The layers of a first picture lie so far apart.
const COARSE: usize = 4;
/// And so far apart its tokens: a tenth of the whole takes no more of them.
const SPARSE: usize = 8;

/// How many cells a first picture has, where every state has its place.
pub fn first_picture(positions: &[u32], layers: &[u32]) -> usize {
    positions.len().div_ceil(SPARSE) * layers.len().div_ceil(COARSE)
}

/// What is computed of a map so far, whenever some of it is.
pub type Told<'t> = dyn FnMut(&Map, usize, usize) -> ControlFlow<()> + 't;

/// Draws a map. `told` is given the map, how many cells have their values and how many there are,
/// after each cell; it may stop the rest.
///
/// # Errors
/// The engine's; a measure that is not a number, as [`EngineError`] says.
pub fn draw(
    engine: &mut dyn Engine,
    anatomy: &Anatomy,
    question: &Question<'_>,
    told: &mut Told<'_>,
) -> Result<Map, EngineError> {
    let seeds = match question.kind.has_seed() || question.corrupted.is_some() {
        true => &question.seeds[..],
        false => &question.seeds[..1],
    };
    let cells = question.cells(engine.facts().n_layer, anatomy);
    let mut requests = vec![question.request(Vec::new())];
    let corrupted = seeds.iter().filter_map(|seed| question.corruption(*seed));
    requests.extend(corrupted.map(|by| question.request(vec![by])));
    let zeros = requests.len();
    requests.extend(question.controls(anatomy));
    let before = requests.len();
    for &cell in &cells {
        let plan = |seed: &u64| question.plan(question.kind, cell, *seed);
        requests.extend(seeds.iter().map(|seed| question.request(plan(seed))));
    }
    let mut drawing = Drawing {
        map: Map {
            layers: question.layers.clone(),
            positions: question.positions.clone(),
            values: vec![vec![None; question.layers.len()]; question.positions.len()],
            clean: f64::NAN,
            corrupted: None,
            floor: 0.0,
        },
        measure: &question.measure,
        zeros,
        clean: None,
        first: (0..before).map(|_| None).collect(),
        of_seeds: cells.iter().map(|_| vec![None; seeds.len()]).collect(),
        early: Vec::new(),
        done: 0,
    };
    engine.run_all(&requests, &mut |n, outcome| {
        match n.checked_sub(before) {
            None => drawing.begin(n, outcome),
            Some(n) => drawing.early.push((n, outcome)),
        }
        drawing.fill(&cells, seeds.len(), told)
    })?;
    Ok(drawing.map)
}

/// A map being drawn.
struct Drawing<'d> {
    map: Map,
    measure: &'d Measure,
    clean: Option<Outcome>,
    /// The measures of what runs before the cells: clean, corrupted by each seed, controls.
    first: Vec<Option<f64>>,
    /// How many of these are no controls.
    zeros: usize,
    of_seeds: Vec<Vec<Option<f64>>>,
    /// Outcomes of cells that came before all of those.
    early: Vec<(usize, Outcome)>,
    done: usize,
}

impl Drawing<'_> {
    fn begin(&mut self, n: usize, outcome: Outcome) {
        if n == 0 {
            self.first[0] = Some(self.measure.of(&outcome, &outcome));
            self.clean = Some(outcome);
        } else {
            let clean = self.clean.as_ref().expect("the clean run comes first");
            self.first[n] = Some(self.measure.of(clean, &outcome));
        }
        let Some(first) = self.first.iter().copied().collect::<Option<Vec<f64>>>() else {
            return;
        };
        self.map.clean = first[0];
        let (zeros, controls) = first.split_at(self.zeros);
        let corrupted = &zeros[1..];
        if !corrupted.is_empty() {
            let mean = corrupted.iter().sum::<f64>() / corrupted.len() as f64;
            self.map.corrupted = Some(mean);
        }
        // Controls are of the first seed.
        let zero = corrupted.first().unwrap_or(&zeros[0]);
        let moved = controls.iter().map(|control| (control - zero).abs());
        self.map.floor = moved.fold(0.0, f64::max);
    }

    fn fill(&mut self, cells: &[Cell], seeds: usize, told: &mut Told<'_>) -> ControlFlow<()> {
        let Some(clean) = self
            .clean
            .as_ref()
            .filter(|_| self.first.iter().all(Option::is_some))
        else {
            return ControlFlow::Continue(());
        };
        for (n, outcome) in std::mem::take(&mut self.early) {
            let (cell, seed) = (n / seeds, n % seeds);
            self.of_seeds[cell][seed] = Some(self.measure.of(clean, &outcome));
            let values: Option<Vec<f64>> = self.of_seeds[cell].iter().copied().collect();
            let Some(values) = values else { continue };
            let zero = self.map.corrupted.unwrap_or(self.map.clean);
            let (token, layer) = cells[cell];
            let value = values.iter().sum::<f64>() / seeds as f64 - zero;
            self.map.values[token][layer] = Some(value);
            self.done += 1;
            told(&self.map, self.done, cells.len())?;
        }
        ControlFlow::Continue(())
    }
}

impl Map {
    /// The largest value, whatever its sign; 0 of an empty map.
    pub fn largest(&self) -> f64 {
        let values = self.values.iter().flatten().flatten();
        values.map(|value| value.abs()).fold(0.0, f64::max)
    }
}

/// An answer's tokens after a prompt's own.
pub(crate) type Tokens = Vec<Token>;
