//! A model's files, held open, and what the model is by their contents.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ModelError;
use crate::files::{Held, HeldError, Remember, cache_folder, hex};
use crate::runtime::model_parts;

/// All files of a model: one, or several parts.
#[derive(Debug)]
pub struct ModelFiles {
    path: PathBuf,
    parts: Vec<Held>,
    sha256: String,
}

impl ModelFiles {
    /// Opens and hashes the files of the model whose only or first file is `path`. Hashes are
    /// remembered, see [`Held::open`].
    ///
    /// # Errors
    /// [`ModelError`] for a file or a part that is missing, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::open_in(path, &cache_folder(), Remember::Hash)
    }

    /// The same with hashes looked up in a folder of one's own, and remembered there or not.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(path: &Path, cache: &Path, keep: Remember) -> Result<Self, ModelError> {
        let parts = model_parts(path)?;
        let parts = parts.iter().map(|part| Held::open_in(part, cache, keep));
        let parts: Vec<Held> = parts.collect::<Result<_, _>>()?;
        let sha256 = match &parts[..] {
            [whole] => whole.sha256().to_string(),
            parts => {
                let lines = parts.iter().map(|part| format!("{}\n", part.sha256()));
                hex(&Sha256::digest(lines.collect::<String>()))
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            parts,
            sha256,
        })
    }

    /// What the model is: the SHA-256 of its file in hexadecimal; of several parts that of
    /// their SHA-256 in hexadecimal, in order, each on a line of its own (`sha256sum PARTS |
    /// cut -c1-64 | sha256sum`).
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The SHA-256 of each part of a model in parts; empty for a model in one file.
    pub fn parts(&self) -> Vec<String> {
        match &self.parts[..] {
            [_] => Vec::new(),
            parts => parts.iter().map(|p| p.sha256().to_string()).collect(),
        }
    }

    /// Size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(Held::bytes).sum()
    }

    /// Fails unless the files are where they were and what they were: what was loaded from their
    /// paths since they were opened is what was hashed.
    ///
    /// # Errors
    /// [`HeldError::Changed`].
    pub fn check_paths(&self) -> Result<(), HeldError> {
        self.parts.iter().try_for_each(Held::check_path)
    }

    /// Fails if a file was written to since it was opened: a model is mapped from its files, so
    /// what is computed from it since is worth nothing.
    ///
    /// # Errors
    /// [`HeldError::Changed`].
    pub fn check_contents(&self) -> Result<(), HeldError> {
        self.parts.iter().try_for_each(Held::check_contents)
    }

    /// Fails unless this is the model with that [`sha256`](Self::sha256).
    ///
    /// # Errors
    /// [`HeldError::Another`].
    pub fn expect(&self, sha256: &str) -> Result<(), HeldError> {
        HeldError::unless_same(&self.path, &self.sha256, sha256)
    }
}
