//! A variant's part of a run being written.

use std::collections::{HashMap, HashSet};

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};

use super::guard::Guard;
use super::{StoreError, database};
use crate::engine::{NoiseFloor, Work};
use crate::experiment::{ItemResults, Scored};
use crate::selftest::SelfTest;
use crate::tasks::{CHANCE, TaskName};

fn selftest_key(variant: i64) -> String {
    format!("selftest/{variant}")
}

/// What the self-test of a variant found, and the revision that ran it.
pub(super) fn selftest(
    db: &Connection,
    variant: i64,
) -> rusqlite::Result<Option<(String, SelfTest)>> {
    let stored: Option<String> = db
        .query_row(
            "SELECT value FROM meta WHERE key = ?1",
            [selftest_key(variant)],
            |row| row.get(0),
        )
        .optional()?;
    // What another version wrote in another form is as good as none.
    Ok(stored.and_then(|stored| serde_json::from_str(&stored).ok()))
}

/// A variant's part of a run.
pub struct Part<'s> {
    pub(super) db: &'s mut Connection,
    pub(super) guard: &'s mut Guard,
    pub(super) variant: i64,
    first_cell: i64,
}

impl<'s> Part<'s> {
    pub(super) fn new(
        db: &'s mut Connection,
        guard: &'s mut Guard,
        variant: i64,
        first_cell: i64,
    ) -> Self {
        Self {
            db,
            guard,
            variant,
            first_cell,
        }
    }

    /// Carries out `work` in a transaction.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.guard.write(self.db, work)
    }

    /// Gives the run's folder what is stored, where the results are elsewhere while they are worked
    /// on: whether it has taken it; if not, that is told.
    ///
    /// # Errors
    /// That another process works on the run, or has replaced its database.
    pub fn publish(&mut self) -> Result<bool, StoreError> {
        self.guard.publish_or_tell()
    }

    /// The numbers of the cells that are stored of each of a task's items.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn stored(&self, task: TaskName) -> Result<HashMap<String, HashSet<usize>>, StoreError> {
        let query = "SELECT name, cell FROM items JOIN results USING (item)
                     WHERE variant = ?1 AND task = ?2";
        let mut stored: HashMap<String, HashSet<usize>> = HashMap::new();
        for (name, cell) in self.pairs::<i64>(query, task)? {
            let cell = (cell - self.first_cell) as usize;
            stored.entry(name).or_default().insert(cell);
        }
        Ok(stored)
    }

    /// What the clean model answers to each of a task's items, as far as that is stored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn clean_answers(&self, task: TaskName) -> Result<HashMap<String, String>, StoreError> {
        let query = "SELECT name, results.answer
                     FROM items JOIN cells USING (variant, task)
                     JOIN results ON results.item = items.item AND results.cell = cells.cell
                     WHERE variant = ?1 AND task = ?2 AND manipulation = 'clean'";
        Ok(self.pairs(query, task)?.into_iter().collect())
    }

    /// The scores that are stored of each of a task's items, by the number of the cell within the
    /// variant's grid.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn scores(
        &self,
        task: TaskName,
    ) -> Result<HashMap<String, HashMap<usize, Scored>>, StoreError> {
        let query = format!(
            "SELECT name, cell, score, modified_correct, json_extract(metrics, '$.{CHANCE}')
             FROM items JOIN results USING (item) WHERE variant = ?1 AND task = ?2"
        );
        let read = || -> rusqlite::Result<_> {
            let mut query = self.db.prepare(&query)?;
            let mut rows = query.query(params![self.variant, task.to_string()])?;
            let mut scores: HashMap<String, HashMap<usize, Scored>> = HashMap::new();
            while let Some(row) = rows.next()? {
                let scored = Scored {
                    score: row.get(2)?,
                    modified: row.get(3)?,
                    chance: row.get(4)?,
                };
                let cell = (row.get::<_, i64>(1)? - self.first_cell) as usize;
                scores.entry(row.get(0)?).or_default().insert(cell, scored);
            }
            Ok(scores)
        };
        read().map_err(database(self.guard.folder()))
    }

    fn pairs<T: FromSql>(
        &self,
        query: &str,
        task: TaskName,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let of_task = params![self.variant, task.to_string()];
        let mut query = self
            .db
            .prepare(query)
            .map_err(database(self.guard.folder()))?;
        query
            .query_map(of_task, |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(database(self.guard.folder()))
    }

    /// What the self-test found, if this revision of the program has run it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn selftest(&self, revision: &str) -> Result<Option<SelfTest>, StoreError> {
        let stored = selftest(self.db, self.variant).map_err(database(self.guard.folder()))?;
        Ok(stored
            .filter(|(by, _)| by == revision)
            .map(|(_, found)| found))
    }

    /// Stores what the self-test found, in place of what an earlier revision did.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_selftest(&mut self, revision: &str, found: &SelfTest) -> Result<(), StoreError> {
        let value = serde_json::to_string(&(revision, found)).expect("plain data");
        let note = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)";
        let values = params![selftest_key(self.variant), value];
        self.write(|db| db.execute(note, values).map(drop))
    }

    /// Whether the noise floor has been measured.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn has_noise_floor(&self) -> Result<bool, StoreError> {
        self.db
            .query_row(
                "SELECT 1 FROM noise_floor WHERE variant = ?1 LIMIT 1",
                [self.variant],
                |_| Ok(()),
            )
            .optional()
            .map(|found| found.is_some())
            .map_err(database(self.guard.folder()))
    }

    /// Stores the noise floor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_noise_floor(&mut self, floors: &[NoiseFloor]) -> Result<(), StoreError> {
        let variant = self.variant;
        self.write(|db| {
            for floor in floors {
                db.execute(
                    "INSERT OR REPLACE INTO noise_floor VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        variant,
                        floor.shape,
                        floor.prompts as i64,
                        floor.max_logit,
                        floor.mean_kl,
                        floor.max_kl,
                        floor.argmax_changes as i64
                    ],
                )?;
            }
            Ok(())
        })
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
        let variant = self.variant;
        self.write(|db| {
            for (name, what, reason) in left_out {
                db.execute(
                    "INSERT OR REPLACE INTO left_out VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![variant, task.to_string(), name, what, reason],
                )?;
            }
            Ok(())
        })
    }

    /// Commits results: all of them or nothing. A result that is stored already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no space left, [`StoreError::Gone`] when the database
    /// is not where it was.
    pub fn commit(&mut self, items: &[ItemResults]) -> Result<(), StoreError> {
        let (variant, first_cell) = (self.variant, self.first_cell);
        self.write(|db| {
            let mut items = items.iter();
            items.try_for_each(|item| insert_item(db, item, variant, first_cell))
        })
    }

    /// Notes what the session at hand has computed so far.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note_work(&mut self, work: &Work) -> Result<(), StoreError> {
        self.write(|db| {
            db.execute(
                "UPDATE sessions SET layer_rows = ?1, cache_rows = ?2, fallbacks = ?3, reason = ?4
                 WHERE session = (SELECT max(session) FROM sessions)",
                params![
                    work.layer_rows as i64,
                    work.cache_rows as i64,
                    work.fallbacks as i64,
                    work.reason
                ],
            )
            .map(drop)
        })
    }
}

fn insert_item(
    transaction: &Transaction<'_>,
    results: &ItemResults,
    variant: i64,
    first_cell: i64,
) -> rusqlite::Result<()> {
    let item = &results.item;
    let hash = Sha256::digest(item.prompt.as_bytes());
    let hash: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    let (donor, modified) = match &item.swap {
        Some((donor, answer)) => (Some(donor), Some(answer)),
        None => (None, None),
    };
    let put = |number: Option<i64>| {
        let values = params![
            number,
            variant,
            item.task.to_string(),
            item.name,
            item.prompt,
            hash,
            item.answer,
            donor,
            modified,
            item.cut
        ];
        transaction.execute(
            "INSERT INTO items (item, variant, task, name, prompt, prompt_sha256, answer, donor,
                 modified_answer, cut)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT DO NOTHING",
            values,
        )
    };
    let found = || {
        let find = "SELECT item FROM items WHERE variant = ?1 AND task = ?2 AND name = ?3";
        let of = params![variant, item.task.to_string(), item.name];
        transaction.query_row(find, of, |row| row.get(0)).optional()
    };
    // Its number gives it its place among the others. Where an older midlayer has given that to
    // another item, it takes the next one.
    put(item.place.map(|place| place as i64 + 1))?;
    let id: i64 = match found()? {
        Some(id) => id,
        None => {
            put(None)?;
            found()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?
        }
    };
    let mut insert = transaction.prepare_cached(
        "INSERT INTO results
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
                     (SELECT max(session) FROM sessions))
             ON CONFLICT (item, cell) DO NOTHING",
    )?;
    let mut touch =
        transaction.prepare_cached("INSERT OR IGNORE INTO touched VALUES (?1, ?2, ?3)")?;
    for row in &results.rows {
        insert.execute(params![
            id,
            first_cell + row.cell as i64,
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
                first_cell + row.cell as i64,
                touched.tensor,
                touched.rows as i64
            ])?;
        }
    }
    Ok(())
}
