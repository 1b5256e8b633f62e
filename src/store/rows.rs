//! Results being read: a million of them are a run's bulk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, Row};

use super::layout::has_column;
use crate::experiment::Treatment;
use crate::tasks::TaskName;

/// A cell of the grid as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCell {
    /// What was done.
    pub treatment: Treatment,
    /// The manipulation's layer.
    pub layer: Option<u32>,
    /// Its seed.
    pub seed: Option<u64>,
}

/// An item's result under one cell, with the names that the tables hold. What several results
/// have in common is held once.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultRow {
    /// The task.
    pub task: TaskName,
    /// The item's name.
    pub item: Arc<str>,
    /// What was done, at which layer.
    pub cell: Arc<StoredCell>,
    /// The task's metric.
    pub score: f64,
    /// Whether the answer was right to the letter.
    pub correct: bool,
    /// All metrics by name.
    pub metrics: Arc<BTreeMap<String, f64>>,
    /// Whether the answer is the clean run's.
    pub agrees: bool,
    /// The generated answer, or the likeliest next token.
    pub answer: Arc<str>,
    /// Log-probability of the whole answer, nats.
    pub logprob: f64,
    /// Rank of the answer's first token.
    pub rank: u64,
    /// KL divergence from the clean next-token distribution, nats.
    pub kl: f64,
    /// Text of the likeliest next token.
    pub argmax_text: Arc<str>,
    /// For `inject`: whether the donor's answer was given.
    pub modified_correct: Option<bool>,
    /// For `inject`: log-probability of the donor's answer, nats.
    pub modified_logprob: Option<f64>,
}

/// Texts and metrics, each held once.
#[derive(Default)]
struct Known {
    texts: HashSet<Arc<str>>,
    metrics: HashMap<String, Arc<BTreeMap<String, f64>>>,
}

impl Known {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.texts.insert(new.clone());
        new
    }

    fn metrics(&mut self, json: &str) -> Result<Arc<BTreeMap<String, f64>>, String> {
        if let Some(known) = self.metrics.get(json) {
            return Ok(known.clone());
        }
        let new: BTreeMap<String, f64> = serde_json::from_str(json).map_err(|e| e.to_string())?;
        let new = Arc::new(new);
        self.metrics.insert(json.into(), new.clone());
        Ok(new)
    }
}

/// A variant's results, in the order of items and cells; what is no result is told as text.
pub(super) fn rows(
    db: &Connection,
    variant: i64,
) -> rusqlite::Result<Result<Vec<ResultRow>, String>> {
    let (items, cells) = (items(db, variant)?, cells(db)?);
    let mut known = Known::default();
    let mut query = db.prepare(
        "SELECT results.item, cell, score, correct, metrics, agrees, results.answer,
                logprob, rank, kl, argmax_text, modified_correct, modified_logprob
         FROM results JOIN items USING (item)
         WHERE items.variant = ?1
         ORDER BY results.item, cell",
    )?;
    let mut found = query.query([variant])?;
    // Neither room that stays empty nor a copy while it grows.
    let mut rows = Vec::with_capacity(count(db, variant)?);
    while let Some(row) = found.next()? {
        let item: i64 = row.get(0)?;
        let cell: i64 = row.get(1)?;
        let (Some((task, name)), Some(cell)) = (items.get(&item), cells.get(&cell)) else {
            continue;
        };
        match result(row, (task, name), cell, &mut known)? {
            Ok(row) => rows.push(row),
            Err(e) => return Ok(Err(e)),
        }
    }
    Ok(Ok(rows))
}

fn count(db: &Connection, variant: i64) -> rusqlite::Result<usize> {
    let all = "SELECT count(*) FROM results JOIN items USING (item) WHERE items.variant = ?1";
    let n: i64 = db.query_row(all, [variant], |row| row.get(0))?;
    Ok(n as usize)
}

fn result(
    row: &Row<'_>,
    (task, name): (&Result<TaskName, String>, &Arc<str>),
    cell: &Result<Arc<StoredCell>, String>,
    known: &mut Known,
) -> rusqlite::Result<Result<ResultRow, String>> {
    let (task, cell) = match (task, cell) {
        (Ok(task), Ok(cell)) => (*task, cell.clone()),
        (Err(e), _) | (_, Err(e)) => return Ok(Err(e.clone())),
    };
    let metrics = match known.metrics(row.get_ref(4)?.as_str()?) {
        Ok(metrics) => metrics,
        Err(e) => return Ok(Err(e)),
    };
    Ok(Ok(ResultRow {
        task,
        item: name.clone(),
        cell,
        score: row.get(2)?,
        correct: row.get(3)?,
        metrics,
        agrees: row.get(5)?,
        answer: known.text(row.get_ref(6)?.as_str()?),
        logprob: row.get(7)?,
        rank: row.get::<_, i64>(8)? as u64,
        kl: row.get(9)?,
        argmax_text: known.text(row.get_ref(10)?.as_str()?),
        modified_correct: row.get(11)?,
        modified_logprob: row.get(12)?,
    }))
}

/// The task and the name of each of a variant's items.
type Items = HashMap<i64, (Result<TaskName, String>, Arc<str>)>;

fn items(db: &Connection, variant: i64) -> rusqlite::Result<Items> {
    db.prepare("SELECT item, task, name FROM items WHERE variant = ?1")?
        .query_map([variant], |row| {
            let (task, name): (String, String) = (row.get(1)?, row.get(2)?);
            Ok((row.get(0)?, (task.parse(), name.into())))
        })?
        .collect()
}

/// Each cell, or why its text cannot be read.
type Cells = HashMap<i64, Result<Arc<StoredCell>, String>>;

fn cells(db: &Connection) -> rusqlite::Result<Cells> {
    let parameters = parameters(db)?;
    let query = format!("SELECT cell, manipulation, {parameters}, layer, seed FROM cells");
    db.prepare(&query)?
        .query_map([], |row| {
            let (name, given): (String, String) = (row.get(1)?, row.get(2)?);
            let seed: Option<i64> = row.get(4)?;
            let layer = row.get(3)?;
            let cell = treatment(&name, &given).map(|treatment| {
                Arc::new(StoredCell {
                    treatment,
                    layer,
                    seed: seed.map(|s| s as u64),
                })
            });
            Ok((row.get(0)?, cell))
        })?
        .collect()
}

/// Where a cell's parameters are: runs that an older midlayer began have none.
pub(super) fn parameters(db: &Connection) -> rusqlite::Result<&'static str> {
    let has = has_column(db, "cells", "parameters")?;
    Ok(if has { "cells.parameters" } else { "'{}'" })
}

/// A cell's treatment from its name and the JSON object of its parameters.
pub(super) fn treatment(name: &str, given: &str) -> Result<Treatment, String> {
    let treatment: Treatment = name.parse()?;
    let given: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(given).map_err(|e| e.to_string())?;
    let Treatment::Manipulated(mut kind) = treatment else {
        return Ok(treatment);
    };
    for (name, value) in given {
        let value = value.as_str().map_or(value.to_string(), String::from);
        kind = kind.with(&name, &value)?;
    }
    Ok(Treatment::Manipulated(kind))
}
