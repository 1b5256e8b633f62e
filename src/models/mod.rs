//! Where models come from: a file, or an alias of the manifest kept in one cache folder.

mod files;
mod manifest;
mod pull;
mod requantized;

use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use crate::files::{CACHE_VARIABLE, Held, HeldError, Remember, cache_folder};
pub use files::ModelFiles;
pub use manifest::{Entry, HubModel, Manifest, Part};
pub use pull::{Pip, Progress, PullError, pull};
pub use requantized::{requantize, requantized, requantized_copies, requantized_copy};

use crate::runtime::{Level, RuntimeError};

/// What went wrong finding a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Neither a file nor an alias.
    #[error("{name} is neither a file nor a model of the manifest ({known}) (`model`)")]
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
    #[error("{0} (after the colon in `model`)")]
    Level(String),
    /// The model is not whole, or the quantizer failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A file is not what it was.
    #[error(transparent)]
    Held(#[from] HeldError),
    /// No room for a copy.
    #[error(
        "no space is left in {folder} for {name} requantized to {level} ({source}): free some, or choose a folder that has it (MIDLAYER_MODELS, or `out` where files are quantized)"
    )]
    NoSpace {
        /// Where it should go.
        folder: PathBuf,
        /// The model.
        name: String,
        /// The level.
        level: Level,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The file of a model given as a path, as an alias, or as `alias:level` (or `path:level`),
/// which is requantized into the cache folder on first use, telling `say` about it.
///
/// # Errors
/// [`ModelError`].
pub fn resolve(name: &str, say: &mut dyn FnMut(&str)) -> Result<PathBuf, ModelError> {
    match source(name)? {
        (file, None) => Ok(file),
        (file, Some(level)) => requantized(&cache_folder(), &file, level, say),
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
