//! Branches, tags and commits.

use std::fs;

use midlayer::hub::{HubError, Origin, model_file};

use super::{Place, entries};
use crate::server::{COMMIT, Repository, Version};

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
