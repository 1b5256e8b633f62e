//! The hub's client against a server in this process: what lands in the cache, what is asked
//! for, and that nothing half-written passes for a file.

#[path = "common/hub_server.rs"]
mod server;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use midlayer::hub::{DATASETS, Hub, HubError, HubOptions, Origin, dataset_file, model_file};
use server::{COMMIT, Fault, Repository, Server, Version, sha256};
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

/// A repository whose files hold their own names.
fn models(names: &[&str]) -> Place {
    let files: Vec<_> = names.iter().map(|name| (*name, name.as_bytes())).collect();
    Place::new(Repository::new("u/r-GGUF", &files))
}

fn chosen(place: &Place, quant: &str) -> Result<String, String> {
    match model_file(&place.hub(), &format!("u/r-GGUF{quant}")) {
        Ok(path) => Ok(fs::read_to_string(path).unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_quant_is_a_whole_tag_of_a_name() {
    let place = models(&[
        "README.md",
        "m-1B-Q4_K.gguf",
        "m-1B-Q4_K_M.gguf",
        "m-1B-UD-Q4_K_M.gguf",
        "m-1B-Q5_K_S.gguf",
        "m-1B.q6_k.gguf",
        "m-1B_Q8_0.gguf",
        "m-1B-IQ4_XS.gguf",
        "m-1B-F16-00001-of-00001.gguf",
        "BF16/m-1B-BF16-00001-of-00002.gguf",
        "BF16/m-1B-BF16-00002-of-00002.gguf",
        "mmproj-Q3_K_M.gguf",
        "imatrix.gguf",
    ]);
    for (quant, file) in [
        ("", "m-1B-Q4_K_M.gguf"),
        (":Q4_K_M", "m-1B-Q4_K_M.gguf"),
        (":q4_k_m", "m-1B-Q4_K_M.gguf"),
        (":Q4_K", "m-1B-Q4_K.gguf"),
        (":UD-Q4_K_M", "m-1B-UD-Q4_K_M.gguf"),
        (":Q5_K", "m-1B-Q5_K_S.gguf"),
        (":Q6_K", "m-1B.q6_k.gguf"),
        (":Q8_0", "m-1B_Q8_0.gguf"),
        (":IQ4_XS", "m-1B-IQ4_XS.gguf"),
        (":F16", "m-1B-F16-00001-of-00001.gguf"),
        (":m-1B-Q4_K_M.gguf", "m-1B-Q4_K_M.gguf"),
    ] {
        assert_eq!(chosen(&place, quant).as_deref(), Ok(file), "{quant}");
    }
    let known = "BF16, F16, IQ4_XS, Q4_K, Q4_K_M, Q5_K_S, Q6_K, Q8_0, UD-Q4_K_M";
    for quant in ["Q2_K", "Q3_K_M", "K_M", "Q4", "4_XS"] {
        let error = chosen(&place, &format!(":{quant}")).unwrap_err();
        if quant == "Q4" {
            let files = "m-1B-Q4_K.gguf, m-1B-Q4_K_M.gguf";
            assert!(
                error.contains(files) && error.contains("several"),
                "{error}"
            );
        } else {
            assert!(
                error.contains(&format!("holds no {quant}; there is: {known} ")),
                "{error}"
            );
        }
    }
    // A model in parts: all of them are fetched, the first is what is loaded.
    let first = "BF16/m-1B-BF16-00001-of-00002.gguf";
    let path = model_file(&place.hub(), "u/r-GGUF:BF16").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), first);
    let second = path.with_file_name("m-1B-BF16-00002-of-00002.gguf");
    let text = fs::read_to_string(second).unwrap();
    assert_eq!(text, "BF16/m-1B-BF16-00002-of-00002.gguf");
}

#[test]
fn without_a_quant_there_is_an_order() {
    let second = models(&["m-Q2_K.gguf", "m-Q8_0.gguf", "mmproj-m-Q4_K_M.gguf"]);
    assert_eq!(chosen(&second, "").as_deref(), Ok("m-Q8_0.gguf"));
    let only = models(&["m.gguf", "mmproj-m.gguf", "README.md"]);
    assert_eq!(chosen(&only, "").as_deref(), Ok("m.gguf"));
    let neither = chosen(&models(&["m-Q2_K.gguf", "m-Q3_K_L.gguf"]), "").unwrap_err();
    assert!(
        neither.contains("no Q4_K_M and no Q8_0; there is: Q2_K, Q3_K_L"),
        "{neither}"
    );
    let none = chosen(&models(&["m.safetensors", "mmproj.gguf"]), "").unwrap_err();
    assert!(none.contains("u/r-GGUF holds no GGUF file"), "{none}");
    let two = chosen(&models(&["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"]), "").unwrap_err();
    assert!(two.contains("a-Q4_K_M.gguf, b-Q4_K_M.gguf"), "{two}");
}

#[test]
fn what_is_missing_is_named() {
    let (place, _) = squad(vec![]);
    let hub = place.hub();
    match dataset_file(&hub, "rajpurkar/squad", "plain_text/none.parquet") {
        Err(HubError::FileNotFound { repo, file }) => {
            assert_eq!(
                (&*repo, &*file),
                ("rajpurkar/squad", "plain_text/none.parquet")
            );
        }
        other => panic!("{other:?}"),
    }
    for missing in [
        dataset_file(&hub, "no/such", "file"),
        model_file(&hub, "no/such:Q8_0"),
    ] {
        match missing {
            Err(HubError::RepoNotFound { repo }) => assert_eq!(repo, "no/such"),
            other => panic!("{other:?}"),
        }
    }
    assert!(place.finished().is_empty());
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
fn offline_a_model_is_chosen_among_those_in_the_cache() {
    let place = models(&["m-Q4_K_M.gguf", "sub/m-Q8_0.gguf"]);
    let error = model_file(&place.offline(), "u/r-GGUF").unwrap_err();
    assert!(
        error.to_string().contains("HF_HUB_OFFLINE forbids"),
        "{error}"
    );
    chosen(&place, ":Q8_0").unwrap();
    let requests = place.server.log().len();
    for spec in ["u/r-GGUF", "u/r-GGUF:Q8_0"] {
        let path = model_file(&place.offline(), spec).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "sub/m-Q8_0.gguf");
    }
    let error = model_file(&place.offline(), "u/r-GGUF:Q4_K_M").unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    assert_eq!(place.server.log().len(), requests);
}

/// A repository whose main branch and whose other branch hold a file each of one name.
fn revisions() -> (Place, &'static str) {
    let other = "fedcba9876543210fedcba9876543210fedcba98";
    let mut repository = Repository::new("u/r", &[("m-Q8_0.gguf", b"of main")]);
    repository.others.push(Version {
        commit: other,
        names: vec!["v1.0", "refs/pr/7", "fedcba9"],
        files: vec![("m-Q8_0.gguf".into(), b"of the other".to_vec())],
    });
    (Place::new(repository), other)
}

#[test]
fn a_revision_is_a_branch_a_tag_or_a_commit() {
    let (place, other) = revisions();
    let whole = format!("u/r@{other}");
    let main = format!("u/r@{COMMIT}");
    for (spec, text, commit) in [
        ("u/r", "of main", COMMIT),
        ("u/r@v1.0", "of the other", other),
        ("u/r@refs/pr/7:Q8_0", "of the other", other),
        ("u/r@fedcba9:m-Q8_0.gguf", "of the other", other),
        (&whole, "of the other", other),
        ("u/r@main", "of main", COMMIT),
        (&main, "of main", COMMIT),
    ] {
        let path = model_file(&place.hub(), spec).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{spec}");
        let origin = Origin::of(&path).unwrap();
        assert_eq!((&*origin.repo, &*origin.revision), ("u/r", commit));
    }
    // One download for each content, and a commit needs no name of its own.
    assert_eq!(place.server.sent(), [0, 0]);
    let refs = place.cache().join("models--u--r/refs");
    let mut names = entries(&refs);
    names.sort();
    let expected = ["fedcba9", "main", "refs", "v1.0"];
    assert_eq!(names, expected.map(|name| refs.join(name)));
    assert_eq!(fs::read_to_string(refs.join("refs/pr/7")).unwrap(), other);
}

#[test]
fn offline_a_revision_is_looked_for_in_the_cache() {
    let (place, other) = revisions();
    let whole = format!("u/r@{other}");
    for spec in ["u/r@v1.0", &whole] {
        let error = model_file(&place.offline(), spec).unwrap_err();
        assert!(error.to_string().starts_with(spec), "{error}");
        assert!(matches!(error, HubError::Offline { .. }), "{error}");
    }
    model_file(&place.hub(), "u/r@v1.0").unwrap();
    let requests = place.server.log().len();
    for spec in ["u/r@v1.0:Q8_0", &whole] {
        let path = model_file(&place.offline(), spec).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "of the other");
    }
    // The main branch was never asked for.
    let error = model_file(&place.offline(), "u/r").unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    assert_eq!(place.server.log().len(), requests);
}

#[test]
fn a_revision_that_is_not_there_is_told_from_a_repository_that_is_not_there() {
    let (place, _) = revisions();
    match model_file(&place.hub(), "u/r@v2:Q8_0") {
        Err(HubError::RevisionNotFound { repo, revision }) => {
            assert_eq!((&*repo, &*revision), ("u/r", "v2"));
        }
        other => panic!("{other:?}"),
    }
    let error = model_file(&place.hub(), "no/such@v2").unwrap_err();
    assert!(matches!(error, HubError::RepoNotFound { .. }), "{error}");
    let error = model_file(&place.hub(), "u/r@v1.0:Q2_K").unwrap_err();
    assert!(
        error.to_string().starts_with("u/r@v1.0 holds no Q2_K"),
        "{error}"
    );
    let asked = place.server.log().len();
    for bad in ["u/r@", "u/r@../../x", "u/r@a b:Q8_0"] {
        let error = model_file(&place.hub(), bad).unwrap_err();
        assert!(matches!(error, HubError::Spec { .. }), "{error}");
    }
    assert_eq!(place.server.log().len(), asked);
    assert!(place.finished().is_empty());
}

#[test]
fn a_cut_connection_leaves_no_file_and_the_next_attempt_goes_on() {
    let (place, bytes) = squad(vec![Fault::Cut(100_000), Fault::Cut(50_000)]);
    let hub = place.hub();
    for kept in [100_000, 150_000] {
        match pull(&hub) {
            Err(HubError::Interrupted { done, total, .. }) => {
                assert_eq!((done, total), (kept, 300_000));
            }
            other => panic!("{other:?}"),
        }
        assert!(place.finished().is_empty());
        assert!(matches!(
            pull(&place.offline()),
            Err(HubError::Offline { .. })
        ));
    }
    assert_eq!(fs::read(pull(&hub).unwrap()).unwrap(), bytes);
    assert_eq!(place.server.sent(), [0, 100_000, 150_000]);
}

#[test]
fn wrong_bytes_are_not_kept() {
    let (place, bytes) = squad(vec![Fault::Flip]);
    let hub = place.hub();
    match pull(&hub) {
        Err(HubError::Mismatch { what, expected, .. }) => {
            assert_eq!((what, expected), ("SHA-256", sha256(&bytes)));
        }
        other => panic!("{other:?}"),
    }
    assert!(place.finished().is_empty());
    assert_eq!(fs::read(pull(&hub).unwrap()).unwrap(), bytes);
    assert_eq!(place.server.sent(), [0, 0]);
}

#[test]
fn a_server_that_does_not_resume_is_noticed() {
    let (place, bytes) = squad(vec![Fault::Cut(1000), Fault::NoRange]);
    let hub = place.hub();
    assert!(matches!(
        pull(&hub),
        Err(HubError::Interrupted { done: 1000, .. })
    ));
    match pull(&hub) {
        Err(HubError::Mismatch { what, found, .. }) => {
            assert_eq!((what, &*found), ("size", "301000"));
        }
        other => panic!("{other:?}"),
    }
    assert!(place.finished().is_empty());
    assert_eq!(fs::read(pull(&hub).unwrap()).unwrap(), bytes);
}

#[test]
fn what_an_attempt_left_unchecked_is_checked_by_the_next() {
    // All bytes were there when the process died; or, somehow, one too many.
    for (more, sent) in [(0, vec![]), (1, vec![0])] {
        let (place, bytes) = squad(vec![]);
        let folder = place.cache().join("datasets--rajpurkar--squad");
        let aside = folder.join(format!(".incoming-{}", sha256(&bytes)));
        let blobs = aside.join("datasets--rajpurkar--squad/blobs");
        fs::create_dir_all(&blobs).unwrap();
        let part = blobs.join(format!("{}.part", sha256(&bytes)));
        fs::write(&part, [&bytes[..], &vec![0; more]].concat()).unwrap();
        assert_eq!(fs::read(pull(&place.hub()).unwrap()).unwrap(), bytes);
        assert_eq!(place.server.sent(), sent);
        assert!(!aside.exists());
    }
}

#[test]
fn two_at_once_download_once() {
    let (place, bytes) = squad(vec![]);
    let hub = place.hub();
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| pull(&hub).unwrap()));
        for path in both.map(|thread| thread.join().unwrap()) {
            assert_eq!(fs::read(path).unwrap(), bytes);
        }
    });
    assert_eq!(place.server.sent(), [0]);
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
