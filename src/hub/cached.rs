//! What the hub's cache holds, by the layout that all of the hub's tools share.

use std::fs;
use std::io;
use std::path::PathBuf;

use hf_hub::Repo;

use super::Hub;

/// The folder of a repository's files at its revision, as far as they are here. A commit is its
/// own name; of a branch or tag the cache keeps the commit that it last meant.
fn snapshot(hub: &Hub, repo: &Repo) -> Option<PathBuf> {
    let folder = hub.options.cache.join(repo.folder_name());
    let commit = if is_commit(repo.revision()) {
        repo.revision().to_string()
    } else {
        fs::read_to_string(folder.join("refs").join(repo.revision())).ok()?
    };
    Some(folder.join("snapshots").join(commit.trim()))
}

/// The path of a file, if it is in the cache.
pub(super) fn file(hub: &Hub, repo: &Repo, file: &str) -> Option<PathBuf> {
    let path = snapshot(hub, repo)?.join(file);
    path.exists().then_some(path)
}

/// The files of a repository that are in the cache.
pub(super) fn listing(hub: &Hub, repo: &Repo) -> Vec<String> {
    let Some(snapshot) = snapshot(hub, repo) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    let mut folders = vec![snapshot.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = path.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(inside) = path.strip_prefix(&snapshot) {
                let parts: Vec<_> = inside.iter().map(|p| p.to_string_lossy()).collect();
                files.push(parts.join("/"));
            }
        }
    }
    files
}

/// Keeps which commit a repository's revision means.
pub(super) fn remember(hub: &Hub, repo: &Repo, commit: &str) -> io::Result<()> {
    if repo.revision() == commit {
        return Ok(());
    }
    hub.cache.repo(repo.clone()).create_ref(commit)
}

/// Whether a revision is a whole commit, which never means another one.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}
