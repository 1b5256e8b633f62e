//! A model of the hub as it is asked for: `user/repo[@revision][:quant]`.

use super::HubError;

/// The parts of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    /// The repository, `user/repo`.
    pub(super) repo: &'a str,
    /// A branch, a tag or a commit.
    pub(super) revision: Option<&'a str>,
    /// The repository with its revision, as it was written.
    pub(super) name: &'a str,
    /// The quant, or the name of a file.
    pub(super) quant: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// Takes a request apart. Names of files may hold an `@`, names of revisions no colon.
    pub(super) fn parse(spec: &'a str) -> Result<Self, HubError> {
        let (name, quant) = match spec.split_once(':') {
            Some((name, quant)) => (name, Some(quant)),
            None => (spec, None),
        };
        let (repo, revision) = match name.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (name, None),
        };
        check_repo(repo, spec)?;
        if revision.is_some_and(|revision| !names_a_revision(revision)) {
            let reason = "behind the @ goes a branch, a tag or a commit";
            return Err(malformed(spec, reason));
        }
        if quant.is_some_and(|quant| quant.trim().is_empty()) {
            return Err(malformed(spec, "there is no quant after the colon"));
        }
        Ok(Self {
            repo,
            revision,
            name,
            quant,
        })
    }
}

/// The name becomes part of paths and addresses, so only what the hub allows in names passes.
pub(super) fn check_repo(name: &str, spec: &str) -> Result<(), HubError> {
    match name.split_once('/') {
        Some((user, repo)) if is_plain(user) && is_plain(repo) => Ok(()),
        _ => Err(malformed(spec, "a repository is given as user/repo")),
    }
}

/// Likewise: the parts of `refs/pr/1` become folders of the cache.
fn names_a_revision(revision: &str) -> bool {
    revision.split('/').all(is_plain)
}

fn is_plain(part: &str) -> bool {
    part.chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && part.chars().any(|c| c != '.')
}

fn malformed(spec: &str, reason: &'static str) -> HubError {
    HubError::Spec {
        spec: spec.to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_three_parts() {
        let of = |spec| {
            let wanted = Wanted::parse(spec).unwrap();
            (wanted.repo, wanted.revision, wanted.name, wanted.quant)
        };
        assert_eq!(of("u/r"), ("u/r", None, "u/r", None));
        assert_eq!(
            of("u/r@v1.0:Q8_0"),
            ("u/r", Some("v1.0"), "u/r@v1.0", Some("Q8_0"))
        );
        assert_eq!(
            of("u/r@refs/pr/1"),
            ("u/r", Some("refs/pr/1"), "u/r@refs/pr/1", None)
        );
        assert_eq!(of("u/r:a@b.gguf"), ("u/r", None, "u/r", Some("a@b.gguf")));
        for bad in [
            "u",
            "u/r/s",
            "u/r@",
            "u/r@:Q8_0",
            "u/r@..",
            "u/r@../x",
            "u/r@/x",
            "u/r@x//y",
            "u/r@a b",
            "u/r@a#b",
            "u/r:",
        ] {
            assert!(Wanted::parse(bad).is_err(), "{bad}");
        }
    }
}
