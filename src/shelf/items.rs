//! A run's items and their results.

use serde::Serialize;

use crate::store::{ResultRow, StoredItem, StoredVariant};

/// Items of a list at once.
const PAGE: usize = 50;

/// Some of a variant's items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemPage {
    /// How many the variant has.
    pub all: usize,
    /// The number of the first that is listed.
    pub from: usize,
    /// Those that are listed.
    pub items: Vec<ListedItem>,
}

/// An item as it was asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListedItem {
    /// Its number among the variant's.
    pub number: usize,
    /// Its task.
    pub task: String,
    /// Its name.
    pub name: String,
    /// Its name as people know it.
    pub title: String,
    /// The prompt.
    pub prompt: String,
    /// The right answer.
    pub answer: String,
    /// For `inject`: the prompt that states are taken from.
    pub donor: Option<String>,
    /// For `inject`: the answer if the model believes the donor.
    pub modified_answer: Option<String>,
}

/// An item with its results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Opened {
    /// The item.
    #[serde(flatten)]
    pub item: ListedItem,
    /// Its results.
    pub rows: Vec<ItemRow>,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemRow {
    /// What was done; `clean`, or `clean-again` in another batch shape.
    pub manipulation: String,
    /// At which layer.
    pub layer: Option<u32>,
    /// With which seed.
    pub seed: Option<u64>,
    /// The task's metric.
    pub score: f64,
    /// Whether the answer was right to the letter.
    pub correct: bool,
    /// For `inject`: whether the donor's answer was given.
    pub modified_correct: Option<bool>,
    /// The generated answer, or the likeliest next token.
    pub answer: String,
    /// Log-probability of the whole answer, nats; none where it is not finite.
    pub logprob: Option<f64>,
    /// Rank of the answer's first token.
    pub rank: u64,
    /// KL divergence from the clean next-token distribution, nats; none where it is not finite.
    pub kl: Option<f64>,
}

impl ItemPage {
    pub(super) fn of(variant: &StoredVariant, from: usize) -> Self {
        let items = variant.items.iter().enumerate().skip(from).take(PAGE);
        Self {
            all: variant.items.len(),
            from,
            items: items.map(|(n, item)| ListedItem::of(n, item)).collect(),
        }
    }
}

impl ListedItem {
    fn of(number: usize, item: &StoredItem) -> Self {
        Self {
            number,
            task: item.task.to_string(),
            name: item.name.clone(),
            title: item.title(),
            prompt: item.prompt.clone(),
            answer: item.answer.clone(),
            donor: item.donor.clone(),
            modified_answer: item.modified_answer.clone(),
        }
    }
}

impl Opened {
    pub(super) fn of(variant: &StoredVariant, number: usize) -> Option<Self> {
        let item = variant.items.get(number)?;
        let of_item = |row: &&ResultRow| row.task == item.task && *row.item == *item.name;
        let rows = variant.rows.iter().filter(of_item);
        Some(Self {
            item: ListedItem::of(number, item),
            rows: rows.map(ItemRow::of).collect(),
        })
    }
}

impl ItemRow {
    fn of(row: &ResultRow) -> Self {
        let finite = |x: f64| x.is_finite().then_some(x);
        Self {
            manipulation: row.cell.treatment.to_string(),
            layer: row.cell.layer,
            seed: row.cell.seed,
            score: row.score,
            correct: row.correct,
            modified_correct: row.modified_correct,
            answer: row.answer.to_string(),
            logprob: finite(row.logprob),
            rank: row.rank,
            kl: finite(row.kl),
        }
    }
}
