//! Files of the Hugging Face hub: the datasets that `midlayer pull` knows, and models given as
//! `user/repo[@revision][:quant]`.
//!
//! `hf-hub` asks, resumes and lays out the cache, which is the one that all of the hub's tools
//! share. What it leaves to its callers is done here: the environment's variables, checksums,
//! and that a file is in the shared cache only once it is whole (`fetch.rs`).

mod cached;
mod error;
mod fetch;
mod names;
mod options;
mod origin;
mod quant;
mod wanted;

use std::fmt;
use std::path::PathBuf;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};

pub use error::HubError;
pub use options::HubOptions;
pub use origin::Origin;
use wanted::Wanted;

/// A dataset's file on the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// What `midlayer pull` calls it.
    pub name: &'static str,
    /// The repository, `user/repo`.
    pub repo: &'static str,
    /// The file in the repository.
    pub file: &'static str,
}

/// The datasets that `midlayer pull` knows.
pub const DATASETS: [Dataset; 2] = [
    Dataset {
        name: "squad",
        repo: "rajpurkar/squad",
        file: "plain_text/validation-00000-of-00001.parquet",
    },
    Dataset {
        name: "cnn_dailymail",
        repo: "abisee/cnn_dailymail",
        file: "3.0.0/test-00000-of-00001.parquet",
    },
];

/// Told while a file comes in: bytes done, those of an interrupted download included, and the
/// bytes there are.
pub type Progress = dyn Fn(u64, u64) + Send + Sync;

/// The hub, or a mirror of it, and the cache in front of it.
pub struct Hub {
    options: HubOptions,
    cache: Cache,
    progress: Box<Progress>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub as the environment describes it, see [`HubOptions::from_env`]. Nothing is sent.
    ///
    /// # Errors
    /// [`HubError::Io`] when there is no current folder to resolve the cache's path against.
    pub fn from_env() -> Result<Self, HubError> {
        Self::new(HubOptions::from_env())
    }

    /// A hub. Nothing is sent.
    ///
    /// # Errors
    /// [`HubError::Io`] when there is no current folder to resolve the cache's path against.
    pub fn new(mut options: HubOptions) -> Result<Self, HubError> {
        // hf-hub computes relative links and insists on comparing like with like.
        options.cache = std::path::absolute(&options.cache).map_err(|source| HubError::Io {
            path: options.cache.clone(),
            source,
        })?;
        let cache = Cache::new(options.cache.clone());
        Ok(Self {
            options,
            cache,
            progress: Box::new(|_, _| ()),
        })
    }

    /// With `progress` told of what comes in.
    #[must_use]
    pub fn on_progress(mut self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// The client, downloading into the folder `cache`.
    fn api(&self, cache: PathBuf) -> Result<Api, HubError> {
        let mut builder = ApiBuilder::from_cache(Cache::new(cache))
            .with_token(self.options.token.clone())
            .with_progress(false)
            .with_user_agent("midlayer", env!("CARGO_PKG_VERSION"));
        if let Some(endpoint) = &self.options.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_string());
        }
        builder.build().map_err(|error| HubError::NoConnection {
            url: self.options.endpoint.clone().unwrap_or_default(),
            reason: error.to_string(),
        })
    }
}

/// A file of a dataset's repository, downloaded unless it is in the cache.
///
/// # Errors
/// [`HubError`]; what was downloaded before an interruption is kept aside for the next attempt.
pub fn dataset_file(client: &Hub, repo: &str, file: &str) -> Result<PathBuf, HubError> {
    wanted::check_repo(repo, repo)?;
    fetch::file(client, &Repo::dataset(repo.to_string()), repo, file)
}

/// The file in the hub's cache of the dataset of [`DATASETS`] that has this name, if it has been
/// pulled.
pub fn pulled_dataset(name: &str) -> Option<PathBuf> {
    let dataset = DATASETS.iter().find(|dataset| dataset.name == name)?;
    let mut options = HubOptions::from_env();
    options.offline = Some("this look into the cache");
    let hub = Hub::new(options).ok()?;
    dataset_file(&hub, dataset.repo, dataset.file).ok()
}

/// The GGUF file of a model given as `user/repo[@revision][:quant]`, or the first of its parts,
/// downloaded unless it is in the cache; so are its other parts, all from one commit.
///
/// The revision is a branch, a tag or a commit, `main` where none is given. What a branch or tag
/// meant when it was first asked for is kept in the cache; a commit means the same for ever.
///
/// What is behind the colon is the name of a file, with or without its folder and `.gguf`, or a
/// quant: it is matched regardless of case as a whole tag of the file's name; where no tag is
/// the quant, one that begins with it is taken if it is the only one (`Q4_K` for `Q4_K_M`).
/// Without a quant it is `Q4_K_M`, else `Q8_0`, else the only GGUF file there is.
///
/// # Errors
/// [`HubError`]; what was downloaded before an interruption is kept aside for the next attempt.
pub fn model_file(client: &Hub, spec: &str) -> Result<PathBuf, HubError> {
    let wanted = Wanted::parse(spec)?;
    let repo = match wanted.revision {
        None => Repo::model(wanted.repo.into()),
        Some(revision) => Repo::with_revision(wanted.repo.into(), RepoType::Model, revision.into()),
    };
    let choose = |files: &[String]| quant::choose(wanted.name, files, wanted.quant);
    let files = match client.options.offline {
        None => choose(&listing(client, &repo, &wanted)?)?,
        Some(variable) => {
            choose(&cached::listing(client, &repo)).map_err(|error| match error {
                // What is missing here may well be on the hub.
                HubError::NoGguf { .. }
                | HubError::NoQuant { .. }
                | HubError::PartsMissing { .. } => HubError::Offline {
                    what: spec.to_string(),
                    variable,
                },
                error => error,
            })?
        }
    };
    fetch::files(client, &repo, wanted.name, &files)
}

/// The files of a model's repository, as the hub lists them.
fn listing(client: &Hub, repo: &Repo, wanted: &Wanted<'_>) -> Result<Vec<String>, HubError> {
    let listing = fetch::listing(client, repo, wanted.name);
    // The status alone does not say whether the revision or all of the repository is missing.
    if let (Err(HubError::RepoNotFound { .. }), Some(revision)) = (&listing, wanted.revision)
        && fetch::listing(client, &Repo::model(wanted.repo.into()), wanted.repo).is_ok()
    {
        return Err(HubError::RevisionNotFound {
            repo: wanted.repo.into(),
            revision: revision.into(),
        });
    }
    listing
}
