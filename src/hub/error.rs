//! What can go wrong between here and the hub.

use std::path::PathBuf;

/// What went wrong getting a file of the hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Not of the form `user/repo[@revision][:quant]`.
    #[error("{spec}: {reason} (`hub`)")]
    Spec {
        /// What was given.
        spec: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No such repository.
    #[error("{repo}: there is no such repository on the hub; check the name")]
    RepoNotFound {
        /// The repository.
        repo: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error(
        "{repo} has no revision {revision} on the hub; give a branch, a tag or a commit behind the @ (`hub`)"
    )]
    RevisionNotFound {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
    },
    /// No such file in the repository.
    #[error("{repo} holds no file {file}")]
    FileNotFound {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
    },
    /// The hub wants to know who asks, or knows and refuses. It answers so, too, when asked
    /// without a token for a repository that does not exist.
    #[error(
        "{repo}: the hub refuses it ({status}); check the name, accept the terms on its page if \
         it has any, and set HF_TOKEN to a token that may read it{}",
        if *.token { " (the one that was sent may not)" } else { "" }
    )]
    NotAllowed {
        /// The repository.
        repo: String,
        /// The status: 401 or 403.
        status: u16,
        /// Whether a token was sent.
        token: bool,
    },
    /// Any other refusal.
    #[error("{repo}: the hub answered with status {status}; try again later")]
    Status {
        /// The repository.
        repo: String,
        /// The status.
        status: u16,
    },
    /// Nothing there, or nothing that can be talked to.
    #[error(
        "no answer from {url}: {reason}; check the connection and HF_ENDPOINT, or set \
         HF_HUB_OFFLINE=1 to use only files that are already here"
    )]
    NoConnection {
        /// What was asked for.
        url: String,
        /// Why there is no answer.
        reason: String,
    },
    /// An answer, but not one of a hub.
    #[error("{url} does not answer like the hub: {reason}; check HF_ENDPOINT")]
    Protocol {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Not in the cache, and not to be asked for.
    #[error("{what} is not in the cache, and {variable} forbids asking the hub; unset it once")]
    Offline {
        /// The file, or the model.
        what: String,
        /// The environment variable.
        variable: &'static str,
    },
    /// The download ended early.
    #[error(
        "{file}: the download broke off after {done} of {total} bytes: {reason}; run it again to \
         go on from there"
    )]
    Interrupted {
        /// The file.
        file: String,
        /// Bytes kept for the next attempt.
        done: u64,
        /// Bytes there are.
        total: u64,
        /// Why.
        reason: String,
    },
    /// What was downloaded is not what the hub announced.
    #[error("{file} has {what} {found}, the hub announced {expected}; nothing was kept, try again")]
    Mismatch {
        /// The file.
        file: String,
        /// What differs.
        what: &'static str,
        /// What was found.
        found: String,
        /// What was announced.
        expected: String,
    },
    /// No model file.
    #[error("{repo} holds no GGUF file")]
    NoGguf {
        /// The repository.
        repo: String,
    },
    /// No model file of that quant.
    #[error("{repo} holds no {wanted}; there is: {known} (after the colon in `hub`)")]
    NoQuant {
        /// The repository.
        repo: String,
        /// What was asked for.
        wanted: String,
        /// The quants there are.
        known: String,
    },
    /// Several model files of that quant.
    #[error(
        "{repo} holds several files for {wanted}: {files}; give more of a name after the colon"
    )]
    Ambiguous {
        /// The repository.
        repo: String,
        /// What was asked for.
        wanted: String,
        /// The files.
        files: String,
    },
    /// A model in several files, not all of which are there.
    #[error("{repo} holds {found} of the {parts} parts of {file}; choose another quant")]
    PartsMissing {
        /// The repository.
        repo: String,
        /// The first part that is there.
        file: String,
        /// How many there should be.
        parts: usize,
        /// How many there are.
        found: usize,
    },
    /// The repository changed while the parts of a model were fetched.
    #[error("{repo} changed while the parts of {file} were fetched; run it again")]
    ChangedMeanwhile {
        /// The repository.
        repo: String,
        /// The first part.
        file: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}; free some space or set HF_HUB_CACHE to another folder")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
