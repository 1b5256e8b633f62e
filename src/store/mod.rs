//! Results in SQLite: one folder a run, one transaction for items that ran together, resumed by key.

mod connection;
mod file_system;
mod fresh;
mod glance;
mod guard;
mod hold;
mod holder;
mod layout;
mod machine;
mod merge;
mod missing;
mod notes;
mod opened;
mod part;
mod read;
mod rows;
mod scratch;
mod write;

use std::path::{Path, PathBuf};

pub use connection::tell_waits;
pub use glance::{Glance, Glanced};
pub use machine::Machine;
pub use merge::{Merged, Taken, merge};
pub use missing::Missing;
pub use notes::{Notes, OfShard, Planned};
pub use part::Part;
pub use read::{StoredItem, StoredRun, StoredVariant};
pub use rows::{ResultRow, StoredCell};
pub use scratch::PUBLISHED_EVERY;
pub use write::{Machines, Opening, Store};

use crate::hook::Sabotage;
use file_system::FileSystem;

/// The database's file name within a run's folder.
pub const DATABASE: &str = "results.sqlite";

/// The folder of a run's parts within the run's folder.
pub const SHARDS: &str = "shards";

/// The layout of the tables.
pub const SCHEMA_VERSION: u32 = 5;

/// Layouts that can be read and gone on with; a database of another one is refused. (Before 4,
/// cells had no parameters. Before 5, results did not say in which session they were computed.)
const READABLE: [u32; 3] = [3, 4, SCHEMA_VERSION];

/// What can go wrong with a run's folder.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum StoreError {
    #[error("output folder {path} cannot be written: {source} (`out`)")]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{0} is in use by another midlayer; wait for it or choose another folder (`out`)")]
    Locked(PathBuf),
    #[error(
        "{folder} is in use by {holder}, which was seen at work {seen}; from here it cannot be told whether it still runs: if it has ended, delete {file} and repeat the command, else wait for it or choose another folder (`out`)"
    )]
    InUse {
        folder: PathBuf,
        holder: String,
        seen: String,
        file: PathBuf,
    },
    #[error(
        "another process works on the run now ({who}: {file}), so nothing more is stored: let one of them end, then repeat the command to go on where it stopped (`out`)"
    )]
    TakenOver { file: PathBuf, who: String },
    #[error(
        "another program wrote to the results in {0} while they were in use, so nothing more is stored: see that nothing else writes there, then repeat the command to go on where it stopped (`out`)"
    )]
    Written(PathBuf),
    #[error(
        "files cannot be locked in {folder} (file system: {system}; {reason}), and without locks two programs could destroy the results: choose a folder on another disk (`out`), or have the file system mounted with locks (Lustre: -o flock; NFS: with its lock service)"
    )]
    NoLocks {
        folder: PathBuf,
        system: String,
        reason: String,
    },
    #[error(
        "another program has kept the results in {0} locked for ten minutes: close it, then repeat the command to go on where it stopped (`out`)"
    )]
    Busy(PathBuf),
    #[error(
        "{folder} holds another run: {difference}; choose another folder (`out`), or repeat the command it was begun with"
    )]
    AnotherRun { folder: PathBuf, difference: String },
    #[error(
        "{part} is no part of the run in {out}: {difference}; leave it out, or merge it into another folder"
    )]
    AnotherPart {
        part: PathBuf,
        out: PathBuf,
        difference: String,
    },
    #[error(
        "{result}: {part} has {found}, and {out} has {stored}; find out which of them is right, and leave the other out"
    )]
    TwoResults {
        part: PathBuf,
        out: PathBuf,
        result: String,
        stored: String,
        found: String,
    },
    #[error("a manipulation is broken on purpose ({0}): its results are not stored")]
    Sabotaged(Sabotage),
    #[error("{0} is not empty and holds no run of midlayer; choose another folder (`out`)")]
    Foreign(PathBuf),
    #[error(
        "{folder} was written with layout {found}, this program knows {SCHEMA_VERSION}; use the program it was made with, or another folder (`out`)"
    )]
    Schema { folder: PathBuf, found: String },
    #[error("{0} holds no run: there is no results.sqlite")]
    NoRun(PathBuf),
    #[error("the run in {0} is only being begun; repeat the command in a moment")]
    NotBegun(PathBuf),
    #[error(
        "no space is left for the results in {folder} ({reason}): free some space, then repeat the command to go on where it stopped, or choose another folder (`out`)"
    )]
    Full { folder: PathBuf, reason: String },
    #[error(
        "the results in {folder} could not be read or written ({reason}): see that the disk works, has space and may be written to, then repeat the command to go on where it stopped, or choose another folder (`out`)"
    )]
    Disk { folder: PathBuf, reason: String },
    #[error(
        "{0} was deleted, moved or replaced while the run was written to it, so what it is given now is lost: put the file back, or choose another folder (`out`), then repeat the command"
    )]
    Gone(PathBuf),
    #[error(
        "{path} takes no results ({source}): see that it has space and may be written to, or choose another folder (`scratch`)"
    )]
    Scratch {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "the last results are not in {folder} ({reason}): they are kept in {kept}; put that file in the place of {folder}/results.sqlite before you repeat the command, or they are computed again"
    )]
    Unpublished {
        folder: PathBuf,
        kept: PathBuf,
        reason: Box<StoreError>,
    },
    #[error("the database in {folder} failed: {source} (`out`)")]
    Database {
        folder: PathBuf,
        source: rusqlite::Error,
    },
    #[error(
        "the database in {folder} is damaged: {what}; restore it from a copy, or choose another folder (`out`)"
    )]
    Damaged { folder: PathBuf, what: String },
}

impl StoreError {
    /// Sorts an error of the file system into what the user can do about it.
    fn of_io(folder: &Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let folder = folder.to_path_buf();
        match source.kind() {
            StorageFull | QuotaExceeded => StoreError::Full {
                folder,
                reason: source.to_string(),
            },
            _ => StoreError::Folder {
                path: folder,
                source,
            },
        }
    }

    /// The same where it is about a working folder.
    fn of_scratch(self) -> Self {
        match self {
            StoreError::Full { folder, reason } | StoreError::Disk { folder, reason } => {
                StoreError::Scratch {
                    path: folder,
                    source: std::io::Error::other(reason),
                }
            }
            StoreError::Folder { path, source } => StoreError::Scratch { path, source },
            error => error,
        }
    }

    /// Whether a disk has failed or is full, and neither the run nor the command is at fault.
    fn is_of_disk(&self) -> bool {
        use StoreError::{Disk, Folder, Full};
        matches!(self, Folder { .. } | Full { .. } | Disk { .. })
    }

    /// Whether another process works on the run, whose files are to be left alone.
    fn is_about_another(&self) -> bool {
        use StoreError::{InUse, Locked, TakenOver};
        matches!(self, Locked(_) | InUse { .. } | TakenOver { .. })
    }
}

/// Sorts a database error into what the user can do about it.
fn database(folder: &Path) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DiskFull, NotADatabase, PermissionDenied,
        ReadOnly, SystemIoFailure,
    };
    move |source| {
        let reason = source.to_string();
        let extended = source.sqlite_error().map(|error| error.extended_code);
        if extended.is_some_and(|code| LOCK_ERRORS.contains(&code)) {
            let system = FileSystem::of(folder).map_or("unknown".into(), |system| system.name);
            return StoreError::NoLocks {
                folder: folder.to_path_buf(),
                system,
                reason,
            };
        }
        let folder = folder.to_path_buf();
        match source.sqlite_error_code() {
            Some(DatabaseBusy) => StoreError::Busy(folder),
            Some(DiskFull) => StoreError::Full { folder, reason },
            Some(SystemIoFailure | CannotOpen | ReadOnly | PermissionDenied) => {
                StoreError::Disk { folder, reason }
            }
            Some(DatabaseCorrupt | NotADatabase) => StoreError::Damaged {
                folder,
                what: reason,
            },
            _ => StoreError::Database { folder, source },
        }
    }
}

/// What SQLite fails with where the file system cannot lock.
const LOCK_ERRORS: [i32; 4] = [
    rusqlite::ffi::SQLITE_IOERR_LOCK,
    rusqlite::ffi::SQLITE_IOERR_RDLOCK,
    rusqlite::ffi::SQLITE_IOERR_UNLOCK,
    rusqlite::ffi::SQLITE_IOERR_CHECKRESERVEDLOCK,
];
