//! What a run notes of itself beside its results.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::params;

use super::connection::to_read;
use super::{Part, Store, StoreError, database};
use crate::sweep::Spec;
use crate::tasks::TaskName;

const COMMAND: &str = "command";

fn items_key(variant: i64, task: TaskName) -> String {
    format!("items/{variant}/{task}")
}

/// The notes of a run. One that was begun by an older midlayer has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(BTreeMap<String, String>);

impl Notes {
    /// Reads a run's notes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(folder: &Path) -> Result<Self, StoreError> {
        let fail = database(folder);
        let db = to_read(folder)?;
        let notes = db
            .prepare("SELECT key, value FROM meta")
            .map_err(&fail)?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(&fail)?
            .collect::<Result<_, _>>()
            .map_err(&fail)?;
        Ok(Self(notes))
    }

    /// The command that the run was begun with.
    pub fn command(&self) -> Option<&str> {
        self.0.get(COMMAND).map(String::as_str)
    }

    /// How many items the `n`-th variant will have when it is complete, if all its tasks have
    /// been begun.
    pub fn planned_items(&self, n: usize, spec: &Spec) -> Option<usize> {
        let tasks = spec.tasks.iter();
        let noted = |task| {
            self.0
                .get(&items_key(n as i64, task))?
                .parse::<usize>()
                .ok()
        };
        tasks.map(|task| noted(task.task)).sum()
    }
}

impl Store {
    /// Notes the command that the run is begun with; later ones do not count.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note_command(&mut self, command: &str) -> Result<(), StoreError> {
        let note = "INSERT OR IGNORE INTO meta VALUES (?1, ?2)";
        let values = params![COMMAND, command];
        self.guard
            .write(&mut self.db, |db| db.execute(note, values).map(drop))
    }
}

impl Part<'_> {
    /// Notes how many items of a task are to be run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note_items(&mut self, task: TaskName, items: usize) -> Result<(), StoreError> {
        let note = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)";
        let values = params![items_key(self.variant, task), items.to_string()];
        self.write(|db| db.execute(note, values).map(drop))
    }
}
