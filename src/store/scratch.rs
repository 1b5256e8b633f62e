//! A run's results on a disk of this machine while they are worked on.
//!
//! The run's folder gets them whole: they are written to a file beside the database, synced, and
//! renamed. So whoever reads the folder finds one state of the run or the next, and a file system
//! of several machines is written to a few times in place of every few seconds.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rand::RngExt;
use rusqlite::Connection;
use tempfile::TempDir;

use super::connection::{BESIDE, Journal, tell, to_write};
use super::fresh::about;
use super::hold::Hold;
use super::{DATABASE, StoreError, database};

/// How often results are published while a run goes on. A killed run loses what it has stored
/// since.
pub const PUBLISHED_EVERY: Duration = Duration::from_secs(300);

/// What a working folder's name begins with.
const PREFIX: &str = "midlayer-results-";

/// What follows the database's name in that of a file that is being published, before what makes
/// it this process's own.
const PART: &str = "-part-";

/// Whether a name is that of a file that is being published, or that a killed process has left.
pub(super) fn is_part(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(format!("{DATABASE}{PART}").as_bytes())
}

/// Removes what killed processes have left in a run's folder, which is to be held.
pub(super) fn remove_parts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_part(&entry.file_name()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The working folder of a run that is held.
#[derive(Debug)]
pub(super) struct Scratch {
    /// The run's folder.
    folder: PathBuf,
    disk: TempDir,
    /// The run's database as it was found or last published, and when that was last tried.
    published: Option<Stamp>,
    at: Instant,
    every: Duration,
}

/// What changes when a file does. Its number would not do: some network file systems give a file
/// that is not open another one.
type Stamp = (u64, Option<SystemTime>);

fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    let about = about(path)?;
    Ok(about.map(|about| (about.len(), about.modified().ok())))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a panic ends has not published its last results.
        if thread::panicking() {
            self.disk.disable_cleanup(true);
        }
    }
}

impl Scratch {
    /// A new working folder in the folder `at`, with what the run's folder, which is held, has already.
    ///
    /// # Errors
    /// [`StoreError::Scratch`] for a working folder that cannot be written, else the run's.
    pub fn new(at: &Path, folder: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Scratch {
            path: at.into(),
            source,
        };
        let disk = tempfile::Builder::new().prefix(PREFIX).tempdir_in(at);
        let disk = disk.map_err(failed)?;
        let of_run = |source| StoreError::of_io(folder, source);
        let theirs = folder.join(DATABASE);
        let published = stamp(&theirs).map_err(of_run)?;
        if published.is_some() {
            // A journal or a log that a killed process has left is taken in, and none stays that
            // would be taken for the next database's.
            let db = to_write(folder, Journal::Rollback).map_err(database(folder))?;
            let mode = db.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
            if mode.map_err(database(folder))? != "delete" {
                return Err(StoreError::Busy(folder.into()));
            }
            drop(db);
            let mut from = File::open(&theirs).map_err(of_run)?;
            let mut to = File::create(disk.path().join(DATABASE)).map_err(failed)?;
            io::copy(&mut from, &mut to).map_err(failed)?;
        }
        // The log's memory, which no process uses any more; and what is left beside no database.
        for suffix in BESIDE {
            let _ = fs::remove_file(folder.join(format!("{DATABASE}{suffix}")));
        }
        Ok(Self {
            published: stamp(&theirs).map_err(of_run)?,
            folder: folder.into(),
            disk,
            at: Instant::now(),
            every: PUBLISHED_EVERY,
        })
    }

    /// The working folder.
    pub fn path(&self) -> &Path {
        self.disk.path()
    }

    /// Gives the run's folder all that is stored. No transaction may be open.
    ///
    /// # Errors
    /// [`StoreError`]: the folder's, that another process works on the run, or that its database
    /// is not the one that was published last. The folder is as it was then.
    pub fn publish(&mut self, hold: &Hold) -> Result<(), StoreError> {
        self.at = Instant::now();
        let target = self.folder.join(DATABASE);
        let there = stamp(&target).map_err(|source| StoreError::of_io(&self.folder, source))?;
        if there != self.published {
            return Err(StoreError::Gone(target));
        }
        // A process that was taken for dead may still write its own.
        let own: u64 = rand::rng().random();
        let part = self.folder.join(format!("{DATABASE}{PART}{own:016x}"));
        let failed = |source| {
            let _ = fs::remove_file(&part);
            StoreError::of_io(&self.folder, source)
        };
        let write = || -> io::Result<()> {
            // Between transactions SQLite holds no lock, which closing the file would drop.
            let mut from = File::open(self.disk.path().join(DATABASE))?;
            let mut to = File::create_new(&part)?;
            io::copy(&mut from, &mut to)?;
            // Those who may write to the run may go on doing so.
            if let Ok(there) = fs::metadata(&target) {
                let _ = to.set_permissions(there.permissions());
            }
            to.sync_all()
        };
        write().map_err(failed)?;
        let published = stamp(&part).map_err(failed)?;
        hold.check().inspect_err(|_| drop(fs::remove_file(&part)))?;
        fs::rename(&part, &target).map_err(failed)?;
        self.published = published;
        // That the name leads to the new file; some file systems sync no folder.
        let _ = File::open(&self.folder).and_then(|folder| folder.sync_all());
        Ok(())
    }

    /// The same while the run goes on. Where the folder takes nothing for the moment, what is wrong
    /// is told, and `false` is returned.
    ///
    /// # Errors
    /// That another process works on the run, or has replaced its database.
    pub fn publish_or_tell(&mut self, hold: &Hold) -> Result<bool, StoreError> {
        match self.publish(hold) {
            Err(error) if !error.is_of_disk() => Err(error),
            Err(error) => {
                tell(&format!(
                    "nothing was published for now, the run goes on: {error}"
                ));
                Ok(false)
            }
            Ok(()) => Ok(true),
        }
    }

    /// The same if it is time for it.
    ///
    /// # Errors
    /// As [`publish_or_tell`](Self::publish_or_tell).
    pub fn publish_when_due(&mut self, hold: &Hold) -> Result<(), StoreError> {
        if self.at.elapsed() >= self.every {
            self.publish_or_tell(hold)?;
        }
        Ok(())
    }

    /// Publishes for the last time; the working folder is removed.
    ///
    /// # Errors
    /// [`StoreError::Unpublished`], and the working folder stays; or that another process works on
    /// the run.
    pub fn close(mut self, db: Connection, hold: &Hold) -> Result<(), StoreError> {
        drop(db);
        match self.publish(hold) {
            Err(error) if !error.is_about_another() => {
                self.disk.disable_cleanup(true);
                Err(StoreError::Unpublished {
                    folder: self.folder.clone(),
                    kept: self.path().join(DATABASE),
                    reason: Box::new(error),
                })
            }
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A held folder, one for working folders, and a database there.
    fn begun() -> (TempDir, TempDir, Hold, Scratch, Connection) {
        let [folder, at] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let hold = Hold::take(folder.path()).unwrap();
        let scratch = Scratch::new(at.path(), folder.path()).unwrap();
        let db = to_write(scratch.path(), Journal::Rollback).unwrap();
        db.execute("CREATE TABLE rows (n)", []).unwrap();
        (folder, at, hold, scratch, db)
    }

    fn put(db: &Connection) {
        db.execute("INSERT INTO rows VALUES (1)", []).unwrap();
    }

    /// Rows that the run's folder has.
    fn published(folder: &TempDir) -> Option<i64> {
        let path = folder.path().join(DATABASE);
        let db = path.exists().then(|| Connection::open(path).unwrap())?;
        let count = "SELECT count(*) FROM rows";
        Some(db.query_row(count, [], |row| row.get(0)).unwrap())
    }

    #[test]
    fn results_are_published_when_it_is_time_and_at_the_end() {
        let (folder, at, hold, mut scratch, db) = begun();
        put(&db);
        scratch.publish_when_due(&hold).unwrap();
        assert_eq!(published(&folder), None, "not yet");
        scratch.every = Duration::ZERO;
        for rows in 1..4 {
            scratch.publish_when_due(&hold).unwrap();
            assert_eq!(published(&folder), Some(rows));
            put(&db);
        }
        scratch.close(db, &hold).unwrap();
        assert_eq!(published(&folder), Some(4));
        assert_eq!(fs::read_dir(at.path()).unwrap().count(), 0);
        // The next one begins with them.
        let again = Scratch::new(at.path(), folder.path()).unwrap();
        let found = fs::read(again.path().join(DATABASE)).unwrap();
        assert_eq!(found, fs::read(folder.path().join(DATABASE)).unwrap());
    }

    #[test]
    fn a_folder_that_takes_nothing_is_told_and_the_results_are_kept() {
        let (folder, _at, hold, mut scratch, db) = begun();
        scratch.every = Duration::ZERO;
        // No file can take its place.
        let there = folder.path().join(DATABASE);
        fs::create_dir_all(there.join("full")).unwrap();
        scratch.published = stamp(&there).unwrap();
        scratch.publish_when_due(&hold).unwrap();
        put(&db);
        let error = scratch.close(db, &hold).unwrap_err();
        let StoreError::Unpublished { kept, .. } = &error else {
            panic!("{error}");
        };
        assert!(error.to_string().contains(kept.to_str().unwrap()));
        fs::remove_dir_all(&there).unwrap();
        let left = fs::read_dir(folder.path()).unwrap();
        assert!(!left.flatten().any(|file| is_part(&file.file_name())));
        fs::copy(kept, there).unwrap();
        assert_eq!(published(&folder), Some(1));
    }

    /// It is waited for, as for any other that keeps results locked, and its log is not lost.
    #[test]
    fn a_database_that_is_open_elsewhere_is_taken_along_once_it_is_closed() {
        let [folder, at] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let _hold = Hold::take(folder.path()).unwrap();
        let db = to_write(folder.path(), Journal::Ahead).unwrap();
        db.execute("CREATE TABLE rows (n)", []).unwrap();
        put(&db);
        let log = folder.path().join(format!("{DATABASE}-wal"));
        assert!(log.metadata().unwrap().len() > 0);
        let taken = thread::scope(|scope| {
            let taken = scope.spawn(|| Scratch::new(at.path(), folder.path()));
            thread::sleep(Duration::from_millis(300));
            assert!(!taken.is_finished());
            assert!(log.metadata().unwrap().len() > 0);
            drop(db);
            taken.join().unwrap().unwrap()
        });
        let db = to_write(taken.path(), Journal::Rollback).unwrap();
        let count = "SELECT count(*) FROM rows";
        let rows = db.query_row(count, [], |row| row.get::<_, i64>(0));
        assert_eq!(rows, Ok(1));
    }

    #[test]
    fn what_another_has_put_in_its_place_stays() {
        let (folder, _at, hold, mut scratch, db) = begun();
        scratch.publish(&hold).unwrap();
        let there = folder.path().join(DATABASE);
        fs::rename(&there, folder.path().join("aside")).unwrap();
        fs::write(&there, "another").unwrap();
        put(&db);
        scratch.every = Duration::ZERO;
        let error = scratch.publish_when_due(&hold);
        assert!(matches!(error, Err(StoreError::Gone(_))), "{error:?}");
        let error = scratch.close(db, &hold).unwrap_err();
        let StoreError::Unpublished { kept, reason, .. } = error else {
            panic!("{error}");
        };
        assert!(matches!(*reason, StoreError::Gone(_)), "{reason}");
        assert_eq!(fs::read(&there).unwrap(), b"another");
        fs::copy(kept, &there).unwrap();
        assert_eq!(published(&folder), Some(1));
    }
}
