//! A run being read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::connection::to_read;
use super::layout::has_column;
use super::machine::machines;
use super::notes::Planned;
use super::{Machine, Notes, READABLE, StoreError, database};
use crate::engine::NoiseFloor;
use crate::experiment::{Reasons, Spec, Treatment};
use crate::selftest::SelfTest;
use crate::tasks::TaskName;

/// An item's result under one cell, with the names that the tables hold.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultRow {
    /// The task.
    pub task: TaskName,
    /// The item's name.
    pub item: String,
    /// What was done.
    pub treatment: Treatment,
    /// The manipulation's layer.
    pub layer: Option<u32>,
    /// Its seed.
    pub seed: Option<u64>,
    /// The task's metric.
    pub score: f64,
    /// Whether the answer was right to the letter.
    pub correct: bool,
    /// All metrics by name.
    pub metrics: BTreeMap<String, f64>,
    /// Whether the answer is the clean run's.
    pub agrees: bool,
    /// The generated answer, or the likeliest next token.
    pub answer: String,
    /// Log-probability of the whole answer, nats.
    pub logprob: f64,
    /// Rank of the answer's first token.
    pub rank: u64,
    /// KL divergence from the clean next-token distribution, nats.
    pub kl: f64,
    /// Text of the likeliest next token.
    pub argmax_text: String,
    /// For `inject`: whether the donor's answer was given.
    pub modified_correct: Option<bool>,
    /// For `inject`: log-probability of the donor's answer, nats.
    pub modified_logprob: Option<f64>,
}

/// An item as it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredItem {
    /// The task.
    pub task: TaskName,
    /// The item's name.
    pub name: String,
    /// The prompt.
    pub prompt: String,
    /// The right answer.
    pub answer: String,
    /// For `inject`: the prompt that states are taken from.
    pub donor: Option<String>,
    /// For `inject`: the answer if the model believes the donor.
    pub modified_answer: Option<String>,
}

/// A run as it is stored.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// Its folder.
    pub folder: PathBuf,
    /// Its variants, in the order in which they ran.
    pub variants: Vec<StoredVariant>,
    /// Revisions of the program that worked on the run.
    pub revisions: Vec<String>,
    /// When it was begun, UTC.
    pub started: Option<String>,
    /// Results that were computed whole although a part should have done.
    pub fallbacks: u64,
    /// The command that the run was begun with, if it is known.
    pub command: Option<String>,
    /// What results were computed on, with how many of them; as far as they say.
    pub machines: Vec<(Machine, usize)>,
}

/// One model under one set of settings.
#[derive(Clone, Debug)]
pub struct StoredVariant {
    /// What tells it apart from the run's others.
    pub label: String,
    /// Its specification.
    pub spec: Spec,
    /// The noise floor, empty while it has not been measured.
    pub noise_floor: Vec<NoiseFloor>,
    /// What the self-test found before the run.
    pub selftest: Option<SelfTest>,
    /// How much it will have when it is complete.
    pub planned: Planned,
    /// How many cells the grid has, by task and manipulation.
    pub cells: BTreeMap<(String, String), usize>,
    /// Items left out: (task, what leaves them out), and why.
    pub left_out: BTreeMap<(String, String), Reasons>,
    /// Items cut to fit the context, by task.
    pub cut: BTreeMap<String, usize>,
    /// The items that have run.
    pub items: Vec<StoredItem>,
    /// All results.
    pub rows: Vec<ResultRow>,
}

impl StoredRun {
    /// Reads a run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(folder: &Path) -> Result<Self, StoreError> {
        let fail = database(folder);
        let db = to_read(folder)?;
        let specs = specs_of(&db, folder)?;
        let notes = Notes::of(&db).map_err(&fail)?;
        let damaged = |what: String| StoreError::Damaged {
            folder: folder.to_path_buf(),
            what,
        };
        let mut variants = Vec::new();
        for (n, (label, spec)) in (0i64..).zip(specs) {
            variants.push(StoredVariant {
                noise_floor: noise_floor(&db, n).map_err(&fail)?,
                selftest: super::part::selftest(&db, n)
                    .map_err(&fail)?
                    .map(|(_, found)| found),
                planned: notes.planned(n, &spec),
                cells: cells(&db, n).map_err(&fail)?,
                left_out: left_out(&db, n).map_err(&fail)?,
                cut: cut(&db, n).map_err(&fail)?,
                items: items(&db, n).map_err(&fail)?.map_err(damaged)?,
                rows: rows(&db, n).map_err(&fail)?.map_err(damaged)?,
                label,
                spec,
            });
        }
        Ok(Self {
            revisions: revisions(&db).map_err(&fail)?,
            started: started(&db).map_err(&fail)?,
            fallbacks: fallbacks(&db).map_err(&fail)?,
            command: notes.command().map(String::from),
            machines: machines(&db).map_err(&fail)?,
            folder: folder.to_path_buf(),
            variants,
        })
    }
}

/// The labels and specifications of a run's variants.
pub(super) fn specs_of(db: &Connection, folder: &Path) -> Result<Vec<(String, Spec)>, StoreError> {
    let fail = database(folder);
    if !has_column(db, "meta", "key").map_err(&fail)? {
        return Err(StoreError::NotBegun(folder.to_path_buf()));
    }
    let found: String = db
        .query_row(
            "SELECT value FROM meta WHERE key = 'schema_version'",
            [],
            |row| row.get(0),
        )
        .map_err(&fail)?;
    if !READABLE.map(|version| version.to_string()).contains(&found) {
        return Err(StoreError::Schema {
            folder: folder.to_path_buf(),
            found,
        });
    }
    let stored: Vec<(String, String)> = db
        .prepare("SELECT label, spec FROM variants ORDER BY variant")
        .map_err(&fail)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(&fail)?
        .collect::<Result<_, _>>()
        .map_err(&fail)?;
    let parse = |(label, spec): (String, String)| match serde_json::from_str(&spec) {
        Ok(spec) => Ok((label, spec)),
        Err(e) => Err(StoreError::Damaged {
            folder: folder.to_path_buf(),
            what: format!("its specification cannot be read: {e}"),
        }),
    };
    stored.into_iter().map(parse).collect()
}

fn noise_floor(db: &Connection, variant: i64) -> rusqlite::Result<Vec<NoiseFloor>> {
    db.prepare(
        "SELECT shape, prompts, max_logit, mean_kl, max_kl, argmax_changes
         FROM noise_floor WHERE variant = ?1",
    )?
    .query_map([variant], |row| {
        Ok(NoiseFloor {
            shape: row.get(0)?,
            prompts: row.get::<_, i64>(1)? as usize,
            max_logit: row.get(2)?,
            mean_kl: row.get(3)?,
            max_kl: row.get(4)?,
            argmax_changes: row.get::<_, i64>(5)? as usize,
        })
    })?
    .collect()
}

fn cells(db: &Connection, variant: i64) -> rusqlite::Result<BTreeMap<(String, String), usize>> {
    let parameters = parameters(db)?;
    let count = format!(
        "SELECT task, manipulation, {parameters} AS given, count(*) FROM cells
         WHERE variant = ?1 GROUP BY task, manipulation, given"
    );
    let counted = |row: &rusqlite::Row<'_>| {
        let (name, given): (String, String) = (row.get(1)?, row.get(2)?);
        // What is no manipulation has no results that could be read.
        let name = treatment(&name, &given).map_or(name, |treatment| treatment.to_string());
        Ok(((row.get(0)?, name), row.get::<_, i64>(3)? as usize))
    };
    db.prepare(&count)?.query_map([variant], counted)?.collect()
}

/// Where a cell's parameters are: runs that an older midlayer began have none.
pub(super) fn parameters(db: &Connection) -> rusqlite::Result<&'static str> {
    let has = has_column(db, "cells", "parameters")?;
    Ok(if has { "cells.parameters" } else { "'{}'" })
}

/// A cell's treatment from its name and the JSON object of its parameters.
fn treatment(name: &str, given: &str) -> Result<Treatment, String> {
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

fn left_out(
    db: &Connection,
    variant: i64,
) -> rusqlite::Result<BTreeMap<(String, String), Reasons>> {
    let count = "SELECT task, what, reason, count(*) FROM left_out WHERE variant = ?1
                 GROUP BY task, what, reason";
    let mut query = db.prepare(count)?;
    let mut rows = query.query([variant])?;
    let mut counts: BTreeMap<(String, String), Vec<(String, usize)>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let reasons = counts.entry((row.get(0)?, row.get(1)?)).or_default();
        reasons.push((row.get(2)?, row.get::<_, i64>(3)? as usize));
    }
    let counts = counts.into_iter();
    Ok(counts
        .map(|(of, n)| (of, n.into_iter().collect()))
        .collect())
}

fn cut(db: &Connection, variant: i64) -> rusqlite::Result<BTreeMap<String, usize>> {
    db.prepare("SELECT task, sum(cut) FROM items WHERE variant = ?1 GROUP BY task")?
        .query_map([variant], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)? as usize))
        })?
        .collect()
}

fn revisions(db: &Connection) -> rusqlite::Result<Vec<String>> {
    db.prepare("SELECT DISTINCT revision FROM sessions ORDER BY session")?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn started(db: &Connection) -> rusqlite::Result<Option<String>> {
    db.query_row("SELECT min(started) FROM sessions", [], |row| row.get(0))
}

fn items(db: &Connection, variant: i64) -> rusqlite::Result<Result<Vec<StoredItem>, String>> {
    let mut query = db.prepare(
        "SELECT task, name, prompt, answer, donor, modified_answer
         FROM items WHERE variant = ?1 ORDER BY item",
    )?;
    let found = query.query_map([variant], |row| {
        let task: String = row.get(0)?;
        let item = |task| -> rusqlite::Result<StoredItem> {
            Ok(StoredItem {
                task,
                name: row.get(1)?,
                prompt: row.get(2)?,
                answer: row.get(3)?,
                donor: row.get(4)?,
                modified_answer: row.get(5)?,
            })
        };
        task.parse()
            .map(item)
            .map_or_else(|e| Ok(Err(e)), |item| item.map(Ok))
    })?;
    let items: Vec<Result<StoredItem, String>> = found.collect::<rusqlite::Result<_>>()?;
    Ok(items.into_iter().collect())
}

fn fallbacks(db: &Connection) -> rusqlite::Result<u64> {
    let sum = "SELECT coalesce(sum(fallbacks), 0) FROM sessions";
    let n: i64 = db.query_row(sum, [], |row| row.get(0))?;
    Ok(n as u64)
}

fn rows(db: &Connection, variant: i64) -> rusqlite::Result<Result<Vec<ResultRow>, String>> {
    let parameters = parameters(db)?;
    let mut query = db.prepare(&format!(
        "SELECT items.task, items.name, cells.manipulation, cells.layer, cells.seed,
                score, correct, metrics, agrees, results.answer,
                logprob, rank, kl, argmax_text, modified_correct, modified_logprob, {parameters}
         FROM results JOIN items USING (item) JOIN cells USING (cell)
         WHERE items.variant = ?1
         ORDER BY item, cell"
    ))?;
    let mut found = query.query([variant])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let (task, kind): (String, String) = (row.get(0)?, row.get(2)?);
        let task = match task.parse() {
            Ok(task) => task,
            Err(e) => return Ok(Err(e)),
        };
        let given: String = row.get(16)?;
        let treatment = match treatment(&kind, &given) {
            Ok(treatment) => treatment,
            Err(e) => return Ok(Err(e)),
        };
        let metrics: String = row.get(7)?;
        let metrics = match serde_json::from_str(&metrics) {
            Ok(metrics) => metrics,
            Err(e) => return Ok(Err(e.to_string())),
        };
        rows.push(ResultRow {
            task,
            item: row.get(1)?,
            treatment,
            layer: row.get(3)?,
            seed: row.get::<_, Option<i64>>(4)?.map(|s| s as u64),
            score: row.get(5)?,
            correct: row.get(6)?,
            metrics,
            agrees: row.get(8)?,
            answer: row.get(9)?,
            logprob: row.get(10)?,
            rank: row.get::<_, i64>(11)? as u64,
            kl: row.get(12)?,
            argmax_text: row.get(13)?,
            modified_correct: row.get(14)?,
            modified_logprob: row.get(15)?,
        });
    }
    Ok(Ok(rows))
}
