//! Writing into a run that is held: what must be true at every commit.

use std::fs::File;
use std::path::PathBuf;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::hold::Hold;
use super::opened::Opened;
use super::{DATABASE, StoreError, database};

/// A run that this process works on.
#[derive(Debug)]
pub(super) struct Guard {
    folder: PathBuf,
    hold: Hold,
    /// The [`version`] of the database when it was opened.
    version: i64,
    opened: Opened,
}

impl Guard {
    /// The guard of a database whose [`version`] is known, in a folder that is held.
    pub fn new(folder: PathBuf, hold: Hold, version: i64, opened: Opened) -> Self {
        Self {
            folder,
            hold,
            version,
            opened,
        }
    }

    /// The folder is held until this is dropped.
    pub fn hold(&self) -> &Hold {
        &self.hold
    }

    /// The folder is held on.
    pub fn into_hold(self) -> Hold {
        self.hold
    }

    /// That the database is where it was, and the folder held.
    ///
    /// # Errors
    /// [`StoreError::Gone`], or the hold's.
    pub fn check(&self) -> Result<(), StoreError> {
        self.opened.check()?;
        self.hold.check()
    }

    /// Carries out `work` in a transaction: all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError`]; before anything is written where another process works on the run or has
    /// written into it.
    pub fn write<T>(
        &self,
        db: &mut Connection,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.carry_out(db, |db| work(db).map_err(database(&self.folder)))
    }

    /// The same for work that fails in other ways too.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is written then.
    pub fn carry_out<T>(
        &self,
        db: &mut Connection,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.check()?;
        if self.hold.network().is_some() {
            // What another machine has written may be hidden by what this one keeps of the file.
            // Network file systems look again when a file is opened. SQLite holds no lock now,
            // which closing the file would drop.
            drop(File::open(self.folder.join(DATABASE)));
        }
        let fail = database(&self.folder);
        // At once, so that nothing is written between the look at the version and the commit.
        let transaction = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&fail)?;
        if version(&transaction).map_err(&fail)? != self.version {
            return Err(StoreError::Written(self.folder.clone()));
        }
        let done = work(&transaction)?;
        self.hold.check()?;
        transaction.commit().map_err(&fail)?;
        // It may have gone meanwhile, and this commit may be the last.
        self.opened.check()?;
        Ok(done)
    }
}

/// SQLite's count of what other connections than `db` have committed.
///
/// # Errors
/// The database's.
pub(super) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA data_version", [], |row| row.get(0))
}
