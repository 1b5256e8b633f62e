//! How far a run is, without reading its results.

use std::path::Path;
use std::time::SystemTime;

use super::connection::to_read;
use super::notes::OfShard;
use super::read::{specs_of, started};
use super::{Notes, StoreError, database, hold};
use crate::experiment::Spec;

/// How far a run or a part of one is.
#[derive(Clone, Debug, PartialEq)]
pub struct Glance {
    /// Which part of a run it is, if it is one.
    pub shard: Option<OfShard>,
    /// The labels and specifications of its variants, in the order in which they run.
    pub specs: Vec<(String, Spec)>,
    /// When it was begun, UTC.
    pub begun: Option<String>,
    /// Results that are stored.
    pub stored: usize,
    /// Results of the whole run, where that is known.
    pub planned: Option<usize>,
    /// The command of the whole run, if it is known.
    pub command: Option<String>,
    /// Who works on it, as the folder says, and when that was last seen at work.
    pub holder: Option<(String, Option<SystemTime>)>,
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
                    specs: Vec::new(),
                    begun: None,
                    stored: 0,
                    planned: None,
                    command: None,
                    holder: hold::holder_of(folder),
                });
            }
            specs => specs?,
        };
        let notes = Notes::of(&db).map_err(&fail)?;
        let planned = (0i64..).zip(&specs);
        let planned = planned.map(|(n, (_, spec))| notes.planned(n, spec).results);
        let planned = planned.sum();
        let count = "SELECT count(*) FROM results";
        let stored: i64 = db.query_row(count, [], |row| row.get(0)).map_err(&fail)?;
        Ok(Self {
            shard: notes.shard(),
            begun: started(&db).map_err(&fail)?,
            specs,
            stored: stored as usize,
            planned,
            command: notes.whole().or(notes.command()).map(String::from),
            holder: hold::holder_of(folder),
        })
    }

    /// Results that it has when it is complete: of a part the part's.
    pub fn all(&self) -> Option<usize> {
        self.shard.map(|shard| shard.results).or(self.planned)
    }

    /// Whether it has all of them.
    pub fn is_complete(&self) -> bool {
        self.all().is_some_and(|all| self.stored >= all)
    }
}
