//! Where models come from: a file, or an alias of the manifest kept in one cache folder.

mod manifest;
mod pull;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::{Digest, Sha256};

pub use manifest::{Entry, HubModel, Manifest, Part};
pub use pull::{Pip, Progress, PullError, pull};

use crate::runtime::{Level, RuntimeError, quantize};

/// The environment variable that overrides the cache folder.
pub const CACHE_VARIABLE: &str = "MIDLAYER_MODELS";

/// What went wrong finding a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Neither a file nor an alias.
    #[error("{name} is neither a file nor a model of the manifest ({known}) (-m)")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The aliases.
        known: String,
    },
    /// An alias that has not been pulled.
    #[error("model {0} is not here yet; run: midlayer pull {0}")]
    NotPulled(String),
    /// A level that does not exist.
    #[error("{0} (after the colon in -m)")]
    Level(String),
    /// The quantizer failed.
    #[error(transparent)]
    Quantize(#[from] RuntimeError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The cache folder: `MIDLAYER_MODELS`, or `midlayer/models` in the user's cache folder.
pub fn cache_folder() -> PathBuf {
    match std::env::var_os(CACHE_VARIABLE) {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ => dirs::cache_dir()
            .unwrap_or_else(std::env::temp_dir)
            .join("midlayer")
            .join("models"),
    }
}

/// The file of a model given as a path, as an alias, or as `alias:level` (or `path:level`),
/// which is requantized into the cache folder on first use, telling `say` about it.
///
/// # Errors
/// [`ModelError`].
pub fn resolve(name: &str, say: &mut dyn FnMut(&str)) -> Result<PathBuf, ModelError> {
    match source(name)? {
        (file, None) => Ok(file),
        (file, Some(level)) => requantized(&file, level, say),
    }
}

/// The file that a model's name stands for, and the level to which it is to be requantized.
///
/// # Errors
/// [`ModelError`].
pub fn source(name: &str) -> Result<(PathBuf, Option<Level>), ModelError> {
    if Path::new(name).is_file() {
        return Ok((name.into(), None));
    }
    let manifest = Manifest::builtin();
    let (base, level) = match name.rsplit_once(':') {
        Some((base, level)) => (
            base,
            Some(Level::from_str(level).map_err(ModelError::Level)?),
        ),
        None => (name, None),
    };
    let source = if Path::new(base).is_file() {
        PathBuf::from(base)
    } else if let Some(entry) = manifest.get(base) {
        let file = cache_folder().join(&entry.file);
        if !file.is_file() {
            return Err(ModelError::NotPulled(entry.alias.clone()));
        }
        file
    } else if base.ends_with(".gguf") || base.contains('/') {
        // Let the loader say that the file is missing.
        return Ok((base.into(), None));
    } else {
        let known: Vec<_> = manifest.models.iter().map(|e| e.alias.as_str()).collect();
        return Err(ModelError::Unknown {
            name: base.to_string(),
            known: known.join(", "),
        });
    };
    Ok((source, level))
}

fn requantized(
    source: &Path,
    level: Level,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, ModelError> {
    let folder = cache_folder();
    std::fs::create_dir_all(&folder).map_err(|source| ModelError::Io {
        path: folder.clone(),
        source,
    })?;
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    let target = folder.join(format!("{stem}.requantized-{level}.gguf"));
    let newer = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    if target.is_file() && newer(&target) >= newer(source) {
        return Ok(target);
    }
    say(&format!("requantizing {stem} to {level}"));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    quantize(source, &target, level, threads)?;
    Ok(target)
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// [`ModelError::Io`].
pub fn sha256(path: &Path) -> Result<String, ModelError> {
    let io = |source| ModelError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut file = File::open(path).map_err(io)?;
    let mut hash = Sha256::new();
    copy_hashed(&mut file, &mut std::io::sink(), &mut hash).map_err(io)?;
    Ok(hex(&hash.finalize()))
}

fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write, hash: &mut Sha256) -> std::io::Result<u64> {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
