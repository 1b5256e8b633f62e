//! Runs as they lie: whole, or in parts.

use std::path::{Path, PathBuf};

use super::{ShardError, Shards};
use crate::store::{DATABASE, Glance, SHARDS, StoreError, StoredRun, merge};

/// A run that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its parts are not those of one run.
    #[error(transparent)]
    Shards(#[from] ShardError),
    /// Its results.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no room for what parts are put together in.
    #[error("parts cannot be put together in {folder}: {reason}; set TMPDIR to a folder with room")]
    Room {
        /// The folder.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Reads the run in a folder: the one that is stored in it, or else the union of its parts, which
/// is made for the moment and written nowhere.
///
/// # Errors
/// [`ReadError`].
pub fn read(folder: &Path) -> Result<StoredRun, ReadError> {
    let shards = match folder.join(DATABASE).is_file() {
        true => None,
        false => Shards::of(folder)?,
    };
    let Some(shards) = shards else {
        return Ok(StoredRun::read(folder)?);
    };
    let whole = tempfile::tempdir().map_err(|error| ReadError::Room {
        folder: std::env::temp_dir(),
        reason: error.to_string(),
    })?;
    merge(whole.path(), &shards.folders())?;
    let mut run = StoredRun::read(whole.path())?;
    run.folder = folder.to_path_buf();
    Ok(run)
}

/// Looks at the run in a folder, whole or in parts, without reading its results.
///
/// # Errors
/// [`ReadError`].
pub fn glance(folder: &Path) -> Result<Glance, ReadError> {
    let shards = match folder.join(DATABASE).is_file() {
        true => None,
        false => Shards::of(folder)?,
    };
    let Some(shards) = shards else {
        return Ok(Glance::of(folder)?);
    };
    let parts = shards.folders();
    let parts = parts.iter().map(|part| Glance::of(part));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let whole = parts.into_iter().reduce(Glance::and);
    Ok(whole.ok_or_else(|| StoreError::NotBegun(folder.to_path_buf()))?)
}

/// The folder itself, if it holds a run, and those of its subfolders that do, by name. A folder
/// that is not there holds none.
///
/// # Errors
/// The system's.
pub fn runs_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_path_buf()];
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                folders.push(entry?.path());
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    folders.retain(|folder| folder.join(DATABASE).is_file() || folder.join(SHARDS).is_dir());
    folders.sort();
    Ok(folders)
}

/// What the parts of a run hold that the run stored beside them has not; 0 where there are none.
///
/// # Errors
/// [`ReadError`].
pub fn not_merged(folder: &Path) -> Result<usize, ReadError> {
    let (true, Some(shards)) = (folder.join(DATABASE).is_file(), Shards::of(folder)?) else {
        return Ok(0);
    };
    let stored = Glance::of(folder)?.stored();
    let parts = shards.folders();
    let parts = parts.iter().map(|part| Glance::of(part));
    let in_parts: usize = parts
        .map(|part| part.map(|part| part.stored()))
        .sum::<Result<_, _>>()?;
    Ok(in_parts.saturating_sub(stored))
}

/// A part of a run that is not complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// Its number.
    pub number: u32,
    /// What it has, if it has been begun.
    pub begun: Option<Glance>,
}

impl Shards {
    /// The folders of the parts, in the run's own order.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.begun.values().cloned().collect()
    }

    /// The parts that are not complete.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn gaps(&self) -> Result<Vec<Gap>, StoreError> {
        let mut gaps = Vec::new();
        for number in 1..=self.count {
            let begun = self.begun.get(&number);
            let begun = begun.map(|folder| Glance::of(folder)).transpose()?;
            if begun.as_ref().is_none_or(|glance| !glance.is_complete()) {
                gaps.push(Gap { number, begun });
            }
        }
        Ok(gaps)
    }
}
