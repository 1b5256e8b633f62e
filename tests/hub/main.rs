//! The hub's client against a server in this process: what lands in the cache, what is asked
//! for, and that nothing half-written passes for a file.

#[path = "../common/hub_server.rs"]
mod server;

mod broken_off;
mod models;
mod revisions;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use midlayer::hub::{DATASETS, Hub, HubError, HubOptions, dataset_file, model_file};
use server::{COMMIT, Fault, Repository, Server, sha256};
use tempfile::TempDir;

/// A server, and a cache that is empty at first.
struct Place {
    server: Server,
    folder: TempDir,
}

impl Place {
    fn new(repository: Repository) -> Self {
        Self {
            server: Server::start(repository),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn options(&self) -> HubOptions {
        HubOptions {
            endpoint: Some(format!("http://{}/", self.server.at)),
            token: None,
            cache: self.cache(),
            offline: None,
        }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    fn hub(&self) -> Hub {
        Hub::new(self.options()).unwrap()
    }

    fn offline(&self) -> Hub {
        Hub::new(HubOptions {
            offline: Some("HF_HUB_OFFLINE"),
            ..self.options()
        })
        .unwrap()
    }

    /// The files of the cache that pass for finished ones: blobs and what snapshots show.
    fn finished(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for repo in entries(&self.cache()) {
            files.extend(entries(&repo.join("blobs")));
            files.extend(entries(&repo.join("snapshots")));
            files.extend(entries(&repo.join("refs")));
        }
        files
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Bytes without a period that a lost or doubled piece could hide behind.
fn bytes(n: u32) -> Vec<u8> {
    (0..n)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn squad(faults: Vec<Fault>) -> (Place, Vec<u8>) {
    let bytes = bytes(300_000);
    let files: [(&str, &[u8]); 1] = [(DATASETS[0].file, &bytes)];
    let repository = Repository::new("datasets/rajpurkar/squad", &files).faults(faults);
    (Place::new(repository), bytes)
}

fn pull(hub: &Hub) -> Result<PathBuf, HubError> {
    dataset_file(hub, DATASETS[0].repo, DATASETS[0].file)
}

/// A repository whose files hold their own names.
fn models(names: &[&str]) -> Place {
    let files: Vec<_> = names.iter().map(|name| (*name, name.as_bytes())).collect();
    Place::new(Repository::new("u/r-GGUF", &files))
}

#[test]
fn a_dataset_lands_in_the_shared_cache_and_is_asked_for_once() {
    let (place, bytes) = squad(vec![]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = told.clone();
    let hub = place
        .hub()
        .on_progress(move |done, total| teller.lock().unwrap().push((done, total)));

    let path = pull(&hub).unwrap();
    let repo = place.cache().join("datasets--rajpurkar--squad");
    assert_eq!(
        path,
        repo.join("snapshots").join(COMMIT).join(DATASETS[0].file)
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    let blob = repo.join("blobs").join(sha256(&bytes));
    assert_eq!(path.canonicalize().unwrap(), blob.canonicalize().unwrap());
    #[cfg(unix)]
    assert!(fs::read_link(&path).unwrap().is_relative());
    // Nothing else: neither parts nor the folder in which the file arrived.
    let mut names: Vec<_> = entries(&repo);
    names.sort();
    assert_eq!(
        names,
        ["blobs", "refs", "snapshots"].map(|name| repo.join(name))
    );
    assert_eq!(entries(&repo.join("blobs")), [blob]);

    let told = told.lock().unwrap();
    assert!(told.is_sorted());
    assert_eq!(told.last(), Some(&(300_000, 300_000)));

    let requests = place.server.log().len();
    assert_eq!(place.server.sent(), [0]);
    assert_eq!(pull(&hub).unwrap(), path);
    assert_eq!(place.server.log().len(), requests);
}

#[test]
fn a_small_file_of_the_repository_itself_is_checked_by_its_size() {
    let mut repository = Repository::new("datasets/u/r", &[("a/b/c.txt", b"text")]);
    repository.redirects = false;
    let place = Place::new(repository);
    let path = dataset_file(&place.hub(), "u/r", "a/b/c.txt").unwrap();
    assert_eq!(fs::read(path).unwrap(), b"text");
}

#[test]
fn a_blob_that_is_there_under_another_name_is_not_downloaded_again() {
    let files: [(&str, &[u8]); 2] = [("a", b"same"), ("b", b"same")];
    let place = Place::new(Repository::new("datasets/u/r", &files));
    let hub = place.hub();
    dataset_file(&hub, "u/r", "a").unwrap();
    let path = dataset_file(&hub, "u/r", "b").unwrap();
    assert_eq!(fs::read(path).unwrap(), b"same");
    assert_eq!(place.server.sent(), [0]);
}

#[test]
fn a_token_is_sent_and_its_absence_explained() {
    let mut repository = Repository::new("datasets/u/secret", &[("file", b"text")]);
    repository.bearer = Some("hf_mine");
    let place = Place::new(repository);
    let with = |token: Option<&str>| {
        let token = token.map(String::from);
        let hub = Hub::new(HubOptions {
            token,
            ..place.options()
        })
        .unwrap();
        assert!(!format!("{hub:?}").contains("hf_"));
        dataset_file(&hub, "u/secret", "file")
    };
    let error = with(None).unwrap_err();
    assert!(matches!(
        error,
        HubError::NotAllowed {
            status: 401,
            token: false,
            ..
        }
    ));
    assert!(error.to_string().contains("set HF_TOKEN"), "{error}");
    let error = with(Some("hf_other")).unwrap_err();
    assert!(
        error.to_string().contains("the one that was sent may not"),
        "{error}"
    );
    assert_eq!(fs::read(with(Some("hf_mine")).unwrap()).unwrap(), b"text");
    let sent = place.server.log();
    assert_eq!(sent.last().unwrap().bearer.as_deref(), Some("hf_mine"));
}

#[test]
fn offline_only_the_cache_is_used() {
    let (place, bytes) = squad(vec![]);
    let error = pull(&place.offline()).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }));
    assert!(
        error.to_string().contains("HF_HUB_OFFLINE forbids"),
        "{error}"
    );
    assert!(place.server.log().is_empty());

    pull(&place.hub()).unwrap();
    let requests = place.server.log().len();
    assert_eq!(fs::read(pull(&place.offline()).unwrap()).unwrap(), bytes);
    assert_eq!(place.server.log().len(), requests);
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::new(HubOptions {
        endpoint: Some(format!("http://{free}")),
        token: None,
        cache: folder.path().into(),
        offline: None,
    })
    .unwrap();
    for error in [
        pull(&hub).unwrap_err(),
        model_file(&hub, "u/r").unwrap_err(),
    ] {
        assert!(matches!(error, HubError::NoConnection { .. }), "{error}");
        let text = error.to_string();
        for part in ["HF_ENDPOINT", "HF_HUB_OFFLINE=1", &free.to_string()] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn names_that_would_leave_the_cache_are_refused() {
    let place = models(&["../../evil-Q4_K_M.gguf"]);
    assert!(matches!(
        model_file(&place.hub(), "u/r-GGUF"),
        Err(HubError::FileNotFound { .. })
    ));
    for spec in ["u", "../r", "u/r/s", "u/", "u/r:", "u/r?x:Q8_0", "/r"] {
        let error = model_file(&place.hub(), spec).unwrap_err();
        assert!(matches!(error, HubError::Spec { .. }), "{spec}: {error}");
    }
}

#[test]
fn the_environment_is_that_of_the_hubs_own_tools() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    fs::write(folder.path().join("token"), "hf_file\n").unwrap();
    let options = |variables: &[(&str, &str)]| {
        HubOptions::from_variables(|name| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| value.into())
        })
    };
    let some = |text: &str| Some(text.to_string());

    let plain = options(&[("HF_HOME", home)]);
    assert_eq!(plain.cache, folder.path().join("hub"));
    assert_eq!((plain.endpoint, plain.offline), (None, None));
    assert_eq!(plain.token, some("hf_file"));

    let full = options(&[
        ("HF_HOME", home),
        ("HF_HUB_CACHE", "/elsewhere"),
        ("HF_ENDPOINT", "http://mirror"),
        ("HF_TOKEN", "hf_variable"),
        ("HF_HUB_OFFLINE", "0"),
        ("TRANSFORMERS_OFFLINE", "True"),
    ]);
    assert_eq!(full.cache, Path::new("/elsewhere"));
    assert_eq!(full.endpoint, some("http://mirror"));
    assert_eq!(full.token, some("hf_variable"));
    assert_eq!(full.offline, Some("TRANSFORMERS_OFFLINE"));

    let shared = options(&[("XDG_CACHE_HOME", home), ("HF_TOKEN", "")]);
    assert_eq!(shared.cache, folder.path().join("huggingface/hub"));
    assert_eq!(shared.token, None);
    let implicit = [("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
    assert_eq!(options(&implicit).token, None);
}
