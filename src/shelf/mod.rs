//! A folder of stored runs, as somebody looks at it: which runs there are, how far each is, its
//! curves, items and report. Nothing is written, and a sweep beside it goes on undisturbed.
//!
//! A run is known by its [id](Id), which says nothing of where it lies: what is asked for by a
//! stranger is compared with what is there, and never becomes a path.

mod asked;
mod items;
mod listed;
mod shown;

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

pub use asked::Again;
use items::{ItemPage, Opened};
use listed::Listed;
use shown::Shown;

use crate::report::{Options, Report, html};
use crate::shards::{ReadError, glance, read, runs_in};
use crate::store::{Glance, StoredRun};

/// What a run is known by: 16 digits of a hash of its folder's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    fn of(folder: &Path) -> Self {
        let hash = Sha256::digest(folder.as_os_str().as_encoded_bytes());
        Self(
            hash.iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }
}

/// Why a run is not shown.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// There is none by this id, or no such part of it.
    #[error("there is no such {0} here")]
    None(&'static str),
    /// A result that cannot be asked again.
    #[error("this cannot be opened: {0}")]
    Cannot(String),
    /// The folder of runs.
    #[error("{folder} cannot be read: {source}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The run.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A run that was read, and how far it was then.
struct Known {
    folder: PathBuf,
    glance: Glance,
    run: StoredRun,
    report: Option<String>,
}

/// A folder of runs, or a run's own folder.
pub struct Shelf {
    folder: PathBuf,
    /// The run that was asked about last: it is read again only once it has grown.
    known: Option<Known>,
}

impl Shelf {
    /// The runs in a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            known: None,
        }
    }

    fn folders(&self) -> Result<Vec<PathBuf>, ShelfError> {
        runs_in(&self.folder).map_err(|source| ShelfError::Folder {
            folder: self.folder.clone(),
            source,
        })
    }

    fn find(&self, id: &str) -> Result<PathBuf, ShelfError> {
        let folders = self.folders()?;
        let found = folders.into_iter().find(|folder| Id::of(folder).0 == id);
        found.ok_or(ShelfError::None("run"))
    }

    fn known(&mut self, id: &str) -> Result<&mut Known, ShelfError> {
        let folder = self.find(id)?;
        let now = glance(&folder)?;
        let is_current = |known: &Known| {
            known.folder == folder
                && (known.glance.stored(), known.glance.all()) == (now.stored(), now.all())
        };
        let mut known = match self.known.take().filter(is_current) {
            Some(known) => known,
            None => Known {
                run: read(&folder)?,
                folder,
                glance: now.clone(),
                report: None,
            },
        };
        // Who works on it may be another, or gone.
        known.glance = now;
        Ok(self.known.insert(known))
    }

    /// The run with an id.
    ///
    /// # Errors
    /// [`ShelfError`].
    pub fn run(&mut self, id: &str) -> Result<&StoredRun, ShelfError> {
        Ok(&self.known(id)?.run)
    }

    /// All runs, by name. One that cannot be read says why.
    ///
    /// # Errors
    /// [`ShelfError::Folder`].
    pub fn list(&self) -> Result<Vec<Listed>, ShelfError> {
        Ok(self.folders()?.iter().map(|one| Listed::of(one)).collect())
    }

    /// A run's progress and curves.
    ///
    /// # Errors
    /// [`ShelfError`].
    pub fn show(&mut self, id: &str) -> Result<Shown, ShelfError> {
        let known = self.known(id)?;
        Ok(Shown::of(&known.folder, &known.run, &known.glance))
    }

    /// A run's report, the page that `midlayer report` writes.
    ///
    /// # Errors
    /// [`ShelfError`].
    pub fn report(&mut self, id: &str) -> Result<String, ShelfError> {
        let known = self.known(id)?;
        if known.report.is_none() {
            let report = Report::new(&known.run, Options::default());
            known.report = Some(html::page(&[report]));
        }
        Ok(known.report.clone().unwrap_or_default())
    }

    /// Some of a variant's items, from the `from`th on.
    ///
    /// # Errors
    /// [`ShelfError`].
    pub fn items(&mut self, id: &str, variant: usize, from: usize) -> Result<ItemPage, ShelfError> {
        let run = self.run(id)?;
        let variant = run.variants.get(variant).ok_or(ShelfError::None("model"))?;
        Ok(ItemPage::of(variant, from))
    }

    /// An item's results, its number among the variant's.
    ///
    /// # Errors
    /// [`ShelfError`].
    pub fn item(&mut self, id: &str, variant: usize, item: usize) -> Result<Opened, ShelfError> {
        let run = self.run(id)?;
        let variant = run.variants.get(variant).ok_or(ShelfError::None("model"))?;
        Opened::of(variant, item).ok_or(ShelfError::None("item"))
    }
}
