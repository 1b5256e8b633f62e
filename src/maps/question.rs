//! What a map asks, and the runs that it takes.

use super::Measure;
use crate::engine::{DonorStates, Prompt, Request};
use crate::hook::Anatomy;
use crate::intervention::{Extent, HeadSet, Intervention, Kind, PositionSet, Site};

/// What the rows of a map are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// Tokens: the state of each by itself.
    Tokens,
    /// Heads of attention, so many: each by itself, at all tokens together.
    Heads(u32),
    /// Roles of tokens ([`super::Role::ALL`]), over which maps of tokens are averaged. A question
    /// about them is one about tokens.
    Roles,
    /// Steps of generation, how many tokens follow the prompt, which [`super::Steps`] asks about.
    Steps,
}

impl Down {
    /// What a cell is about.
    pub fn one(self) -> &'static str {
        match self {
            Down::Tokens | Down::Roles | Down::Steps => "state",
            Down::Heads(_) => "head",
        }
    }
}

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
    /// What a cell is: one of the tokens, or one head at all of them.
    pub down: Down,
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

/// A cell: numbers of its row and its layer in the question.
pub(super) type Cell = (usize, usize);

impl Question<'_> {
    /// The rows of the map: the tokens' positions, or the heads' numbers.
    pub fn rows(&self) -> Vec<u32> {
        match self.down {
            Down::Tokens | Down::Roles | Down::Steps => self.positions.clone(),
            Down::Heads(n) => (0..n).collect(),
        }
    }

    /// What its map shows of a model, in words.
    pub fn title(&self, model: &str) -> String {
        let one = self.down.one();
        let Some(by) = &self.corrupted else {
            return format!("{model}: {} of one {one} at a time", self.kind);
        };
        let n = by.positions.count_below(self.prompt.tokens.len() as u32);
        let tokens = if n == 1 { "token" } else { "tokens" };
        let by = by.kind;
        format!("{model}: one clean {one} put back after {by} of {n} {tokens}")
    }

    /// How many cells a first picture has, where every state has its place.
    pub fn first_picture(&self) -> usize {
        self.rows().len().div_ceil(SPARSE) * self.layers.len().div_ceil(COARSE)
    }

    pub(super) fn request(&self, plan: Vec<Intervention>) -> Request {
        Request {
            plan,
            continuations: self.measure.continuations(),
            ..Request::new(self.prompt)
        }
    }

    pub(super) fn corruption(&self, seed: u64) -> Option<Intervention> {
        let by = self.corrupted.as_ref()?;
        let at = by.positions.clone();
        Some(by.kind.intervention(by.layer, seed, Extent::Only, at, None))
    }

    /// What runs of a cell: `kind` at its state, after what corrupts the prompt.
    pub(super) fn plan(&self, kind: Kind, (row, layer): Cell, seed: u64) -> Vec<Intervention> {
        let layer = self.layers[layer];
        let one = |at: u32| at..at + 1;
        let (at, head) = match self.down {
            Down::Tokens | Down::Roles | Down::Steps => {
                (PositionSet::ranges([one(self.positions[row])]), None)
            }
            Down::Heads(_) => {
                let all = PositionSet::ranges(self.positions.iter().copied().map(one));
                let prior = self.prompt.tokens.len() as u32 - 1;
                (kind.places(seed, &all, prior), Some(row as u32))
            }
        };
        let mut plan: Vec<Intervention> = self.corruption(seed).into_iter().collect();
        plan.extend(self.sites.iter().map(|&site| {
            let states = self.states.as_ref().filter(|_| kind == self.kind);
            let states = states.map(|states| states.at(site));
            let made = kind.intervention(layer, seed, Extent::Only, at.clone(), states);
            made.on(head.map_or(site, |head| Site::Heads(HeadSet::of([head]))))
        }));
        plan
    }

    /// Cells at which a state is rewritten by itself, to see what rounding does: one at each layer
    /// of the first picture, from the first row to the last.
    pub(super) fn controls(&self, anatomy: &Anatomy) -> Vec<Request> {
        let layers: Vec<usize> = (0..self.layers.len()).step_by(COARSE).collect();
        let (n, last) = (layers.len(), self.rows().len().saturating_sub(1));
        let row = |column: usize| column * last / n.saturating_sub(1).max(1);
        let cells = layers.into_iter().enumerate();
        let plans = cells.map(|(column, layer)| self.by_itself((row(column), layer)));
        let admitted = plans.filter(|plan| is_admitted(plan, anatomy));
        admitted.map(|plan| self.request(plan)).collect()
    }

    /// A cell's state rewritten by itself.
    pub(super) fn control(&self, cell: Cell) -> Request {
        self.request(self.by_itself(cell))
    }

    fn by_itself(&self, cell: Cell) -> Vec<Intervention> {
        self.plan(Kind::control(), cell, self.seeds[0])
    }

    /// The cells in the order in which they run: those of the first picture, then all of its
    /// layers, then those between.
    pub(super) fn cells(&self, n_layer: u32, anatomy: &Anatomy) -> Vec<Cell> {
        let defined = |layer: &usize| self.kind.is_defined(self.layers[*layer], n_layer);
        let layers = (0..self.layers.len()).filter(defined);
        let rows = self.rows().len();
        let cells = layers.flat_map(|layer| (0..rows).map(move |n| (n, layer)));
        let mut cells: Vec<Cell> = cells
            .filter(|cell| is_admitted(&self.plan(self.kind, *cell, self.seeds[0]), anatomy))
            .collect();
        cells.sort_by_key(|&(row, layer)| {
            (
                layer % COARSE != 0,
                layer % COARSE == 0 && row % SPARSE != 0,
            )
        });
        cells
    }
}

/// Whether all of a plan has its place in the model, and a token to act on.
fn is_admitted(plan: &[Intervention], anatomy: &Anatomy) -> bool {
    let mut plan = plan.iter();
    plan.all(|one| one.tokens.first().is_some() && anatomy.admits(one).is_ok())
}

/// Whether a control travels behind the `n`-th of so many cells: rounding depends on what a run
/// shares its batch with, so a few lie evenly among them, one at least.
pub(super) fn has_control(n: usize, cells: usize) -> bool {
    let every = cells.div_ceil(AMONG).max(2);
    n % every == every / 2
}

/// Controls among the cells of a map, at most.
const AMONG: usize = 24;
/// The layers of a first picture lie so far apart.
pub(super) const COARSE: usize = 4;
/// And so far apart its rows: a tenth of the whole takes no more of them.
const SPARSE: usize = 8;
