//! What manipulations need besides the prompts: files of directions, texts of means.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::SweepError;
use crate::directions::{DirectionError, layers_of, read_directions};
use crate::engine::{Engine, EngineError, Means, Prompt, read_texts};
use crate::files::{Held, HeldError};
use crate::intervention::{Kind, Needs, States};
use crate::runtime::{Facts, Token};
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
    #[error("{0} (--direction)")]
    Direction(#[from] DirectionError),
    /// The texts.
    #[error("{path}: {source} (--mean-of)")]
    Texts {
        /// The file.
        path: PathBuf,
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
    pub fn of(
        direction: Option<&Path>,
        mean_of: Option<&Path>,
        facts: &Facts,
    ) -> Result<Self, OutsideError> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
        let direction = direction.map(|path| {
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
        let mean_of = mean_of.map(|path| {
            let path = absolute(path);
            let sha256 = Some(Held::open(&path)?.sha256().to_string());
            let path = Some(path);
            Ok::<_, OutsideError>(DataSource { path, sha256 })
        });
        Ok(Self {
            direction: direction.transpose()?,
            mean_of: mean_of.transpose()?,
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

    /// The option that a manipulation needs and that is not given.
    pub fn lacks(&self, kind: Kind) -> Option<&'static str> {
        match kind.manipulation().needs() {
            Needs::Direction if self.direction.is_none() => Some("--direction FILE"),
            Needs::Mean if self.mean_of.is_none() => Some("--mean-of FILE"),
            _ => None,
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// [`SweepError`]; a file that is another one than at the beginning of a run is one.
    pub fn read(&self, engine: &dyn Engine) -> Result<Given, SweepError> {
        let mut given = Given::default();
        if let Some(of) = &self.direction {
            let held = Held::open(&of.path)?;
            held.expect(&of.sha256)?;
            let facts = engine.facts();
            let directions = read_directions(&of.path, facts.n_embd, facts.n_layer);
            given.directions = Some(Arc::new(directions.map_err(OutsideError::from)?));
            held.check_path()?;
        }
        if let Some(path) = self.mean_of.as_ref().and_then(|of| of.path.as_deref()) {
            let held = Held::open(path)?;
            let expected = self.mean_of.as_ref().and_then(|of| of.sha256.as_deref());
            held.expect(expected.unwrap_or(held.sha256()))?;
            let texts = read_texts(path).map_err(|source| OutsideError::Texts {
                path: path.into(),
                source,
            })?;
            held.check_path()?;
            let prompts = texts.iter().map(|text| engine.prompt(text));
            given.texts = prompts.collect::<Result<_, _>>()?;
        }
        Ok(given)
    }
}

/// What was read of the files.
#[derive(Debug, Default)]
pub struct Given {
    directions: Option<Arc<States>>,
    texts: Vec<Prompt>,
    means: OnceCell<Means>,
}

impl Given {
    /// The states that a manipulation of a text needs; `None` for those that need none of these.
    ///
    /// # Errors
    /// The engine's, which computes means once.
    pub fn states(
        &self,
        kind: Kind,
        tokens: &[Token],
        engine: &mut dyn Engine,
    ) -> Result<Option<Arc<States>>, EngineError> {
        match kind.manipulation().needs() {
            Needs::Direction => Ok(self.directions.clone()),
            Needs::Mean => {
                let means = match self.means.get() {
                    Some(means) => means,
                    None => {
                        let means = Means::over(engine, &self.texts)?;
                        self.means.get_or_init(|| means)
                    }
                };
                means.states(tokens, kind.is_word("by", "token")).map(Some)
            }
            Needs::Nothing | Needs::Donor | Needs::Filler => Ok(None),
        }
    }
}
