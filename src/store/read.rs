//! A run being read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{DATABASE, SCHEMA_VERSION, StoreError, database};
use crate::engine::NoiseFloor;
use crate::intervention::Kind;
use crate::sweep::Spec;
use crate::tasks::TaskName;

/// An item's result under one cell, with the names that the tables hold.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultRow {
    /// The task.
    pub task: TaskName,
    /// The item's name.
    pub item: String,
    /// The manipulation; `None` for the clean run.
    pub manipulation: Option<Kind>,
    /// Its layer.
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
}

/// A run as it is stored.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// Its folder.
    pub folder: PathBuf,
    /// Its specification.
    pub spec: Spec,
    /// The noise floor, empty while it has not been measured.
    pub noise_floor: Vec<NoiseFloor>,
    /// Items left out: (task, what leaves them out) to how many.
    pub left_out: BTreeMap<(String, String), usize>,
    /// Items cut to fit the context, by task.
    pub cut: BTreeMap<String, usize>,
    /// Revisions of the program that worked on the run.
    pub revisions: Vec<String>,
    /// Results that were computed whole although a part should have done.
    pub fallbacks: u64,
    /// All results.
    pub rows: Vec<ResultRow>,
}

impl StoredRun {
    /// Reads a run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(DATABASE);
        if !path.is_file() {
            return Err(StoreError::NoRun(folder.to_path_buf()));
        }
        let fail = database(folder);
        // Read-write, not to change anything: a WAL left by a killed run must be taken in.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&path, flags).map_err(&fail)?;
        let spec = spec_of(&db, folder)?;
        let damaged = |what: String| StoreError::Damaged {
            folder: folder.to_path_buf(),
            what,
        };
        Ok(Self {
            noise_floor: noise_floor(&db).map_err(&fail)?,
            left_out: left_out(&db).map_err(&fail)?,
            cut: cut(&db).map_err(&fail)?,
            revisions: revisions(&db).map_err(&fail)?,
            fallbacks: fallbacks(&db).map_err(&fail)?,
            rows: rows(&db).map_err(&fail)?.map_err(damaged)?,
            folder: folder.to_path_buf(),
            spec,
        })
    }
}

pub(super) fn spec_of(db: &Connection, folder: &Path) -> Result<Spec, StoreError> {
    let fail = database(folder);
    let meta = |key: &str| -> Result<String, StoreError> {
        db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
            row.get(0)
        })
        .map_err(&fail)
    };
    let found = meta("schema_version")?;
    if found != SCHEMA_VERSION.to_string() {
        return Err(StoreError::Schema {
            folder: folder.to_path_buf(),
            found,
        });
    }
    serde_json::from_str(&meta("spec")?).map_err(|e| StoreError::Damaged {
        folder: folder.to_path_buf(),
        what: format!("its specification cannot be read: {e}"),
    })
}

fn noise_floor(db: &Connection) -> rusqlite::Result<Vec<NoiseFloor>> {
    db.prepare(
        "SELECT shape, prompts, max_logit, mean_kl, max_kl, argmax_changes FROM noise_floor",
    )?
    .query_map([], |row| {
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

fn left_out(db: &Connection) -> rusqlite::Result<BTreeMap<(String, String), usize>> {
    db.prepare("SELECT task, what, count(*) FROM left_out GROUP BY task, what")?
        .query_map([], |row| {
            Ok(((row.get(0)?, row.get(1)?), row.get::<_, i64>(2)? as usize))
        })?
        .collect()
}

fn cut(db: &Connection) -> rusqlite::Result<BTreeMap<String, usize>> {
    db.prepare("SELECT task, sum(cut) FROM items GROUP BY task")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize)))?
        .collect()
}

fn revisions(db: &Connection) -> rusqlite::Result<Vec<String>> {
    db.prepare("SELECT DISTINCT revision FROM sessions ORDER BY session")?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn fallbacks(db: &Connection) -> rusqlite::Result<u64> {
    let sum = "SELECT coalesce(sum(fallbacks), 0) FROM sessions";
    let n: i64 = db.query_row(sum, [], |row| row.get(0))?;
    Ok(n as u64)
}

fn rows(db: &Connection) -> rusqlite::Result<Result<Vec<ResultRow>, String>> {
    let mut query = db.prepare(
        "SELECT items.task, items.name, cells.manipulation, cells.layer, cells.seed,
                score, correct, metrics, agrees, results.answer,
                logprob, rank, kl, argmax_text, modified_correct
         FROM results JOIN items USING (item) JOIN cells USING (cell)
         ORDER BY item, cell",
    )?;
    let mut found = query.query([])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let (task, kind): (String, String) = (row.get(0)?, row.get(2)?);
        let task = match task.parse() {
            Ok(task) => task,
            Err(e) => return Ok(Err(e)),
        };
        let manipulation = match kind.as_str() {
            "clean" => None,
            name => match name.parse() {
                Ok(kind) => Some(kind),
                Err(e) => return Ok(Err(e)),
            },
        };
        let metrics: String = row.get(7)?;
        let metrics = match serde_json::from_str(&metrics) {
            Ok(metrics) => metrics,
            Err(e) => return Ok(Err(e.to_string())),
        };
        rows.push(ResultRow {
            task,
            item: row.get(1)?,
            manipulation,
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
        });
    }
    Ok(Ok(rows))
}
