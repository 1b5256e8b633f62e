//! A run being read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::connection::to_read;
use super::layout::has_column;
use super::machine::machines;
use super::notes::Planned;
use super::rows::{ResultRow, parameters, rows, treatment};
use super::{Machine, Notes, READABLE, StoreError, database};
use crate::engine::NoiseFloor;
use crate::experiment::{Drift, Reasons, Spec};
use crate::selftest::SelfTest;
use crate::tasks::TaskName;

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

impl StoredItem {
    /// Its name as people know it.
    pub fn title(&self) -> String {
        self.task.title(&self.name, &self.prompt)
    }
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
    /// How far its states are from the first variant's, where that was measured.
    pub drift: Option<Drift>,
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
                drift: notes.drift(n),
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

pub(super) fn started(db: &Connection) -> rusqlite::Result<Option<String>> {
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
