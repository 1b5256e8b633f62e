//! Files by their contents: what was hashed is what is read later, or it is an error.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{cache_folder, replace};

/// A file is not what it was, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    /// It could not be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was replaced, or written to, while this program used it.
    #[error(
        "{0} was replaced or written to while it was in use; nothing was stored of it since: put the file back and repeat the command, or begin another run with the new file (`out`)"
    )]
    Changed(PathBuf),
    /// It holds something else than when the run was begun.
    #[error(
        "{path} is another file than at the beginning of the run (SHA-256 {found}, it was {expected}): put the file back and repeat the command to go on, or begin another run with the new file (`out`)"
    )]
    Another {
        /// The file.
        path: PathBuf,
        /// The SHA-256 that it has.
        found: String,
        /// The SHA-256 that it had.
        expected: String,
    },
}

impl HeldError {
    /// [`HeldError::Another`] unless what was found is what was expected.
    pub(crate) fn unless_same(path: &Path, found: &str, expected: &str) -> Result<(), Self> {
        if found == expected {
            return Ok(());
        }
        Err(Self::Another {
            path: path.to_path_buf(),
            found: found.to_string(),
            expected: expected.to_string(),
        })
    }
}

/// What tells a file from another that takes its place, and from itself once it is written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Version {
    path: PathBuf,
    device: u64,
    inode: u64,
    bytes: u64,
    /// Nanoseconds since 1970 of the last write.
    modified: u64,
    /// Nanoseconds since 1970 of the last change of anything, its name included.
    changed: u64,
}

impl Version {
    fn of(path: &Path, about: &Metadata) -> Self {
        let modified = about.modified().unwrap_or(UNIX_EPOCH);
        let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut version = Self {
            path: path.to_path_buf(),
            device: 0,
            inode: 0,
            bytes: about.len(),
            modified: modified.as_nanos() as u64,
            changed: 0,
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            version.device = about.dev();
            version.inode = about.ino();
            let changed =
                i128::from(about.ctime()) * 1_000_000_000 + i128::from(about.ctime_nsec());
            version.changed = changed as u64;
        }
        version
    }
}

/// A file held open, with the SHA-256 of what it contains.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    file: File,
    version: Version,
    sha256: String,
}

/// Whether the hash of a file that is not known yet is kept for the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remember {
    /// It is kept in the cache folder.
    Hash,
    /// Nothing is written.
    Nothing,
}

/// What is remembered of a file that was hashed.
#[derive(Serialize, Deserialize)]
struct Remembered {
    version: Version,
    sha256: String,
}

/// A file that was written to so shortly before it was hashed could be written to again without
/// a new time on file systems that count in whole seconds. Its hash is not remembered.
const FRESH: Duration = Duration::from_secs(3);

impl Held {
    /// Opens a file and hashes it. The hash is remembered in the cache folder by path, size,
    /// times and inode, so that a large file is read once.
    ///
    /// # Errors
    /// [`HeldError::Io`], and [`HeldError::Changed`] for a file that is being written.
    pub fn open(path: &Path) -> Result<Self, HeldError> {
        Self::open_in(path, &cache_folder(), Remember::Hash)
    }

    /// The same with hashes looked up in a folder of one's own, and remembered there or not.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(path: &Path, cache: &Path, keep: Remember) -> Result<Self, HeldError> {
        let failed = |source| HeldError::Io {
            path: path.to_path_buf(),
            source,
        };
        let whole = path.canonicalize().map_err(failed)?;
        // A pipe would be empty the second time, and a device has no end.
        if !fs::metadata(&whole).map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let mut file = File::open(&whole).map_err(failed)?;
        let version = Version::of(&whole, &file.metadata().map_err(failed)?);
        let memory = memory(cache, &whole);
        let sha256 = match recall(&memory, &version) {
            Some(known) => known,
            None => {
                let begun = SystemTime::now();
                let sha256 = hash(&mut file).map_err(failed)?;
                let after = Version::of(&whole, &file.metadata().map_err(failed)?);
                if after != version {
                    return Err(HeldError::Changed(path.to_path_buf()));
                }
                if keep == Remember::Hash && is_settled(&version, begun) {
                    remember(&memory, &version, &sha256);
                }
                sha256
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            file,
            version,
            sha256,
        })
    }

    /// The SHA-256 of the contents, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Fails unless the file has that SHA-256.
    ///
    /// # Errors
    /// [`HeldError::Another`].
    pub fn expect(&self, sha256: &str) -> Result<(), HeldError> {
        HeldError::unless_same(&self.path, &self.sha256, sha256)
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.version.bytes
    }

    /// Fails unless the path still means this file and nothing was written to it: what another
    /// reader of the path has read meanwhile is what was hashed.
    ///
    /// # Errors
    /// [`HeldError::Changed`].
    pub fn check_path(&self) -> Result<(), HeldError> {
        let now = self.path.canonicalize().and_then(|whole| {
            let about = fs::metadata(&whole)?;
            Ok(Version::of(&whole, &about))
        });
        match now {
            Ok(now) if now == self.version => Ok(()),
            _ => Err(HeldError::Changed(self.path.clone())),
        }
    }

    /// Fails if the file was written to since it was hashed. Another file may have taken its
    /// place meanwhile: a program that has this one open or mapped goes on reading this one.
    ///
    /// # Errors
    /// [`HeldError::Changed`].
    pub fn check_contents(&self) -> Result<(), HeldError> {
        let now = self.file.metadata();
        let same =
            |now: Version| (now.bytes, now.modified) == (self.version.bytes, self.version.modified);
        match now {
            Ok(now) if same(Version::of(&self.version.path, &now)) => Ok(()),
            _ => Err(HeldError::Changed(self.path.clone())),
        }
    }
}

fn hash(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut hash = Sha256::new();
    copy_hashed(file, &mut io::sink(), &mut hash)?;
    Ok(hex(&hash.finalize()))
}

/// Copies and hashes; returns the number of bytes.
pub fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write, hash: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0u8; 1 << 20];
    let mut total = 0;
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            return Ok(total);
        }
        hash.update(&buffer[..n]);
        to.write_all(&buffer[..n])?;
        total += n as u64;
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Where the hash of a file is remembered.
fn memory(cache: &Path, whole: &Path) -> PathBuf {
    let name = Sha256::digest(whole.as_os_str().as_encoded_bytes());
    cache.join("hashes").join(hex(&name))
}

fn recall(memory: &Path, version: &Version) -> Option<String> {
    let text = fs::read_to_string(memory).ok()?;
    let remembered: Remembered = serde_json::from_str(&text).ok()?;
    (remembered.version == *version).then_some(remembered.sha256)
}

/// Without it the file is read again, which is all.
fn remember(memory: &Path, version: &Version, sha256: &str) {
    let remembered = Remembered {
        version: version.clone(),
        sha256: sha256.to_string(),
    };
    // A path that is not UTF-8 cannot be written as JSON, and is not remembered.
    let Ok(text) = serde_json::to_string(&remembered) else {
        return;
    };
    if let Some(folder) = memory.parent() {
        let _ = fs::create_dir_all(folder).and_then(|()| replace(memory, &text));
    }
}

fn is_settled(version: &Version, now: SystemTime) -> bool {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(version.modified)) > FRESH
}
