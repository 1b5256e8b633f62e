//! What manipulations need besides the prompts: files of directions, texts of means.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::directions::{DirectionError, layers_of, read_directions};
use crate::files::{Held, HeldError};
use crate::intervention::{Kind, Needs};
use crate::runtime::Facts;
use crate::tasks::DataSource;

/// The files of a specification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outside {
    /// The directions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub direction: Option<DirectionSource>,
    /// The texts over which means are taken.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mean_of: Option<DataSource>,
    /// The text whose keys and values are spliced in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scaffold: Option<DataSource>,
}

/// Files as a user names them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'a> {
    /// Directions.
    pub direction: Option<&'a Path>,
    /// Texts over which means are taken.
    pub mean_of: Option<&'a Path>,
    /// A scaffold text.
    pub scaffold: Option<&'a Path>,
}

impl Files<'_> {
    /// The setting that a manipulation needs and that is not given.
    pub fn lack(&self, kind: Kind) -> Option<&'static str> {
        let needs = kind.manipulation().needs();
        let lacks = match needs {
            Needs::Direction => self.direction.is_none(),
            Needs::Mean => self.mean_of.is_none(),
            Needs::Scaffold => self.scaffold.is_none(),
            Needs::Nothing | Needs::Donor | Needs::Filler => false,
        };
        needs.setting().filter(|_| lacks)
    }
}

/// A file of directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectionSource {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
    /// The layers that have a direction.
    pub layers: Vec<u32>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// The directions.
    #[error("{0} (`direction`)")]
    Direction(#[from] DirectionError),
    /// The texts.
    #[error("{path}: {source} ({option})")]
    Texts {
        /// The file.
        path: PathBuf,
        /// The option that names it.
        option: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Another file than at the beginning, or one that cannot be read.
    #[error(transparent)]
    Held(#[from] HeldError),
}

impl Outside {
    /// The files named, for a model.
    ///
    /// # Errors
    /// [`OutsideError`].
    pub fn of(files: Files<'_>, facts: &Facts) -> Result<Self, OutsideError> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
        let direction = files.direction.map(|path| {
            let path = absolute(path);
            let directions = read_directions(&path, facts.n_embd, facts.n_layer)?;
            let sha256 = Held::open(&path)?.sha256().to_string();
            let layers = layers_of(&directions, facts.n_layer);
            Ok::<_, OutsideError>(DirectionSource {
                path,
                sha256,
                layers,
            })
        });
        let texts = |path: &Path| {
            let path = absolute(path);
            let sha256 = Some(Held::open(&path)?.sha256().to_string());
            let path = Some(path);
            Ok::<_, OutsideError>(DataSource { path, sha256 })
        };
        Ok(Self {
            direction: direction.transpose()?,
            mean_of: files.mean_of.map(texts).transpose()?,
            scaffold: files.scaffold.map(texts).transpose()?,
        })
    }

    /// Whether no file is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a manipulation has what it needs at a layer.
    pub fn has(&self, kind: Kind, layer: u32) -> bool {
        match kind.manipulation().needs() {
            Needs::Direction => {
                let of = self.direction.as_ref();
                of.is_some_and(|of| of.layers.contains(&layer))
            }
            _ => true,
        }
    }

    /// The setting that a manipulation needs and that is not given.
    pub fn lacks(&self, kind: Kind) -> Option<&'static str> {
        fn path(of: Option<&DataSource>) -> Option<&Path> {
            of?.path.as_deref()
        }
        let files = Files {
            direction: self.direction.as_ref().map(|of| &*of.path),
            mean_of: path(self.mean_of.as_ref()),
            scaffold: path(self.scaffold.as_ref()),
        };
        files.lack(kind)
    }
}
