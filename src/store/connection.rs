//! Connections to a run's database: to write it, and to read it whoever writes it meanwhile.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::file_system::FileSystem;
use super::fresh;
use super::hold::{Hold, is_shared};
use super::{DATABASE, StoreError, database};

/// What SQLite keeps beside a database.
pub(super) const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What a database is restored from when its writer is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Journal {
    /// A write-ahead log: others can read meanwhile. It needs memory that all who open it share.
    Ahead,
    /// A rollback journal: between transactions the database is one file.
    Rollback,
}

impl Journal {
    /// That of a folder that is held: ahead on a disk of this machine.
    pub fn of(hold: &Hold) -> Self {
        match hold.network() {
            None => Self::Ahead,
            Some(_) => Self::Rollback,
        }
    }
}

/// Opens the database of a folder that is held, to write it.
///
/// # Errors
/// The database's.
pub(super) fn to_write(folder: &Path, journal: Journal) -> rusqlite::Result<Connection> {
    let mut db = Connection::open(folder.join(DATABASE))?;
    db.busy_handler(Some(wait))?;
    let mode = match journal {
        Journal::Ahead => "WAL",
        Journal::Rollback => {
            // A log that is left is taken in without shared memory by a connection of its own.
            db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            "DELETE"
        }
    };
    db.pragma_update(None, "journal_mode", mode)?;
    db.pragma_update(None, "locking_mode", "NORMAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    Ok(db)
}

/// A connection to a run's database that writes nothing.
pub(super) struct Reading {
    db: Connection,
    _copy: Option<TempDir>,
}

impl Deref for Reading {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.db
    }
}

/// Opens a run's database to read it. Where the locks of its writer may not be seen, or where
/// SQLite may make no file beside it, that is a copy: SQLite would take a journal that is being
/// written for one that was left behind, and roll it back.
///
/// # Errors
/// [`StoreError`].
pub(super) fn to_read(folder: &Path) -> Result<Reading, StoreError> {
    let path = folder.join(DATABASE);
    if !path.is_file() {
        return Err(StoreError::NoRun(folder.to_path_buf()));
    }
    let failed = |source| StoreError::of_io(folder, source);
    let local = FileSystem::of(folder).map_err(failed)?.local;
    let copy = match local && !is_shared(folder) && is_writable(folder) {
        true => None,
        false => Some(copy(folder).map_err(failed)?),
    };
    let path = copy
        .as_ref()
        .map_or(path, |copy| copy.path().join(DATABASE));
    // Read-write, not to change anything: what a killed run has left must be taken in.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let mut db = Connection::open_with_flags(path, flags)?;
        db.busy_handler(Some(wait))?;
        Ok(db)
    };
    Ok(Reading {
        db: open().map_err(database(folder))?,
        _copy: copy,
    })
}

/// Whether a file can be made in a folder.
fn is_writable(folder: &Path) -> bool {
    tempfile::tempfile_in(folder).is_ok()
}

/// What changes when a file does.
type Version = Option<(u64, Option<SystemTime>)>;

fn version(path: &Path) -> io::Result<Version> {
    let about = fresh::about(path)?;
    Ok(about.map(|about| (about.len(), about.modified().ok())))
}

/// A copy of a database and of what SQLite keeps beside it, all of one moment.
fn copy(folder: &Path) -> io::Result<TempDir> {
    let names: Vec<String> = ["", "-wal", "-journal"]
        .map(|suffix| format!("{DATABASE}{suffix}"))
        .to_vec();
    let look = || -> io::Result<Vec<Version>> {
        let paths = names.iter().map(|name| folder.join(name));
        paths.map(|path| version(&path)).collect()
    };
    for _ in 0..LOOKS {
        let before = look()?;
        let copy = tempfile::tempdir()?;
        for name in &names {
            // Contents alone: what may not be written to may have been killed midway too.
            match File::open(folder.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => drop(io::copy(
                    &mut file?,
                    &mut File::create(copy.path().join(name))?,
                )?),
            }
        }
        if look()? == before {
            return Ok(copy);
        }
        sleep(Duration::from_millis(50));
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "it is written to all the time; repeat the command when its writer is done",
    ))
}

/// How often a copy is begun again because a commit came between.
const LOOKS: usize = 100;

/// What is told while another program keeps a database locked.
static TELL: OnceLock<fn(&str)> = OnceLock::new();

/// Says through `tell` when the program waits for another one that has a run's database locked.
pub fn tell_waits(tell: fn(&str)) {
    let _ = TELL.set(tell);
}

/// Says that the program waits for another one.
pub(super) fn tell(text: &str) {
    if let Some(tell) = TELL.get() {
        tell(text);
    }
}

/// How long SQLite is made to wait between two tries for a lock, how many tries it has, and after
/// how many of them the user is told.
const PAUSE: Duration = Duration::from_millis(50);
const TRIES: i32 = 12_000;
const TOLD_AFTER: i32 = 40;

fn wait(tries: i32) -> bool {
    if tries == TOLD_AFTER {
        tell("another program has the results locked (a database browser?); waiting for it");
    }
    sleep(PAUSE);
    tries < TRIES
}
