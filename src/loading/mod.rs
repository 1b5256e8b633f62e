//! From a model's name to a loaded model. A file that has not loaded before is tried in a process
//! of its own first.

mod check;
mod process;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use check::{CheckError, Settings, check, tried};

use crate::hub::HubError;
use crate::models::{HeldError, ModelError, ModelFiles, Remember, cache_folder, resolve, source};
use crate::runtime::{Model, RuntimeError};

/// A model that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such model, or not here.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its file does not load.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// llama.cpp refuses it.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Its file was replaced meanwhile.
    #[error(transparent)]
    Held(#[from] HeldError),
    /// The hub.
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl LoadError {
    /// Whether another model should be asked for, and nothing has failed.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Model(ModelError::Unknown { .. } | ModelError::Level(_))
        )
    }
}

/// A loaded model, and what it is by its contents.
pub struct Tried {
    /// The model.
    pub model: Arc<Model>,
    /// Its files.
    pub files: Arc<ModelFiles>,
}

/// The file of a model given as a path, as an alias, or as either with a level (`alias:q8_0`),
/// requantized where that asks for it. `say` is told what takes time.
///
/// # Errors
/// [`LoadError`].
pub fn find(name: &str, say: &mut dyn FnMut(&str)) -> Result<PathBuf, LoadError> {
    if let (file, Some(_)) = source(name)? {
        let files = ModelFiles::open(&file)?;
        check(&file, &files, &Settings::default(), Remember::Hash, say)?;
    }
    Ok(resolve(name, say)?)
}

/// Loads a model's file, after it was tried. What is loaded is what was hashed.
///
/// # Errors
/// [`LoadError`].
pub fn load(
    path: &Path,
    settings: &Settings,
    keep: Remember,
    say: &mut dyn FnMut(&str),
) -> Result<Tried, LoadError> {
    let files = ModelFiles::open_in(path, &cache_folder(), keep)?;
    check(path, &files, settings, keep, say)?;
    let model = Model::load(path, &settings.model())?;
    files.check_paths()?;
    Ok(Tried {
        model: Arc::new(model),
        files: Arc::new(files),
    })
}
