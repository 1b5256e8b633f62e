//! Maps: what one state matters, for each token and layer of a prompt.
//!
//! A cell of a map is a run of the prompt in which a single state, that of one token where it enters
//! one layer, is manipulated; its value is how much that changes the answer. Restoring is the
//! reverse (causal tracing, Meng et al. 2022, arXiv 2202.05262): part of the prompt is corrupted,
//! and a cell's value is how much of the answer comes back when one state is what it was in the
//! clean run.
//!
//! The rows of a map may be heads instead of tokens: a cell is then one head of one layer, at all
//! tokens together. Or they are steps of generation ([`Steps`]).

mod attention;
mod geometry;
mod lens;
mod measure;
mod over;
mod page;
mod picture;
mod question;
mod said;
mod shapes;
mod steps;
mod svg;
mod unfinished;

use std::ops::ControlFlow;

pub use attention::{Attention, AttentionPicture, Head};
pub use geometry::{Aspect, Geometry, Kept, Shape};
pub use lens::{Lens, LensPicture, Said, Standing, written};
pub use measure::{Followed, Measure};
pub use over::{Averaged, ItemMap, Role};
pub use picture::{Form, Over, Picture};
pub use question::{Corruption, Down, Question};
pub use said::{Next, Says};
pub use shapes::GeometryPicture;
pub use steps::{Steps, draw_steps, draw_steps_on};
pub use svg::colour;
pub use unfinished::{Keyed, Unfinished};

use crate::engine::{Engine, EngineError, Outcome};
use crate::hook::Anatomy;
use crate::runtime::Token;
use question::{Cell, has_control};
use said::Clean;
use unfinished::{Done, Keeping, Place};

/// A map.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// The layers, the columns.
    pub layers: Vec<u32>,
    /// What the rows are.
    pub down: Down,
    /// The rows: the tokens' positions, the heads' numbers, places in [`Role::ALL`], or steps.
    pub rows: Vec<u32>,
    /// By row, then by layer; `None` where the manipulation has no place.
    pub values: Vec<Vec<Option<f64>>>,
    /// The measure of the clean run.
    pub clean: f64,
    /// The measure of the corrupted run, where a map restores.
    pub corrupted: Option<f64>,
    /// The largest change that a control makes, a state rewritten by itself: rounding. A value that
    /// is no larger is none.
    pub floor: f64,
    /// The likeliest next tokens of the clean run and of each cell's; `None` of what no run made.
    pub says: Option<Says>,
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
    draw_on(engine, anatomy, question, None, told)
}

/// Draws what is not drawn of a map: cells that `unfinished` holds are not run again, and those that
/// are go to it. The clean and the corrupted runs are run anew.
///
/// # Errors
/// Those of [`draw`]; what cannot be kept is no error ([`Unfinished::failed`]).
pub fn draw_on(
    engine: &mut dyn Engine,
    anatomy: &Anatomy,
    question: &Question<'_>,
    unfinished: Option<&mut Unfinished>,
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
    let mut runs = Vec::new();
    let mut kept = Keeping::new(unfinished, question);
    for (n, &cell) in cells.iter().enumerate() {
        if !kept.has(n, Place::Cell(cell.0, cell.1)) {
            for (at, &seed) in seeds.iter().enumerate() {
                requests.push(question.request(question.plan(question.kind, cell, seed)));
                runs.push(Run::Cell(n, at));
            }
        }
        if has_control(n, cells.len()) && !kept.has(n, Place::Control(n)) {
            requests.push(question.control(cell));
            runs.push(Run::Control(n));
        }
    }
    let mut drawing = Drawing {
        map: Map {
            layers: question.layers.clone(),
            down: question.down,
            values: vec![vec![None; question.layers.len()]; question.rows().len()],
            rows: question.rows(),
            clean: f64::NAN,
            corrupted: None,
            floor: 0.0,
            says: None,
        },
        measure: &question.measure,
        zeros,
        clean: None,
        next: None,
        first: (0..before).map(|_| None).collect(),
        of_seeds: cells.iter().map(|_| vec![None; seeds.len()]).collect(),
        runs,
        early: Vec::new(),
        done: 0,
        kept,
    };
    engine.run_all(&requests, &mut |n, outcome| {
        match n.checked_sub(before) {
            None => drawing.begin(n, outcome),
            Some(n) => drawing.early.push((n, outcome)),
        }
        drawing.fill(&cells, seeds.len(), told)
    })?;
    if let Some(says) = &mut drawing.map.says {
        says.spell(engine.tokenizer());
    }
    Ok(drawing.map)
}

/// A run among the cells.
#[derive(Clone, Copy)]
enum Run {
    /// A cell, by its number, and a seed, by its own.
    Cell(usize, usize),
    /// A state rewritten by itself, of the first seed: that of a cell.
    Control(usize),
}

/// A map being drawn.
struct Drawing<'d> {
    map: Map,
    measure: &'d Measure,
    clean: Option<Outcome>,
    /// What the clean run says comes next.
    next: Option<Clean>,
    /// The measures of what runs before the cells: clean, corrupted by each seed, controls.
    first: Vec<Option<f64>>,
    /// How many of these are no controls.
    zeros: usize,
    of_seeds: Vec<Vec<Option<f64>>>,
    /// What the others are, in their order.
    runs: Vec<Run>,
    /// Outcomes of these that came before all of those.
    early: Vec<(usize, Outcome)>,
    done: usize,
    kept: Keeping<'d>,
}

impl Drawing<'_> {
    fn begin(&mut self, n: usize, outcome: Outcome) {
        if n == 0 {
            self.first[0] = Some(self.measure.of(&outcome, &outcome));
            let clean = Clean::of(&outcome.logits);
            let size = (self.map.rows.len(), self.map.layers.len());
            self.map.says = Some(Says::new(&clean, size));
            self.next = Some(clean);
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
        let zero = self.map.corrupted.unwrap_or(self.map.clean);
        let change = |values: &[f64]| values.iter().sum::<f64>() / seeds as f64 - zero;
        for (n, place, done) in std::mem::take(&mut self.kept.before) {
            if let Place::Control(_) = place {
                self.map.floor = self.map.floor.max(done.values[0]);
                continue;
            }
            let (row, layer) = cells[n];
            if let Some(says) = &mut self.map.says {
                says.cells[row][layer] = done.next();
            }
            self.map.values[row][layer] = Some(change(&done.values));
            self.done += 1;
            told(&self.map, self.done, cells.len())?;
        }
        for (n, outcome) in std::mem::take(&mut self.early) {
            let (cell, seed) = match self.runs[n] {
                Run::Cell(cell, seed) => (cell, seed),
                Run::Control(cell) => {
                    let of = |zero: usize| self.first[zero].expect("all of these are there");
                    let zero = of(usize::from(self.map.corrupted.is_some()));
                    let moved = (self.measure.of(clean, &outcome) - zero).abs();
                    self.map.floor = self.map.floor.max(moved);
                    let done = Done::new(vec![moved], &[]);
                    self.kept.keep(Place::Control(cell), done);
                    continue;
                }
            };
            let (row, layer) = cells[cell];
            if let (0, Some(next), Some(says)) = (seed, &self.next, &mut self.map.says) {
                says.cells[row][layer] = next.beside(&outcome.logits);
            }
            self.of_seeds[cell][seed] = Some(self.measure.of(clean, &outcome));
            let values: Option<Vec<f64>> = self.of_seeds[cell].iter().copied().collect();
            let Some(values) = values else { continue };
            self.map.values[row][layer] = Some(change(&values));
            let says = self.map.says.as_ref();
            let next = says.map_or(&[][..], |says| &says.cells[row][layer]);
            self.kept
                .keep(Place::Cell(row, layer), Done::new(values, next));
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
