//! Results in SQLite: one folder a run, one transaction for items that ran together, resumed by key.

mod notes;
mod part;
mod read;
mod write;

use std::path::PathBuf;

pub use notes::Notes;
pub use part::{ItemRow, Part, Row, Unit};
pub use read::{ResultRow, StoredItem, StoredRun, StoredVariant};
pub use write::Store;

/// The database's file name within a run's folder.
pub const DATABASE: &str = "results.sqlite";

/// The layout of the tables; a database of another version is refused.
pub const SCHEMA_VERSION: u32 = 3;

/// What can go wrong with a run's folder.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum StoreError {
    #[error("output folder {path} cannot be written: {source} (--out)")]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{0} is in use by another midlayer; wait for it or choose another folder (--out)")]
    Locked(PathBuf),
    #[error(
        "{folder} holds another run: {difference}; choose another folder (--out), or repeat the command it was begun with"
    )]
    AnotherRun { folder: PathBuf, difference: String },
    #[error("{0} is not empty and holds no run of midlayer; choose another folder (--out)")]
    Foreign(PathBuf),
    #[error(
        "{folder} was written with layout {found}, this program knows {SCHEMA_VERSION}; use the program it was made with, or another folder (--out)"
    )]
    Schema { folder: PathBuf, found: String },
    #[error("{0} holds no run: there is no results.sqlite")]
    NoRun(PathBuf),
    #[error(
        "no space is left for the results in {folder} ({reason}): free some space, then repeat the command to go on where it stopped, or choose another folder (--out)"
    )]
    Full { folder: PathBuf, reason: String },
    #[error(
        "the results in {folder} could not be read or written ({reason}): see that the disk works, has space and may be written to, then repeat the command to go on where it stopped, or choose another folder (--out)"
    )]
    Disk { folder: PathBuf, reason: String },
    #[error("the database in {folder} failed: {source} (--out)")]
    Database {
        folder: PathBuf,
        source: rusqlite::Error,
    },
    #[error(
        "the database in {folder} is damaged: {what}; restore it from a copy, or choose another folder (--out)"
    )]
    Damaged { folder: PathBuf, what: String },
}

/// Sorts a database error into what the user can do about it.
fn database(folder: &std::path::Path) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseCorrupt, DiskFull, NotADatabase, PermissionDenied, ReadOnly,
        SystemIoFailure,
    };
    move |source| {
        let folder = folder.to_path_buf();
        let reason = source.to_string();
        match source.sqlite_error_code() {
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
