//! Where the parts of a run lie: `runs/x/shards/3-of-16` is the third of sixteen of the run
//! `runs/x`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Shard, ShardError};
use crate::store::{DATABASE, SHARDS};

/// The parts that a run's folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shards {
    /// How many there are in all.
    pub count: u32,
    /// The folders of those that have been begun, by their numbers.
    pub begun: BTreeMap<u32, PathBuf>,
}

impl Shard {
    /// The folder of this part of the run in `out`.
    pub fn folder(&self, out: &Path) -> PathBuf {
        let Self { count, number } = self;
        out.join(SHARDS).join(format!("{number}-of-{count}"))
    }

    fn of_name(name: &str) -> Option<Self> {
        let (number, count) = name.split_once("-of-")?;
        let shard = Self {
            count: count.parse().ok()?,
            number: number.parse().ok()?,
        };
        (1..=shard.count).contains(&shard.number).then_some(shard)
    }

    /// Fails where the run in `out` is divided in another way already.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn check(&self, out: &Path) -> Result<(), ShardError> {
        match Shards::of(out)? {
            Some(shards) if shards.count != self.count => Err(ShardError::OtherCount {
                folder: out.into(),
                found: shards.count,
                asked: self.count,
            }),
            _ => Ok(()),
        }
    }
}

impl Shards {
    /// The parts in a run's folder; `None` where it has none.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn of(run: &Path) -> Result<Option<Self>, ShardError> {
        let folder = run.join(SHARDS);
        let failed = |error: std::io::Error| ShardError::Folder {
            folder: folder.clone(),
            reason: error.to_string(),
        };
        let entries = match fs::read_dir(&folder) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            entries => entries.map_err(failed)?,
        };
        let mut found: Option<Self> = None;
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(shard) = name.and_then(Shard::of_name) else {
                continue;
            };
            if !path.join(DATABASE).is_file() {
                continue;
            }
            let shards = found.get_or_insert_with(|| Self {
                count: shard.count,
                begun: BTreeMap::new(),
            });
            if shards.count != shard.count {
                return Err(ShardError::Mixed {
                    folder,
                    one: shards.count.min(shard.count),
                    other: shards.count.max(shard.count),
                });
            }
            shards.begun.insert(shard.number, path);
        }
        Ok(found)
    }
}

/// Numbers as schedulers take them: `1,4-6`.
pub fn list(numbers: &[u32]) -> String {
    let spans = numbers.chunk_by(|a, b| a + 1 == *b);
    let spans = spans.map(|span| match span {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    spans.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_their_names() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(Shards::of(run.path()), Ok(None));
        let begin = |number, count| {
            let folder = Shard { count, number }.folder(run.path());
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(DATABASE), "").unwrap();
            folder
        };
        let third = begin(3, 16);
        // Begun, and nothing in it yet; and what is somebody else's.
        fs::create_dir_all(run.path().join(SHARDS).join("4-of-16")).unwrap();
        fs::create_dir_all(run.path().join(SHARDS).join("notes")).unwrap();
        let found = Shards::of(run.path()).unwrap().unwrap();
        assert_eq!(
            (found.count, found.begun),
            (16, BTreeMap::from([(3, third)]))
        );
        Shard {
            count: 16,
            number: 1,
        }
        .check(run.path())
        .unwrap();
        let error = Shard {
            count: 8,
            number: 1,
        }
        .check(run.path())
        .unwrap_err();
        assert!(error.to_string().contains("`shard` K/16"), "{error}");
        begin(1, 8);
        assert!(matches!(
            Shards::of(run.path()),
            Err(ShardError::Mixed { .. })
        ));
    }

    #[test]
    fn numbers_are_listed_as_an_array() {
        assert_eq!(list(&[1, 4, 5, 6, 9]), "1,4-6,9");
        assert_eq!(list(&[]), "");
    }
}
