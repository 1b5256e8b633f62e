//! What a run notes of itself beside its results.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{Part, Store, StoreError, database};
use crate::experiment::{Drift, Spec};
use crate::tasks::TaskName;

const COMMAND: &str = "command";
const WHOLE: &str = "whole";
const SHARD: &str = "shard";

fn items_key(variant: i64, task: TaskName) -> String {
    format!("items/{variant}/{task}")
}

fn results_key(variant: i64, task: TaskName) -> String {
    format!("results/{variant}/{task}")
}

const DRIFT: &str = "drift/";

fn drift_key(variant: i64) -> String {
    format!("{DRIFT}{variant}")
}

/// How much a variant will have when it is complete, as far as it is noted: a run that an older
/// midlayer began may say nothing. A sweep that stops when it knows has results in all only once
/// it has stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// Items of each task.
    pub of_task: Vec<(TaskName, usize)>,
    /// Items.
    pub items: Option<usize>,
    /// Results.
    pub results: Option<usize>,
}

/// Which part of a run a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfShard {
    /// Its number, from 1 up.
    pub number: u32,
    /// How many parts there are.
    pub count: u32,
    /// How many results it has when it is complete.
    pub results: usize,
}

/// The notes of a run. One that was begun by an older midlayer has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(BTreeMap<String, String>);

impl Notes {
    /// The notes in a run's database.
    pub(super) fn of(db: &Connection) -> rusqlite::Result<Self> {
        db.prepare("SELECT key, value FROM meta")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The command that the run was begun with.
    pub fn command(&self) -> Option<&str> {
        self.0.get(COMMAND).map(String::as_str)
    }

    /// The command of the run that this is a part of.
    pub fn whole(&self) -> Option<&str> {
        self.0.get(WHOLE).map(String::as_str)
    }

    /// Which part of a run it is, if it is one.
    pub fn shard(&self) -> Option<OfShard> {
        serde_json::from_str(self.0.get(SHARD)?).ok()
    }

    /// Those that a part has in common with the run that it is of: how much is to be run, what the
    /// self-test found, how far the models' states are apart, and the run's command.
    pub(super) fn of_run(&self) -> impl Iterator<Item = (&str, &str)> {
        let notes = self.0.iter().map(|(key, value)| (&**key, &**value));
        let kept = notes.filter(|(key, _)| {
            Self::is_planned(key) || key.starts_with("selftest/") || key.starts_with(DRIFT)
        });
        let command = self.whole().or(self.command());
        kept.chain(command.map(|command| (COMMAND, command)))
    }

    /// Whether a note says how much is to be run.
    pub(super) fn is_planned(key: &str) -> bool {
        key.starts_with("items/") || key.starts_with("results/")
    }

    /// How far a variant's states are from the first one's, where that was measured. What another
    /// version wrote in another form is as good as none.
    pub fn drift(&self, variant: i64) -> Option<Drift> {
        let stored = self.0.get(&drift_key(variant))?;
        serde_json::from_str(stored).ok()
    }

    /// What a variant will have when it is complete.
    pub fn planned(&self, variant: i64, spec: &Spec) -> Planned {
        let sum = |key: fn(i64, TaskName) -> String| {
            let noted = |task| self.0.get(&key(variant, task))?.parse::<usize>().ok();
            spec.tasks.iter().map(|of| noted(of.task)).sum()
        };
        let of_task = spec.tasks.iter().filter_map(|of| {
            let items = self.0.get(&items_key(variant, of.task))?;
            Some((of.task, items.parse().ok()?))
        });
        Planned {
            of_task: of_task.collect(),
            items: sum(items_key),
            results: sum(results_key),
        }
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

impl Store {
    /// Notes which part of a run this is, and the command of the whole run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note_shard(&mut self, shard: &OfShard, whole: &str) -> Result<(), StoreError> {
        let note = "INSERT OR REPLACE INTO meta VALUES (?1, ?2), (?3, ?4)";
        let shard = serde_json::to_string(shard).expect("plain data");
        let values = params![SHARD, shard, WHOLE, whole];
        self.guard
            .write(&mut self.db, |db| db.execute(note, values).map(drop))
    }
}

impl Part<'_> {
    /// Whether the drift of its states is noted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn has_drift(&self) -> Result<bool, StoreError> {
        let notes = Notes::of(self.db).map_err(database(self.guard.folder()))?;
        Ok(notes.drift(self.variant).is_some())
    }

    /// Notes the drift of its states.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note_drift(&mut self, drift: &Drift) -> Result<(), StoreError> {
        let note = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)";
        let json = serde_json::to_string(drift).expect("plain data");
        let values = params![drift_key(self.variant), json];
        self.write(|db| db.execute(note, values).map(drop))
    }

    /// Notes how many items of a task there are to run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note_items(&mut self, task: TaskName, items: usize) -> Result<(), StoreError> {
        let note = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)";
        let values = params![items_key(self.variant, task), items.to_string()];
        self.write(|db| db.execute(note, values).map(drop))
    }

    /// Notes how many items of a task are to be run, and how many results they have.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note_planned(
        &mut self,
        task: TaskName,
        items: usize,
        results: usize,
    ) -> Result<(), StoreError> {
        let note = "INSERT OR REPLACE INTO meta VALUES (?1, ?2), (?3, ?4)";
        let (of_items, of_results) = (
            items_key(self.variant, task),
            results_key(self.variant, task),
        );
        let values = params![of_items, items.to_string(), of_results, results.to_string()];
        self.write(|db| db.execute(note, values).map(drop))
    }
}
