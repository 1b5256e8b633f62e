//! What runs are, and how far they are, without their results in memory.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::Connection;

use super::connection::to_read;
use super::missing::is_short;
use super::read::{specs_of, started};
use super::{Missing, Notes, Planned, StoreError, database};
use crate::experiment::Spec;

/// A run, or a part of one, without its results.
#[derive(Clone, Debug)]
pub struct Outline {
    /// When it was begun, UTC.
    pub started: Option<String>,
    /// The command that the whole run was begun with, if it is known.
    pub command: Option<String>,
    /// Its variants, in the order in which they run.
    pub variants: Vec<OutlinedVariant>,
}

/// A variant of such a run.
#[derive(Clone, Debug)]
pub struct OutlinedVariant {
    /// What tells it apart from the run's others.
    pub label: String,
    /// Its specification.
    pub spec: Spec,
    /// How much it will have when it is complete.
    pub planned: Planned,
    /// Items that have been begun.
    pub items: usize,
    /// Results that are stored.
    pub results: usize,
}

impl Outline {
    /// Looks at the run in a folder.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of(folder: &Path) -> Result<Self, StoreError> {
        let fail = database(folder);
        let db = to_read(folder)?;
        let specs = (0i64..).zip(specs_of(&db, folder)?);
        let notes = Notes::of(&db).map_err(&fail)?;
        let items = "SELECT variant, count(*) FROM items GROUP BY variant";
        let items = counts(&db, items).map_err(&fail)?;
        let results = "SELECT variant, sum(n) FROM
                           (SELECT item, count(*) AS n FROM results GROUP BY item)
                           JOIN items USING (item)
                       GROUP BY variant";
        let results = counts(&db, results).map_err(&fail)?;
        let variants = specs.map(|(n, (label, spec))| OutlinedVariant {
            planned: notes.planned(n, &spec),
            items: items.get(&n).copied().unwrap_or(0),
            results: results.get(&n).copied().unwrap_or(0),
            label,
            spec,
        });
        Ok(Self {
            started: started(&db).map_err(&fail)?,
            command: notes.whole().or(notes.command()).map(String::from),
            variants: variants.collect(),
        })
    }

    /// Adds what another part of the same run has, which no other one has.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.started = match (self.started, other.started) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        for (variant, of_other) in self.variants.iter_mut().zip(other.variants) {
            variant.items += of_other.items;
            variant.results += of_other.results;
        }
        self
    }

    /// What is missing of it; `None` when it is complete, and for runs of an older midlayer that
    /// do not say. Results that reports would not count are not looked for.
    pub fn missing(&self) -> Option<Missing> {
        let begun = self.command.is_some();
        let is_short = |variant: &OutlinedVariant| {
            let stored = (variant.items, variant.results);
            is_short(&variant.spec, &variant.planned, stored).unwrap_or(begun)
        };
        self.variants.iter().any(is_short).then(|| Missing {
            stored: self.variants.iter().map(|v| v.results).sum(),
            planned: self.variants.iter().map(|v| v.planned.results).sum(),
            uncounted: 0,
            command: self.command.clone(),
        })
    }
}

/// By variant.
fn counts(db: &Connection, query: &str) -> rusqlite::Result<HashMap<i64, usize>> {
    let count = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize));
    db.prepare(query)?.query_map([], count)?.collect()
}
