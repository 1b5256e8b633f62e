//! What a file system of several machines says of files, asked of its server.
//!
//! The kernel keeps what it was told of a path for a second (FUSE), sshfs for twenty, NFS for up
//! to a minute. SQLite asks by path whether there is a journal and whether it is empty. On what
//! was kept it would pass over the journal that a killed process left a moment ago, or fail to
//! open one that was there a moment ago. Opening a file is what these file systems ask the server
//! for.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::DATABASE;

/// What SQLite looks for in a folder.
const SUFFIXES: [&str; 3] = ["", "-wal", "-journal"];

/// How often is looked, and the pause between: longer than sshfs keeps what it was told.
const LOOKS: usize = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until paths say of a database and of what SQLite keeps beside it what the server says.
/// The folder is to be held, so that no process writes meanwhile.
///
/// # Errors
/// The file system's, or that it has not come about.
pub(super) fn settle(folder: &Path) -> io::Result<()> {
    for _ in 0..LOOKS {
        if settled(folder)? {
            return Ok(());
        }
        sleep(PAUSE);
    }
    Err(io::Error::new(
        ErrorKind::TimedOut,
        "the file system says of a file what its server does not; repeat the command",
    ))
}

fn settled(folder: &Path) -> io::Result<bool> {
    // A name that was not there is looked for again once its folder is known to have changed.
    if let Ok(folder) = File::open(folder) {
        ask(&folder)?;
    }
    for suffix in SUFFIXES {
        let path = folder.join(format!("{DATABASE}{suffix}"));
        let length = |about: Metadata| about.len();
        if about(&path)?.map(length) != found(fs::metadata(&path))?.map(length) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the server says of a file, `None` where there is none. To be asked only while SQLite
/// holds no lock on it: closing the file would drop the lock.
///
/// # Errors
/// The file system's.
pub(super) fn about(path: &Path) -> io::Result<Option<Metadata>> {
    let Some(file) = found(File::open(path))? else {
        return Ok(None);
    };
    ask(&file)?;
    file.metadata().map(Some)
}

/// Has the kernel ask for what it keeps of a file, where it can be told to.
fn ask(file: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, StatxFlags, statx};
        use rustix::io::Errno;
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
        match statx(file, "", flags, StatxFlags::BASIC_STATS) {
            // Some sandboxes know no such call.
            Ok(_) | Err(Errno::NOSYS | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let _ = file;
    Ok(())
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
