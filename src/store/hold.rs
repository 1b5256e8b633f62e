//! That one process at a time works on a run, whichever way it reaches the folder.
//!
//! Two guards. The kernel's lock on `.lock` ends with its process, but it may not be seen through
//! a network file system, or through another mount of the same folder. So the file `.in-use` says
//! who works on the run. It is made exclusively, which file systems promise where they promise
//! no lock, and it is read again before each commit. A killed process leaves it behind; the next
//! one takes it over where it can tell that the process has ended, and says what to do where it
//! cannot. On file systems of several machines a process gives a sign of life as long as it runs:
//! one that gives none for a minute has ended, or is about to find out that it was replaced.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

use super::StoreError;
use super::connection::tell;
use super::file_system::FileSystem;
use super::fresh::about;
use super::holder::{Holder, State};

/// The file with the kernel's lock.
pub(super) const LOCK: &str = ".lock";

/// The file that says who works on the run.
pub(super) const IN_USE: &str = ".in-use";

/// A run's folder, held by this process until this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    folder: PathBuf,
    holder: Holder,
    _lock: File,
    /// Ends with the hold.
    _beat: Option<Sender<()>>,
}

/// How often a sign of life is given, and how long another process waits for one.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    every: Duration,
    patience: Duration,
}

const PULSE: Pulse = Pulse {
    every: Duration::from_secs(10),
    patience: Duration::from_secs(60),
};

impl Hold {
    /// Takes a folder that is there.
    ///
    /// # Errors
    /// [`StoreError::Locked`] and [`StoreError::InUse`] for one that another process works on,
    /// [`StoreError::NoLocks`] where files cannot be locked.
    pub fn take(folder: &Path) -> Result<Self, StoreError> {
        Self::take_by(folder, PULSE)
    }

    fn take_by(folder: &Path, pulse: Pulse) -> Result<Self, StoreError> {
        let failed = |source| StoreError::of_io(folder, source);
        let system = FileSystem::of(folder).map_err(failed)?;
        let lock = File::create(folder.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(folder.into())),
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::NoLocks {
                    folder: folder.into(),
                    system: system.name,
                    reason: source.to_string(),
                });
            }
        }
        let holder = Holder::own(folder, &system);
        // Another process may make or remove the file between two looks at it.
        for _ in 0..3 {
            match mark(folder, &holder) {
                Ok(()) => {
                    let beat = holder.beats.then(|| beat(folder, &holder, pulse.every));
                    let hold = Self {
                        folder: folder.into(),
                        holder,
                        _lock: lock,
                        _beat: beat,
                    };
                    return hold.check().map(|()| hold);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
            let Some(found) = found(folder).map_err(failed)? else {
                continue;
            };
            match found.seen_by(&holder) {
                State::Over => clear(folder, &found).map_err(failed)?,
                State::Alive => return Err(StoreError::Locked(folder.into())),
                State::Unknown if found.beats && is_silent(folder, &found, pulse) => {
                    clear(folder, &found).map_err(failed)?;
                }
                State::Unknown => return Err(in_use(folder, &found)),
            }
        }
        Err(StoreError::Locked(folder.into()))
    }

    /// The file system that the folder lies on, if it is not a disk of this machine.
    pub fn network(&self) -> Option<&str> {
        (!self.holder.local).then_some(&self.holder.file_system)
    }

    /// That the folder is still this process's, which is noted for others to see.
    ///
    /// # Errors
    /// [`StoreError::TakenOver`].
    pub fn check(&self) -> Result<(), StoreError> {
        let path = self.folder.join(IN_USE);
        let taken = |by: Option<Holder>| {
            let who = by.map(|by| format!("by process {} on {}", by.process, by.host));
            StoreError::TakenOver {
                file: path.clone(),
                who: who.unwrap_or_else(|| "the file was deleted or moved".into()),
            }
        };
        let mut file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(taken(None)),
            Err(error) => return Err(StoreError::of_io(&self.folder, error)),
        };
        let mut text = String::new();
        file.read_to_string(&mut text)
            .map_err(|error| StoreError::of_io(&self.folder, error))?;
        match serde_json::from_str::<Holder>(&text) {
            Ok(by) if by == self.holder => {}
            other => return Err(taken(other.ok())),
        }
        // Only a sign of life: where it cannot be given, the folder is held all the same.
        let _ = file.set_modified(SystemTime::now());
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // What stays is taken over by the next process.
        let _ = clear(&self.folder, &self.holder);
    }
}

/// Gives signs of life until what is returned is dropped. They only say that the process runs: what
/// is stored is decided by [`Hold::check`].
fn beat(folder: &Path, holder: &Holder, every: Duration) -> Sender<()> {
    let (end, ended) = channel();
    let (path, holder) = (folder.join(IN_USE), holder.clone());
    thread::spawn(move || {
        while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            let file = File::options().read(true).write(true).open(&path);
            let Ok(mut file) = file else { continue };
            let mut text = String::new();
            let read = file.read_to_string(&mut text);
            let ours = serde_json::from_str::<Holder>(&text).is_ok_and(|by| by == holder);
            if read.is_ok() && ours {
                let _ = file.set_modified(SystemTime::now());
            }
        }
    });
    end
}

/// Whether a holder gives no sign of life for as long as one waits. Its own clock counts, and
/// whether it goes on.
fn is_silent(folder: &Path, holder: &Holder, pulse: Pulse) -> bool {
    let path = folder.join(IN_USE);
    let modified = || about(&path).ok().flatten()?.modified().ok();
    let first = modified();
    tell(&format!(
        "{} is in use by process {} on {}; waiting up to {} seconds for a sign of life",
        folder.display(),
        holder.process,
        holder.host,
        pulse.patience.as_secs()
    ));
    let begun = Instant::now();
    while begun.elapsed() < pulse.patience {
        thread::sleep(pulse.every / 10);
        if first.is_none() || modified() != first {
            return false;
        }
    }
    true
}

/// Makes the file that says who works on the run, where there is none.
fn mark(folder: &Path, holder: &Holder) -> io::Result<()> {
    let path = folder.join(IN_USE);
    let text = serde_json::to_string(holder).expect("plain data");
    let mut file = File::options().write(true).create_new(true).open(&path)?;
    let written = file.write_all(text.as_bytes()).and(file.sync_all());
    drop(file);
    written.inspect_err(|_| drop(fs::remove_file(&path)))
}

/// Who works on the run, as the file says. One that says nothing is being written, or was left by
/// a process that was killed while it wrote it; the latter is removed.
fn found(folder: &Path) -> io::Result<Option<Holder>> {
    let path = folder.join(IN_USE);
    for _ in 0..PATIENCE {
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        if let Ok(holder) = serde_json::from_slice(&text) {
            return Ok(Some(holder));
        }
        sleep(Duration::from_millis(20));
    }
    fs::remove_file(&path)?;
    Ok(None)
}

/// How often a file that says nothing is looked at, 20 ms apart. It is written at once after it
/// is made, and who makes it reads it again.
const PATIENCE: usize = 50;

/// Removes the file of a holder. It is put aside first: another process may have replaced it by
/// its own since it was read, and gets that back.
fn clear(folder: &Path, holder: &Holder) -> io::Result<()> {
    let path = folder.join(IN_USE);
    let aside = folder.join(format!("{IN_USE}-{}", std::process::id()));
    match fs::rename(&path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        done => done?,
    }
    let text = fs::read(&aside)?;
    if serde_json::from_slice::<Holder>(&text).is_ok_and(|found| found == *holder) {
        return fs::remove_file(&aside);
    }
    fs::rename(&aside, &path)
}

fn in_use(folder: &Path, found: &Holder) -> StoreError {
    let file = folder.join(IN_USE);
    let seen = fs::metadata(&file).and_then(|about| about.modified()).ok();
    let ago = seen.and_then(|seen| SystemTime::now().duration_since(seen).ok());
    StoreError::InUse {
        folder: folder.into(),
        holder: format!("process {} on {}", found.process, found.host),
        seen: match ago.map(|ago| ago.as_secs() / 60) {
            None => "at a time that is not known".into(),
            Some(0) => "less than a minute ago".into(),
            Some(1) => "1 minute ago".into(),
            Some(minutes) if minutes < 180 => format!("{minutes} minutes ago"),
            Some(minutes) => format!("{} hours ago", minutes / 60),
        },
        file,
    }
}

/// Who works on the run, in words, and when that was last seen at work.
pub(super) fn holder_of(folder: &Path) -> Option<(String, Option<SystemTime>)> {
    let path = folder.join(IN_USE);
    let holder: Holder = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    let seen = fs::metadata(&path).and_then(|about| about.modified());
    let who = format!("process {} on {}", holder.process, holder.host);
    Some((who, seen.ok()))
}

/// Whether a process that works on the run reaches the folder through something else than a disk
/// of its machine, or may do so.
pub(super) fn is_shared(folder: &Path) -> bool {
    let text = match fs::read(folder.join(IN_USE)) {
        Err(error) => return error.kind() != io::ErrorKind::NotFound,
        Ok(text) => text,
    };
    serde_json::from_slice::<Holder>(&text).map_or(true, |holder| !holder.local)
}

/// Whether a file's name is one of those made here.
pub(super) fn is_ours(name: &std::ffi::OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name == LOCK.as_bytes() || name.starts_with(IN_USE.as_bytes())
}

/// Removes the kernel's lock file of a folder that nothing was begun in.
pub(super) fn remove(folder: &Path) {
    let _ = fs::remove_file(folder.join(LOCK));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, holder: &Holder) {
        let text = serde_json::to_string(holder).unwrap();
        fs::write(folder.join(IN_USE), text).unwrap();
    }

    #[test]
    fn a_folder_has_one_holder_and_none_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let hold = Hold::take(folder.path()).unwrap();
        let second = Hold::take(folder.path());
        assert!(matches!(second, Err(StoreError::Locked(_))), "{second:?}");
        hold.check().unwrap();
        drop(hold);
        let left = fs::read_dir(folder.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [LOCK]);
        Hold::take(folder.path()).unwrap();
    }

    #[test]
    fn a_holder_that_may_run_elsewhere_is_left_alone_and_the_way_out_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = Hold::take(folder.path()).unwrap().holder.clone();
        let mut elsewhere = elsewhere.on_another_machine("far");
        // One of an older midlayer.
        elsewhere.beats = false;
        write(folder.path(), &elsewhere);
        let error = Hold::take(folder.path()).unwrap_err().to_string();
        let file = folder.path().join(IN_USE);
        for part in ["on far", "less than a minute ago", file.to_str().unwrap()] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(found(folder.path()).unwrap(), Some(elsewhere));
        fs::remove_file(file).unwrap();
        Hold::take(folder.path()).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let before = Hold::take(folder.path()).unwrap().holder.clone();
        write(folder.path(), &before);
        Hold::take(folder.path()).unwrap().check().unwrap();
        fs::write(folder.path().join(IN_USE), "").unwrap();
        Hold::take(folder.path()).unwrap().check().unwrap();
    }

    #[test]
    fn a_silent_holder_elsewhere_is_taken_over_and_one_that_lives_is_not() {
        let pulse = Pulse {
            every: Duration::from_millis(10),
            patience: Duration::from_millis(100),
        };
        let folder = tempfile::tempdir().unwrap();
        let mut dead = Hold::take(folder.path())
            .unwrap()
            .holder
            .on_another_machine("far");
        dead.beats = true;
        write(folder.path(), &dead);
        let alive = beat(folder.path(), &dead, pulse.every);
        let error = Hold::take_by(folder.path(), pulse).unwrap_err().to_string();
        assert!(error.contains("on far"), "{error}");
        drop(alive);
        let hold = Hold::take_by(folder.path(), pulse).unwrap();
        hold.check().unwrap();
        // What was taken for dead and wakes up stores nothing more, and gives no sign.
        let before = fs::metadata(folder.path().join(IN_USE)).unwrap().modified();
        let woken = beat(folder.path(), &dead, Duration::from_millis(1));
        let other = Hold {
            holder: dead.clone(),
            folder: folder.path().into(),
            _lock: File::create(folder.path().join("another")).unwrap(),
            _beat: Some(woken),
        };
        assert!(matches!(other.check(), Err(StoreError::TakenOver { .. })));
        drop(other);
        let after = fs::metadata(folder.path().join(IN_USE)).unwrap().modified();
        assert_eq!(before.unwrap(), after.unwrap());
        hold.check().unwrap();
    }

    #[test]
    fn a_holder_notices_that_another_took_over() {
        let folder = tempfile::tempdir().unwrap();
        let hold = Hold::take(folder.path()).unwrap();
        let other = hold.holder.on_another_machine("far");
        write(folder.path(), &other);
        let error = hold.check().unwrap_err().to_string();
        assert!(error.contains("on far"), "{error}");
        drop(hold);
        assert_eq!(
            found(folder.path()).unwrap(),
            Some(other),
            "not ours to remove"
        );
        let file = folder.path().join(IN_USE);
        fs::remove_file(&file).unwrap();
        let hold = Hold::take(folder.path()).unwrap();
        fs::remove_file(file).unwrap();
        let error = hold.check().unwrap_err().to_string();
        assert!(error.contains("deleted or moved"), "{error}");
    }
}
