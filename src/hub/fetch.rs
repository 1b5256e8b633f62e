//! One file from the hub into the cache.
//!
//! `hf-hub` moves a download into its cache before anyone has looked at it. So it is given a
//! folder of its own, beside the place where the file belongs; what arrives there is checked and
//! then moved. A process that dies at any moment leaves either no file or a whole one, and the
//! next attempt goes on with what lies in that folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use hf_hub::api::sync::{ApiError, ApiRepo, Metadata};
use hf_hub::{Cache, Repo};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::{Hub, HubError, Progress, cached};

/// The path of a file in the cache, downloaded first unless it is there.
pub(super) fn file(hub: &Hub, repo: &Repo, name: &str, file: &str) -> Result<PathBuf, HubError> {
    files(hub, repo, name, std::slice::from_ref(&file.to_string()))
}

/// The path of the first of several files of one commit, which are downloaded first unless all
/// of them are there.
pub(super) fn files(
    hub: &Hub,
    repo: &Repo,
    name: &str,
    files: &[String],
) -> Result<PathBuf, HubError> {
    for file in files {
        // The hub names files, and what it names must stay inside the cache.
        let plain = |c| matches!(c, Component::Normal(_));
        if file.is_empty() || !Path::new(file).components().all(plain) {
            return Err(HubError::FileNotFound {
                repo: name.into(),
                file: file.into(),
            });
        }
    }
    let here = files.iter().map(|file| cached::file(hub, repo, file));
    let here: Option<Vec<PathBuf>> = here.collect();
    if let Some(path) = here.and_then(|paths| paths.into_iter().next()) {
        return Ok(path);
    }
    if let Some(variable) = hub.options.offline {
        return Err(HubError::Offline {
            what: format!("{} of {name}", files.join(", ")),
            variable,
        });
    }
    let fetched = files.iter().map(|file| fetch(hub, repo, name, file));
    let fetched: Vec<(String, PathBuf)> = fetched.collect::<Result<_, _>>()?;
    let (commit, path) = &fetched[0];
    if fetched.iter().any(|(other, _)| other != commit) {
        return Err(HubError::ChangedMeanwhile {
            repo: name.into(),
            file: files[0].clone(),
        });
    }
    let folder = hub.options.cache.join(repo.folder_name());
    cached::remember(hub, repo, commit).map_err(io(&folder))?;
    Ok(path.clone())
}

/// Puts the newest version of a file into the cache: its commit, and its path there.
fn fetch(hub: &Hub, repo: &Repo, name: &str, file: &str) -> Result<(String, PathBuf), HubError> {
    let cached = hub.cache.repo(repo.clone());
    let metadata = metadata(hub, repo, name, file)?;
    let (etag, commit) = (metadata.etag(), metadata.commit_hash());
    let blob = cached.blob_path(etag);
    let folder = hub.options.cache.join(repo.folder_name());
    // The lock, its path included, is the one that the hub's own tools take.
    let locks = hub.options.cache.join(".locks").join(repo.folder_name());
    let _lock = lock(&locks.join(format!("{etag}.lock")))?;
    if length(&blob) != Some(metadata.size() as u64) {
        let aside = folder.join(format!(".incoming-{etag}"));
        let whole = download(hub, repo, name, file, &metadata, &aside)?;
        create_parent(&blob)?;
        fs::rename(&whole, &blob).map_err(io(&blob))?;
        // It holds nothing any more that is worth an error.
        let _ = fs::remove_dir_all(&aside);
    }
    let pointer = cached.pointer_path(commit).join(file);
    link(&blob, &pointer, Path::new(file).components().count())?;
    Ok((commit.to_string(), pointer))
}

/// A file's path as addresses spell it. hf-hub puts into them what it is given.
fn encoded(file: &str) -> String {
    let parts = file.split('/');
    let encoded = parts.map(|part| utf8_percent_encode(part, UNSAFE).to_string());
    encoded.collect::<Vec<_>>().join("/")
}

/// Everything but what RFC 3986 calls unreserved.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The files of a repository, as the hub lists them.
pub(super) fn listing(hub: &Hub, repo: &Repo, name: &str) -> Result<Vec<String>, HubError> {
    let remote = hub.api(hub.options.cache.clone())?.repo(repo.clone());
    let info = remote
        .info()
        .map_err(|error| refusal(hub, name, &remote.url(""), error))?;
    Ok(info.siblings.into_iter().map(|s| s.rfilename).collect())
}

fn metadata(hub: &Hub, repo: &Repo, name: &str, file: &str) -> Result<Metadata, HubError> {
    let api = hub.api(hub.options.cache.clone())?;
    let remote = api.repo(repo.clone());
    let url = remote.url(&encoded(file));
    let metadata = api.metadata(&url).map_err(|error| {
        if status(&error) != Some(404) {
            return refusal(hub, name, &url, error);
        }
        // The status alone does not say whether the file or all of the repository is missing.
        match remote.info() {
            Ok(_) => HubError::FileNotFound {
                repo: name.into(),
                file: file.into(),
            },
            Err(error) => refusal(hub, name, &url, error),
        }
    })?;
    for part in [metadata.etag(), metadata.commit_hash()] {
        // Both become names of files.
        let hash = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if part.is_empty() || !part.chars().all(hash) {
            return Err(HubError::Protocol {
                url,
                reason: format!("{part:?} is no hash"),
            });
        }
    }
    Ok(metadata)
}

/// Downloads into the folder `aside` and returns the file there, whole and checked.
fn download(
    hub: &Hub,
    repo: &Repo,
    name: &str,
    file: &str,
    metadata: &Metadata,
    aside: &Path,
) -> Result<PathBuf, HubError> {
    let total = metadata.size() as u64;
    let blob = Cache::new(aside.into())
        .repo(repo.clone())
        .blob_path(metadata.etag());
    let part = blob.with_extension("part");
    let ready = [&blob, &part]
        .into_iter()
        .find(|path| length(path) == Some(total));
    let whole = match ready {
        // An earlier attempt came to its end, but not to its check.
        Some(path) => path,
        None => {
            // hf-hub refuses to go on with a part that is too long, and trips over a link.
            if length(&part) > Some(total) {
                fs::remove_file(&part).map_err(io(&part))?;
            }
            let links = aside.join(repo.folder_name()).join("snapshots");
            if links.exists() {
                fs::remove_dir_all(&links).map_err(io(&links))?;
            }
            let remote = hub.api(aside.into())?.repo(repo.clone());
            receive(hub, &remote, name, file, total, &part)?;
            &blob
        }
    };
    if let Err(error) = check(whole, file, metadata) {
        // Nobody can tell which bytes are wrong: the next attempt starts from none.
        let _ = fs::remove_dir_all(aside);
        return Err(error);
    }
    Ok(whole.clone())
}

fn receive(
    hub: &Hub,
    remote: &ApiRepo,
    name: &str,
    file: &str,
    total: u64,
    part: &Path,
) -> Result<(), HubError> {
    let meter = Meter {
        done: 0,
        total,
        progress: &*hub.progress,
    };
    let interrupted = |reason: String| HubError::Interrupted {
        file: file.into(),
        done: length(part).unwrap_or(0),
        total,
        reason,
    };
    match remote.download_with_progress(&encoded(file), meter) {
        Ok(_) => Ok(()),
        Err(ApiError::IoError(source)) if is_ours(&source) => Err(io(part)(source)),
        Err(ApiError::IoError(source)) => Err(interrupted(source.to_string())),
        Err(error) => Err(
            match refusal(hub, name, &remote.url(&encoded(file)), error) {
                HubError::NoConnection { reason, .. } if length(part) > Some(0) => {
                    interrupted(reason)
                }
                other => other,
            },
        ),
    }
}

/// Whether an error while copying from the net into a file is the file's.
fn is_ours(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::PermissionDenied
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::NotADirectory
    )
}

/// Compares a file with what the hub announced: its size, and its SHA-256 where the hub names
/// the file by it, as it does with all large ones.
fn check(path: &Path, file: &str, metadata: &Metadata) -> Result<(), HubError> {
    let mismatch = |what, found, expected: &str| HubError::Mismatch {
        file: file.into(),
        what,
        found,
        expected: expected.into(),
    };
    let size = metadata.size() as u64;
    match length(path) {
        Some(found) if found == size => {}
        found => {
            let found = found.unwrap_or(0).to_string();
            return Err(mismatch("size", found, &size.to_string()));
        }
    }
    let etag = metadata.etag();
    if etag.len() == 64 && etag.bytes().all(|b| b.is_ascii_hexdigit()) {
        let found = sha256(path).map_err(io(path))?;
        if !found.eq_ignore_ascii_case(etag) {
            return Err(mismatch("SHA-256", found, etag));
        }
    }
    Ok(())
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            let bytes = hash.finalize();
            return Ok(bytes.iter().map(|b| format!("{b:02x}")).collect());
        }
        hash.update(&buffer[..n]);
    }
}

/// Makes `pointer`, a path `depth` components below its snapshot, show `blob`.
fn link(blob: &Path, pointer: &Path, depth: usize) -> Result<(), HubError> {
    if pointer.exists() {
        return Ok(());
    }
    create_parent(pointer)?;
    if pointer.is_symlink() {
        // It shows a blob that somebody deleted.
        fs::remove_file(pointer).map_err(io(pointer))?;
    }
    #[cfg(unix)]
    {
        // Relative, so that the cache can be moved: out of the file's folders, the snapshot and
        // `snapshots`.
        let mut target: PathBuf = std::iter::repeat_n("..", depth + 1).collect();
        target.push("blobs");
        target.push(blob.file_name().unwrap_or_default());
        std::os::unix::fs::symlink(target, pointer).map_err(io(pointer))
    }
    #[cfg(not(unix))]
    {
        let _ = depth;
        fs::hard_link(blob, pointer).map_err(io(pointer))
    }
}

/// Waits for the others who download the same file. Where the file system has no locks, there is
/// nobody to wait for.
fn lock(path: &Path) -> Result<File, HubError> {
    create_parent(path)?;
    let file = File::create(path).map_err(io(path))?;
    match file.lock() {
        Err(error) if error.kind() != ErrorKind::Unsupported => Err(io(path)(error)),
        _ => Ok(file),
    }
}

fn create_parent(path: &Path) -> Result<(), HubError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(io(parent))
}

fn length(path: &Path) -> Option<u64> {
    path.metadata()
        .ok()
        .filter(|m| m.is_file())
        .map(|m| m.len())
}

fn io(path: &Path) -> impl FnOnce(io::Error) -> HubError + '_ {
    move |source| HubError::Io {
        path: path.to_path_buf(),
        source,
    }
}

fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    }
}

/// What an error of a request means.
fn refusal(hub: &Hub, name: &str, url: &str, error: ApiError) -> HubError {
    let repo = name.to_string();
    match (status(&error), error) {
        (Some(404), _) => HubError::RepoNotFound { repo },
        (Some(status @ (401 | 403)), _) => HubError::NotAllowed {
            repo,
            status,
            token: hub.options.token.is_some(),
        },
        (Some(status), _) => HubError::Status { repo, status },
        (None, ApiError::RequestError(error)) => HubError::NoConnection {
            url: url.into(),
            reason: error.to_string(),
        },
        (None, ApiError::IoError(source)) => HubError::NoConnection {
            url: url.into(),
            reason: source.to_string(),
        },
        (None, error) => HubError::Protocol {
            url: url.into(),
            reason: error.to_string(),
        },
    }
}

/// Tells the hook what hf-hub tells.
struct Meter<'a> {
    done: u64,
    total: u64,
    progress: &'a Progress,
}

impl hf_hub::api::Progress for Meter<'_> {
    fn init(&mut self, size: usize, _: &str) {
        self.done = 0;
        self.total = size as u64;
    }

    fn update(&mut self, bytes: usize) {
        if bytes > 0 {
            self.done += bytes as u64;
            (self.progress)(self.done, self.total);
        }
    }

    fn finish(&mut self) {}
}
