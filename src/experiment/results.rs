//! What came out: an item and its results, one a cell.

use crate::hook::Touched;
use crate::tasks::{Scores, TaskName};

/// An item as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemRow {
    /// Its task.
    pub task: TaskName,
    /// Its name within the task.
    pub name: String,
    /// Its place among all items of the run, where all of them are known before it begins: rows
    /// have one order then, whichever part of the run is computed first.
    pub place: Option<usize>,
    /// The prompt.
    pub prompt: String,
    /// The right answer.
    pub answer: String,
    /// Whether the text was cut to fit the context.
    pub cut: bool,
    /// The donor prompt and the answer it should lead to, where `inject` has one.
    pub swap: Option<(String, String)>,
}

/// An item's result under one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number of the cell within the variant's grid.
    pub cell: usize,
    /// The answer's scores.
    pub scores: Scores,
    /// Whether the answer is the clean run's.
    pub agrees: bool,
    /// The generated answer; for tasks that do not generate, the likeliest next token's text.
    pub answer: String,
    /// Log-probability of the whole answer, nats.
    pub logprob: f64,
    /// Rank of the answer's first token.
    pub rank: usize,
    /// KL divergence from the clean next-token distribution, nats.
    pub kl: f64,
    /// The likeliest next token.
    pub argmax: i32,
    /// Its text.
    pub argmax_text: String,
    /// For `inject`: whether the donor's answer was given, and its log-probability.
    pub modified: Option<(bool, f64)>,
    /// Tensors written to.
    pub touched: Vec<Touched>,
}

/// What of a result decides what runs next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The task's metric, 0 to 1.
    pub score: f64,
    /// Whether the donor's answer was given, where a donor was injected.
    pub modified: Option<bool>,
    /// What guessing scores, where the task says.
    pub chance: Option<f64>,
}

/// An item with results of its.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemResults {
    /// The item.
    pub item: ItemRow,
    /// Results that are computed.
    pub rows: Vec<Row>,
}
