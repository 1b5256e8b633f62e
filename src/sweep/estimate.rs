//! What a variant computes and how long that takes, before it does.

use std::collections::HashSet;

use super::asked::Requests;
use super::donors::texts;
use super::{Prepared, PreparedTask, SweepError};
use crate::engine::{Cost, Decode, NoiseFloor, Request};
use crate::experiment::{Unit, Variant};
use crate::intervention::Kind;
use crate::runtime::Facts;
use crate::tasks::TaskName;

/// What an estimate rests on.
pub trait Prices {
    /// What requests cost that are handed over together: [`crate::engine::Engine::cost`].
    fn cost(&mut self, requests: &[Request]) -> Cost;
    /// Seconds of a decode.
    fn seconds(&mut self, decode: &Decode) -> f64;
    /// How many tokens a task's generated answers usually have; `None` for as many as they may
    /// have.
    fn usual(&self, task: TaskName) -> Option<usize> {
        let _ = task;
        None
    }
    /// How many times as long a task's units take as the sum of their decodes.
    fn slower(&self, task: TaskName) -> f64 {
        let _ = task;
        1.0
    }
}

/// What a variant takes, with everything that a sweep does before its first result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Effort {
    /// Items.
    pub items: usize,
    /// Results: items times cells.
    pub results: usize,
    /// With generated texts of the usual length.
    pub likely: Computed,
    /// With generated texts of the longest length.
    pub most: Computed,
}

/// An amount of computation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Computed {
    /// Rows times layers, run through attention and MLP.
    pub layer_rows: u64,
    /// Rows times layers of which only keys and values are computed.
    pub cache_rows: u64,
    /// Seconds.
    pub seconds: f64,
}

impl Computed {
    fn add(&mut self, cost: &Cost, n_layer: u32, prices: &mut dyn Prices) {
        self.layer_rows += cost.layer_rows(n_layer);
        self.cache_rows += cost.cache_rows(n_layer);
        let seconds = cost.decodes.iter().map(|decode| prices.seconds(decode));
        self.seconds += seconds.sum::<f64>();
    }
}

/// What a variant computes: its noise floor, its donors, its units, each priced as the engine
/// computes it.
///
/// # Errors
/// [`SweepError`]: a token selector that does not fit an item.
pub fn estimate(prepared: &Prepared, prices: &mut dyn Prices) -> Result<Effort, SweepError> {
    let mut all = Effort::default();
    let n_layer = prepared.variant.spec.model.facts.n_layer;
    for task in &prepared.tasks {
        let mut effort = Effort::default();
        let floor = prepared.floor_prompts().into_iter();
        for (_, item) in floor.filter(|(of, _)| *of == task.task) {
            let cost = prices.cost(&NoiseFloor::requests(&item.prompt));
            effort.add(&cost, n_layer, prices);
        }
        effort.items += task.set.items.len();
        let usual = prices.usual(task.task);
        for unit in &task.units {
            let donors = donors(prepared, task, unit);
            effort.add(&donors, n_layer, prices);
            let asking = prepared.asking(task.task, &unit.cells);
            let asked = asking.unstated(&task.set.items[unit.items.clone()])?;
            effort.results += asked.results();
            let Requests { mut requests, .. } = asked;
            let cost = prices.cost(&requests);
            effort.most.add(&cost, n_layer, prices);
            for request in &mut requests {
                if let (Some(ending), Some(usual)) = (&mut request.generate, usual) {
                    ending.max_tokens = ending.max_tokens.min(usual);
                }
            }
            let cost = prices.cost(&requests);
            effort.likely.add(&cost, n_layer, prices);
        }
        all.and(effort, prices.slower(task.task));
    }
    Ok(all)
}

impl Effort {
    /// Adds a task's, which takes so many times as long.
    fn and(&mut self, task: Self, slower: f64) {
        self.items += task.items;
        self.results += task.results;
        for (sum, one) in [(&mut self.likely, task.likely), (&mut self.most, task.most)] {
            sum.layer_rows += one.layer_rows;
            sum.cache_rows += one.cache_rows;
            sum.seconds += slower * one.seconds;
        }
    }

    fn add(&mut self, cost: &Cost, n_layer: u32, prices: &mut dyn Prices) {
        self.likely.add(cost, n_layer, prices);
        self.most.add(cost, n_layer, prices);
    }
}

/// What it costs to get the states that a unit puts in place of its items' own.
fn donors(prepared: &Prepared, task: &PreparedTask, unit: &Unit) -> Cost {
    let Variant { spec, grid } = &prepared.variant;
    let (_, cells) = grid.of_task(task.task);
    let cells = unit.cells.iter().map(|&n| cells[n]);
    let kinds: HashSet<Kind> = cells.filter_map(|cell| cell.treatment.kind()).collect();
    let items = task.set.items[unit.items.clone()].iter();
    let texts = items.flat_map(|item| {
        let kinds = kinds.iter();
        kinds.flat_map(move |kind| texts(*kind, &spec.sites, item))
    });
    let requests = texts.map(|tokens| Request {
        tokens,
        ..Request::default()
    });
    let requests: Vec<Request> = requests.collect();
    Cost::one_by_one(&requests, spec.context.n_batch as usize)
}

/// Weights that one row meets in one layer, embeddings and the output matrix left out. (Of
/// experts all are counted: an upper bound.)
pub fn layer_weights(facts: &Facts) -> f64 {
    let vocabulary = f64::from(facts.n_vocab) * f64::from(facts.n_embd);
    let body = (facts.n_params as f64 - vocabulary).max(0.0);
    body / f64::from(facts.n_layer.max(1))
}
