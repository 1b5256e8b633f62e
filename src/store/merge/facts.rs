//! What of a part is no result: notes, sessions, noise floors, what is left out, what was written
//! to.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::Merging;
use crate::store::layout::has_column;
use crate::store::{Notes, StoreError};

impl Merging<'_> {
    /// What the run notes of itself.
    pub(super) fn notes(&self, notes: &Notes) -> Result<(), StoreError> {
        let put = "INSERT OR IGNORE INTO meta VALUES (?1, ?2)";
        for (key, value) in notes.of_run() {
            self.of_out(self.db.execute(put, [key, value]))?;
            let find = "SELECT value FROM meta WHERE key = ?1";
            let stored: String = self.of_out(self.db.query_row(find, [key], |row| row.get(0)))?;
            if Notes::is_planned(key) && stored != value {
                return self.refuse(format!("{key}: stored {stored}, now {value}"));
            }
        }
        Ok(())
    }

    /// Sessions by their numbers in the part, with their numbers here.
    pub(super) fn sessions(&self) -> rusqlite::Result<HashMap<i64, i64>> {
        let facts = match has_column(&self.part, "sessions", "token")? {
            true => "token, machine, processor, backend, threads",
            false => "NULL, NULL, NULL, NULL, NULL",
        };
        let mut query = self.part.prepare(&format!(
            "SELECT started, revision, host, {facts}, layer_rows, cache_rows, fallbacks, reason,
                    session
             FROM sessions ORDER BY session"
        ))?;
        let find = "SELECT session FROM sessions WHERE token IS ?4
                    AND (token IS NOT NULL OR (started, revision, host) = (?1, ?2, ?3))";
        let put = "INSERT INTO sessions (started, revision, host, token, machine, processor,
                       backend, threads) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let work = "UPDATE sessions SET layer_rows = ?1, cache_rows = ?2, fallbacks = ?3,
                        reason = ?4 WHERE session = ?5";
        let mut known = HashMap::new();
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let values: Vec<Value> = (0..12).map(|n| row.get(n)).collect::<Result<_, _>>()?;
            let of = params_from_iter(&values[..4]);
            let found = self.db.query_row(find, of, |row| row.get(0)).optional()?;
            let number: i64 = match found {
                Some(number) => number,
                None => {
                    self.db.execute(put, params_from_iter(&values[..8]))?;
                    self.db.last_insert_rowid()
                }
            };
            let done = values[8..].iter().cloned().chain([Value::Integer(number)]);
            self.db.execute(work, params_from_iter(done))?;
            known.insert(row.get(12)?, number);
        }
        Ok(known)
    }

    /// What is known besides results. Of two noise floors the larger one holds.
    pub(super) fn facts(&self) -> rusqlite::Result<()> {
        self.copy(
            "SELECT variant, shape, prompts, max_logit, mean_kl, max_kl, argmax_changes
             FROM noise_floor",
            "INSERT INTO noise_floor VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (variant, shape) DO UPDATE SET
                 max_logit = max(max_logit, excluded.max_logit),
                 mean_kl = max(mean_kl, excluded.mean_kl),
                 max_kl = max(max_kl, excluded.max_kl),
                 argmax_changes = max(argmax_changes, excluded.argmax_changes)",
        )?;
        self.copy(
            "SELECT variant, task, name, what, reason FROM left_out",
            "INSERT OR IGNORE INTO left_out VALUES (?1, ?2, ?3, ?4, ?5)",
        )
    }

    /// What was written to for the first item under each cell. `firsts` are the part's; that of
    /// the item that comes first in the run stays.
    pub(super) fn touched(&self, firsts: &HashMap<i64, i64>) -> rusqlite::Result<()> {
        let mut known = self.firsts.borrow_mut();
        let mut touched = self
            .part
            .prepare("SELECT cell, tensor, rows FROM touched")?;
        let put = |how| {
            let put = format!("INSERT OR {how} INTO touched VALUES (?1, ?2, ?3)");
            self.db.prepare(&put)
        };
        let (mut replace, mut ignore) = (put("REPLACE")?, put("IGNORE")?);
        let mut rows = touched.query([])?;
        while let Some(row) = rows.next()? {
            let cell: i64 = row.get(0)?;
            let values: Vec<Value> = (0..3).map(|n| row.get(n)).collect::<Result<_, _>>()?;
            let first = firsts.get(&cell);
            let earlier = first.is_some_and(|first| known.get(&cell).is_none_or(|k| first <= k));
            let put = if earlier { &mut replace } else { &mut ignore };
            put.execute(params_from_iter(values))?;
        }
        for (&cell, &first) in firsts {
            let known = known.entry(cell).or_insert(first);
            *known = first.min(*known);
        }
        Ok(())
    }

    fn copy(&self, from: &str, to: &str) -> rusqlite::Result<()> {
        let (mut from, mut to) = (self.part.prepare(from)?, self.db.prepare(to)?);
        let columns = from.column_count();
        let mut rows = from.query([])?;
        while let Some(row) = rows.next()? {
            let values: Vec<Value> = (0..columns).map(|n| row.get(n)).collect::<Result<_, _>>()?;
            to.execute(params_from_iter(values))?;
        }
        Ok(())
    }
}

/// The first item that has a result under each cell.
pub(super) fn firsts(db: &Connection) -> rusqlite::Result<HashMap<i64, i64>> {
    let first = "SELECT cell, min(item) FROM results GROUP BY cell";
    let mut query = db.prepare(first)?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}
