//! Where on the hub a file of the cache is from.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// A model's repository on the hub, and the revision of it that a file is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The repository, `user/repo`.
    pub repo: String,
    /// The commit.
    pub revision: String,
}

impl Origin {
    /// Where a file is from, if it lies in the cache of the hub's tools, whose paths say it:
    /// `models--user--repo/snapshots/<commit>/file`.
    pub fn of(path: &Path) -> Option<Self> {
        let path = std::path::absolute(path).ok()?;
        let parts: Vec<&str> = path
            .components()
            .map(|part| match part {
                Component::Normal(part) => part.to_str().unwrap_or_default(),
                _ => "",
            })
            .collect();
        let mut windows = parts.windows(4);
        windows.find_map(|window| {
            let [repo, "snapshots", revision, _] = window else {
                return None;
            };
            let repo = repo.strip_prefix("models--")?.replacen("--", "/", 1);
            Some(Self {
                repo,
                revision: (*revision).to_string(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_cache_says_where_a_file_is_from() {
        let of = |path: &str| Origin::of(Path::new(path)).map(|o| (o.repo, o.revision));
        let found = Some(("u/r-GGUF".to_string(), "0123".to_string()));
        assert_eq!(of("/hub/models--u--r-GGUF/snapshots/0123/m.gguf"), found);
        assert_eq!(of("models--u--r-GGUF/snapshots/0123/Q8/m.gguf"), found);
        assert_eq!(of("/hub/models--u--r-GGUF/blobs/0123"), None);
        assert_eq!(of("/models/m.gguf"), None);
    }
}
