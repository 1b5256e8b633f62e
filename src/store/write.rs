//! A run being written.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};

use super::{DATABASE, SCHEMA_VERSION, StoreError, database};
use crate::engine::{NoiseFloor, Work};
use crate::hook::Touched;
use crate::sweep::{Cell, Grid, Spec};
use crate::tasks::{Scores, TaskName};

/// A run's folder, held by this process alone.
pub struct Store {
    folder: PathBuf,
    db: Connection,
    /// Whether the folder was there before.
    existed: bool,
    _lock: File,
}

/// An item as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemRow {
    /// Its task.
    pub task: TaskName,
    /// Its name within the task.
    pub name: String,
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
    /// Number of the cell within the run's grid.
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

/// One item under all its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// The item.
    pub item: ItemRow,
    /// Its results.
    pub rows: Vec<Row>,
}

impl Store {
    /// Opens a run's folder: makes it, or resumes the run it holds if that has the same
    /// specification.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is left behind when a new run cannot be begun.
    pub fn open(folder: &Path, spec: &Spec, grid: &Grid) -> Result<Self, StoreError> {
        let io = |source| StoreError::Folder {
            path: folder.to_path_buf(),
            source,
        };
        let existed = folder.exists();
        fs::create_dir_all(folder).map_err(io)?;
        let path = folder.join(DATABASE);
        let fresh = !path.exists();
        if fresh && fs::read_dir(folder).map_err(io)?.any(|e| !is_ours(&e)) {
            return Err(StoreError::Foreign(folder.to_path_buf()));
        }
        let lock = File::create(folder.join(LOCK)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StoreError::Locked(folder.to_path_buf()));
            }
            Err(fs::TryLockError::Error(source)) => return Err(io(source)),
        }
        let opened = Self::open_database(folder, &path, spec, grid);
        match opened {
            Ok(db) => Ok(Self {
                folder: folder.to_path_buf(),
                db,
                existed,
                _lock: lock,
            }),
            Err(error) => {
                if fresh {
                    remove_new(folder, existed);
                }
                Err(error)
            }
        }
    }

    fn open_database(
        folder: &Path,
        path: &Path,
        spec: &Spec,
        grid: &Grid,
    ) -> Result<Connection, StoreError> {
        let fail = database(folder);
        let mut db = Connection::open(path).map_err(&fail)?;
        db.pragma_update(None, "journal_mode", "WAL")
            .map_err(&fail)?;
        db.pragma_update(None, "synchronous", "FULL")
            .map_err(&fail)?;
        db.pragma_update(None, "foreign_keys", true)
            .map_err(&fail)?;
        let begun: i64 = db
            .query_row(
                "SELECT count(*) FROM sqlite_master WHERE name = 'meta'",
                [],
                |row| row.get(0),
            )
            .map_err(&fail)?;
        if begun == 0 {
            create(&mut db, spec, grid).map_err(&fail)?;
            return Ok(db);
        }
        let stored = super::read::spec_of(&db, folder)?;
        if let Some(difference) = stored.difference(spec) {
            return Err(StoreError::AnotherRun {
                folder: folder.to_path_buf(),
                difference,
            });
        }
        Ok(db)
    }

    /// Closes the run after a failure, and removes it if it holds no item.
    pub fn close_failed(self) {
        let items = self
            .db
            .query_row("SELECT count(*) FROM items", [], |row| row.get(0));
        let Self {
            folder,
            db,
            existed,
            _lock,
        } = self;
        drop(db);
        if items == Ok(0i64) {
            remove_new(&folder, existed);
        }
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes that the program works on the run now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin_session(&mut self, revision: &str, host: &str) -> Result<(), StoreError> {
        self.db
            .execute(
                "INSERT INTO sessions (started, revision, host)
                 VALUES (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), ?1, ?2)",
                params![revision, host],
            )
            .map_err(database(&self.folder))?;
        Ok(())
    }

    /// The names of a task's items that are complete.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn done(&self, task: TaskName) -> Result<HashSet<String>, StoreError> {
        let fail = database(&self.folder);
        let mut query = self
            .db
            .prepare("SELECT name FROM items WHERE task = ?1")
            .map_err(&fail)?;
        let names = query
            .query_map([task.to_string()], |row| row.get(0))
            .map_err(&fail)?
            .collect::<Result<_, _>>()
            .map_err(&fail)?;
        Ok(names)
    }

    /// Whether the noise floor has been measured.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn has_noise_floor(&self) -> Result<bool, StoreError> {
        self.db
            .query_row("SELECT 1 FROM noise_floor LIMIT 1", [], |_| Ok(()))
            .optional()
            .map(|found| found.is_some())
            .map_err(database(&self.folder))
    }

    /// Stores the noise floor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_noise_floor(&mut self, floors: &[NoiseFloor]) -> Result<(), StoreError> {
        let fail = database(&self.folder);
        let transaction = self.db.transaction().map_err(&fail)?;
        for floor in floors {
            transaction
                .execute(
                    "INSERT OR REPLACE INTO noise_floor VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        floor.shape,
                        floor.prompts as i64,
                        floor.max_logit,
                        floor.mean_kl,
                        floor.max_kl,
                        floor.argmax_changes as i64
                    ],
                )
                .map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)
    }

    /// Stores which items are left out: (name, what leaves them out, reason).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_left_out(
        &mut self,
        task: TaskName,
        left_out: &[(String, &str, String)],
    ) -> Result<(), StoreError> {
        let fail = database(&self.folder);
        let transaction = self.db.transaction().map_err(&fail)?;
        for (name, what, reason) in left_out {
            transaction
                .execute(
                    "INSERT OR REPLACE INTO left_out VALUES (?1, ?2, ?3, ?4)",
                    params![task.to_string(), name, what, reason],
                )
                .map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)
    }

    /// Commits units: all of them or nothing.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no space left.
    pub fn commit(&mut self, units: &[Unit]) -> Result<(), StoreError> {
        let fail = database(&self.folder);
        let transaction = self.db.transaction().map_err(&fail)?;
        for unit in units {
            insert_unit(&transaction, unit).map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)
    }

    /// Notes what the session at hand has computed so far.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note_work(&mut self, work: &Work) -> Result<(), StoreError> {
        self.db
            .execute(
                "UPDATE sessions SET layer_rows = ?1, cache_rows = ?2, fallbacks = ?3, reason = ?4
                 WHERE session = (SELECT max(session) FROM sessions)",
                params![
                    work.layer_rows as i64,
                    work.cache_rows as i64,
                    work.fallbacks as i64,
                    work.reason
                ],
            )
            .map_err(database(&self.folder))?;
        Ok(())
    }
}

const LOCK: &str = ".lock";

/// What a run that was begun and cut off before its first commit may have left.
fn is_ours(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|e| e.file_name() == LOCK)
}

/// Removes what opening a new run has made, and the folder if it was made too.
fn remove_new(folder: &Path, existed: bool) {
    // Best effort: the error that led here is the one to report.
    for suffix in ["", "-wal", "-shm", "-journal"] {
        fs::remove_file(folder.join(format!("{DATABASE}{suffix}"))).ok();
    }
    fs::remove_file(folder.join(LOCK)).ok();
    if !existed {
        fs::remove_dir(folder).ok();
    }
}

fn create(db: &mut Connection, spec: &Spec, grid: &Grid) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    transaction.execute_batch(include_str!("schema.sql"))?;
    let spec = serde_json::to_string(spec).expect("plain data");
    let mut meta = transaction.prepare("INSERT INTO meta VALUES (?1, ?2)")?;
    meta.execute(params!["schema_version", SCHEMA_VERSION.to_string()])?;
    meta.execute(params!["spec", spec])?;
    drop(meta);
    let mut insert = transaction.prepare("INSERT INTO cells VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (number, (task, cell)) in grid.cells().enumerate() {
        let (name, layer, seed) = cell_columns(cell);
        insert.execute(params![number as i64, task.to_string(), name, layer, seed])?;
    }
    drop(insert);
    transaction.commit()
}

fn cell_columns(cell: &Cell) -> (String, Option<u32>, Option<i64>) {
    match cell.manipulation {
        None => ("clean".to_string(), None, None),
        Some(kind) => (
            kind.to_string(),
            Some(cell.layer),
            kind.has_seed().then_some(cell.seed as i64),
        ),
    }
}

fn insert_unit(transaction: &Transaction<'_>, unit: &Unit) -> rusqlite::Result<()> {
    let item = &unit.item;
    let hash = Sha256::digest(item.prompt.as_bytes());
    let hash: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    let (donor, modified) = match &item.swap {
        Some((donor, answer)) => (Some(donor), Some(answer)),
        None => (None, None),
    };
    transaction.execute(
        "INSERT INTO items
             (task, name, prompt, prompt_sha256, answer, donor, modified_answer, cut)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            item.task.to_string(),
            item.name,
            item.prompt,
            hash,
            item.answer,
            donor,
            modified,
            item.cut
        ],
    )?;
    let id = transaction.last_insert_rowid();
    let mut insert = transaction.prepare_cached(
        "INSERT INTO results
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let mut touch =
        transaction.prepare_cached("INSERT OR IGNORE INTO touched VALUES (?1, ?2, ?3)")?;
    for row in &unit.rows {
        insert.execute(params![
            id,
            row.cell as i64,
            row.scores.score,
            row.scores.correct,
            serde_json::to_string(&row.scores.metrics).expect("plain data"),
            row.agrees,
            row.answer,
            row.logprob,
            row.rank as i64,
            row.kl,
            row.argmax,
            row.argmax_text,
            row.modified.map(|m| m.0),
            row.modified.map(|m| m.1),
        ])?;
        for touched in &row.touched {
            touch.execute(params![
                row.cell as i64,
                touched.tensor,
                touched.rows as i64
            ])?;
        }
    }
    Ok(())
}
