//! Writing into a run that is held: what must be true at every commit.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::hold::Hold;
use super::opened::Opened;
use super::scratch::Scratch;
use super::{DATABASE, StoreError, database};

/// A run that this process works on.
#[derive(Debug)]
pub(super) struct Guard {
    /// Where the database is.
    folder: PathBuf,
    hold: Hold,
    /// Where that is not the run's folder.
    scratch: Option<Scratch>,
    /// The [`version`] of the database when it was opened.
    version: i64,
    opened: Opened,
}

impl Guard {
    /// The guard of a database whose [`version`] is known, of a run whose folder is held.
    pub fn new(
        folder: PathBuf,
        hold: Hold,
        scratch: Option<Scratch>,
        version: i64,
        opened: Opened,
    ) -> Self {
        Self {
            folder,
            hold,
            scratch,
            version,
            opened,
        }
    }

    /// The folder is held until this is dropped.
    pub fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Where the database is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the run's folder is another one.
    pub fn is_scratch(&self) -> bool {
        self.scratch.is_some()
    }

    /// Gives the run's folder what is stored, where the database is elsewhere.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn publish(&mut self) -> Result<(), StoreError> {
        match &mut self.scratch {
            Some(scratch) => scratch.publish(&self.hold),
            None => Ok(()),
        }
    }

    /// The same while the run goes on: whether the folder has taken it; if not, that is told.
    ///
    /// # Errors
    /// That another process works on the run, or has replaced its database.
    pub fn publish_or_tell(&mut self) -> Result<bool, StoreError> {
        match &mut self.scratch {
            Some(scratch) => scratch.publish_or_tell(&self.hold),
            None => Ok(true),
        }
    }

    /// The same for the last time. The folder is held on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn close(self, db: Connection) -> Result<Hold, StoreError> {
        match self.scratch {
            Some(scratch) => scratch.close(db, &self.hold)?,
            None => drop(db),
        }
        Ok(self.hold)
    }

    /// The folder is held on; what was not published is gone.
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
        &mut self,
        db: &mut Connection,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let (folder, scratch) = (self.folder.clone(), self.is_scratch());
        self.carry_out(db, |db| work(db).map_err(sorted(&folder, scratch)))
    }

    /// The same for work that fails in other ways too.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is written then.
    pub fn carry_out<T>(
        &mut self,
        db: &mut Connection,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.check()?;
        if self.hold.network().is_some() && !self.is_scratch() {
            // What another machine has written may be hidden by what this one keeps of the file.
            // Network file systems look again when a file is opened. SQLite holds no lock now,
            // which closing the file would drop.
            drop(File::open(self.folder.join(DATABASE)));
        }
        let fail = sorted(&self.folder, self.is_scratch());
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
        if let Some(scratch) = &mut self.scratch {
            scratch.publish_when_due(&self.hold)?;
        }
        Ok(done)
    }
}

/// Sorts an error of the database in a folder, which may be a working folder.
pub(super) fn sorted(folder: &Path, scratch: bool) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
    let of_folder = database(folder);
    move |error| match scratch {
        true => of_folder(error).of_scratch(),
        false => of_folder(error),
    }
}

/// SQLite's count of what other connections than `db` have committed.
///
/// # Errors
/// The database's.
pub(super) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA data_version", [], |row| row.get(0))
}
