//! Whether a run's database is still the file that was opened: one that was deleted, moved or
//! replaced takes what is written to it along, and SQLite does not say so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;

/// An open file as its path named it. It is never opened again to look: closing a second handle
/// would drop the locks that SQLite holds on it.
#[derive(Debug)]
pub(super) struct Opened {
    path: PathBuf,
    file: FileId,
}

/// What tells a file apart from others that had its path.
#[derive(Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    #[cfg(unix)]
    fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(path)?;
        Ok(Self {
            device: found.dev(),
            number: found.ino(),
        })
    }

    /// Where files have no numbers, only that one is there.
    #[cfg(not(unix))]
    fn of(path: &Path) -> io::Result<Self> {
        let _ = fs::metadata(path)?;
        Ok(Self {
            device: 0,
            number: 0,
        })
    }
}

impl Opened {
    /// The file at `path`, which is open.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            file: FileId::of(&path)?,
            path,
        })
    }

    /// That the path still leads to the file.
    ///
    /// # Errors
    /// [`StoreError::Gone`] when it does not; the disk's where that cannot be told.
    pub fn check(&self) -> Result<(), StoreError> {
        match FileId::of(&self.path) {
            Ok(found) if found == self.file => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::of_io(&self.path, error))
            }
            _ => Err(StoreError::Gone(self.path.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_file_that_was_moved_or_replaced_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "a").unwrap();
        let opened = Opened::new(path.clone()).unwrap();
        fs::write(&path, "written to").unwrap();
        opened.check().unwrap();
        let gone = || matches!(opened.check(), Err(StoreError::Gone(at)) if at == path);
        fs::rename(&path, folder.path().join("b")).unwrap();
        assert!(gone(), "moved");
        fs::write(&path, "a").unwrap();
        assert!(gone(), "replaced");
        fs::rename(folder.path().join("b"), &path).unwrap();
        opened.check().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(gone(), "deleted");
    }
}
