//! Locks between processes.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Takes the lock at `path`, and tells `wait` first if another process holds it. The system
/// frees the lock when the file is dropped, or the process ends however it may. `None` where the
/// file system has no locks: then there is nobody to wait for.
///
/// # Errors
/// Where the file cannot be made.
pub fn lock(path: &Path, wait: impl FnOnce()) -> io::Result<Option<File>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::create(path)?;
    let locked = match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            wait();
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
    };
    match locked {
        Ok(()) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(error),
    }
}
