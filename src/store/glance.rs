//! How far a run is, without reading its results.

use std::collections::HashMap;
use std::path::Path;
use std::time::SystemTime;

use rusqlite::Connection;

use super::connection::to_read;
use super::missing::is_short;
use super::notes::OfShard;
use super::read::{specs_of, started};
use super::{Missing, Notes, Planned, StoreError, database, hold};
use crate::experiment::Spec;

/// What a run or a part of one is, and how far.
#[derive(Clone, Debug, PartialEq)]
pub struct Glance {
    /// Which part of a run it is, if it is one.
    pub shard: Option<OfShard>,
    /// Its variants, in the order in which they run.
    pub variants: Vec<Glanced>,
    /// When it was begun, UTC.
    pub begun: Option<String>,
    /// The command of the whole run, if it is known.
    pub command: Option<String>,
    /// Who works on it, as the folder says, and when that was last seen at work.
    pub holder: Option<(String, Option<SystemTime>)>,
}

/// A variant of such a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Glanced {
    /// What tells it apart from the run's others.
    pub label: String,
    /// Its specification.
    pub spec: Spec,
    /// How much it will have when the whole run is complete.
    pub planned: Planned,
    /// Items that have been begun.
    pub items: usize,
    /// Results that are stored.
    pub results: usize,
}

impl Glance {
    /// Looks at a run's folder.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of(folder: &Path) -> Result<Self, StoreError> {
        let fail = database(folder);
        let db = to_read(folder)?;
        let specs = match specs_of(&db, folder) {
            Err(StoreError::NotBegun(_)) => {
                return Ok(Self {
                    shard: None,
                    variants: Vec::new(),
                    begun: None,
                    command: None,
                    holder: hold::holder_of(folder),
                });
            }
            specs => (0i64..).zip(specs?),
        };
        let notes = Notes::of(&db).map_err(&fail)?;
        let items = "SELECT variant, count(*) FROM items GROUP BY variant";
        let items = counts(&db, items).map_err(&fail)?;
        let results = "SELECT variant, sum(n) FROM
                           (SELECT item, count(*) AS n FROM results GROUP BY item)
                           JOIN items USING (item)
                       GROUP BY variant";
        let results = counts(&db, results).map_err(&fail)?;
        let variants = specs.map(|(n, (label, spec))| Glanced {
            planned: notes.planned(n, &spec),
            items: items.get(&n).copied().unwrap_or(0),
            results: results.get(&n).copied().unwrap_or(0),
            label,
            spec,
        });
        Ok(Self {
            shard: notes.shard(),
            variants: variants.collect(),
            begun: started(&db).map_err(&fail)?,
            command: notes.whole().or(notes.command()).map(String::from),
            holder: hold::holder_of(folder),
        })
    }

    /// Together with what another part of the same run has; of both, no part of a run any more.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.shard = None;
        self.begun = match (self.begun, other.begun) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.command = self.command.or(other.command);
        self.holder = self.holder.or(other.holder);
        if self.variants.is_empty() {
            self.variants = other.variants;
            return self;
        }
        for (variant, of_other) in self.variants.iter_mut().zip(other.variants) {
            variant.items += of_other.items;
            variant.results += of_other.results;
        }
        self
    }

    /// Results that are stored.
    pub fn stored(&self) -> usize {
        self.variants.iter().map(|variant| variant.results).sum()
    }

    /// What is missing of the whole run; `None` when it is complete, and for runs of an older
    /// midlayer that do not say. Results that reports would not count are not looked for.
    pub fn missing(&self) -> Option<Missing> {
        let begun = self.command.is_some();
        let is_short = |variant: &Glanced| {
            let stored = (variant.items, variant.results);
            is_short(&variant.spec, &variant.planned, stored).unwrap_or(begun)
        };
        self.variants.iter().any(is_short).then(|| Missing {
            stored: self.stored(),
            planned: self.planned(),
            uncounted: 0,
            command: self.command.clone(),
        })
    }

    /// Results of the whole run, where that is known.
    pub fn planned(&self) -> Option<usize> {
        let planned = self.variants.iter().map(|variant| variant.planned.results);
        planned
            .sum::<Option<usize>>()
            .filter(|_| !self.variants.is_empty())
    }

    /// Results that it has when it is complete: of a part the part's.
    pub fn all(&self) -> Option<usize> {
        let of_part = self.shard.map(|shard| shard.results);
        of_part.or(self.planned())
    }

    /// Whether it has all of them.
    pub fn is_complete(&self) -> bool {
        self.all().is_some_and(|all| self.stored() >= all)
    }
}

/// By variant.
fn counts(db: &Connection, query: &str) -> rusqlite::Result<HashMap<i64, usize>> {
    let count = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize));
    db.prepare(query)?.query_map([], count)?.collect()
}
