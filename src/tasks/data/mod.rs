//! Readers for the data of SQuAD and CNN/DailyMail, in the shapes in which it is published, and
//! the small samples that are part of the program.
//!
//! Files are read whole: the items chosen from them are spread over all of it.

mod cnn_dailymail;
mod rows;
mod squad;

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::TaskName;

pub use cnn_dailymail::{Article, read_cnn_dailymail, sample_cnn_dailymail};
pub use rows::PARQUET_THREAD;
pub(super) use rows::all_rows;
pub use squad::{Question, read_squad, sample_squad};

/// Why data could not be read. Every message names the file and the option it came from.
#[derive(Debug, Error)]
pub enum DataError {
    /// The file is not there or may not be read.
    #[error("{file}: {source} ({})", .file.option())]
    Io {
        /// The file.
        file: DataFile,
        /// Why.
        source: std::io::Error,
    },
    /// The ending of the file's name does not say how to read it.
    #[error("{file}: {} is read from files that end in {expected} ({})", .file.task, .file.option())]
    Extension {
        /// The file.
        file: DataFile,
        /// The endings that can be read.
        expected: &'static str,
    },
    /// A text file that is not UTF-8.
    #[error("{file}: {place}: not UTF-8 ({})", .file.option())]
    NotUtf8 {
        /// The file.
        file: DataFile,
        /// Where the first wrong byte is.
        place: Place,
    },
    /// Something in the file is not as it should be.
    #[error("{file}: {place}: {reason} ({})", .file.option())]
    Malformed {
        /// The file.
        file: DataFile,
        /// Where.
        place: Place,
        /// What.
        reason: String,
    },
    /// A table lacks a column.
    #[error("{file}: no column '{column}' among {found} ({})", .file.option())]
    MissingColumn {
        /// The file.
        file: DataFile,
        /// The column.
        column: &'static str,
        /// The columns that there are.
        found: String,
    },
    /// Not a Parquet file, or one that cannot be opened.
    #[error("{file}: not a readable Parquet file: {source} ({})", .file.option())]
    Parquet {
        /// The file.
        file: DataFile,
        /// Why.
        source: ::parquet::errors::ParquetError,
    },
    /// Well formed, with nothing in it.
    #[error("{file}: holds no {what} ({})", .file.option())]
    Empty {
        /// The file.
        file: DataFile,
        /// What it should hold.
        what: &'static str,
    },
}

/// A file and the task it is data for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// The file.
    pub path: PathBuf,
    /// The task.
    pub task: TaskName,
}

impl DataFile {
    pub(super) fn new(task: TaskName, path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            task,
        }
    }

    /// The option that named the file.
    pub fn option(&self) -> String {
        match self.task.built_in() {
            Some(_) => format!("`data` {}=PATH", self.task),
            None => format!("`task` {}=FILE", self.task),
        }
    }

    /// The ending of the file's name in lower case, without the dot.
    pub(super) fn extension(&self) -> String {
        let extension = self.path.extension().unwrap_or_default();
        extension.to_string_lossy().to_ascii_lowercase()
    }

    /// The whole file as text, without a byte order mark.
    pub(super) fn text(&self) -> Result<String, DataError> {
        let bytes = std::fs::read(&self.path).map_err(|source| self.io(source))?;
        let mut text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            DataError::NotUtf8 {
                file: self.clone(),
                place: Place::Line(1 + valid.iter().filter(|b| **b == b'\n').count()),
            }
        })?;
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Ok(text)
    }

    fn io(&self, source: std::io::Error) -> DataError {
        DataError::Io {
            file: self.clone(),
            source,
        }
    }

    pub(super) fn malformed(&self, place: Place, reason: impl Into<String>) -> DataError {
        DataError::Malformed {
            file: self.clone(),
            place,
            reason: quoted(&reason.into()),
        }
    }

    /// What serde_json says of a file that is read as one value.
    pub(super) fn not_json(&self, error: &serde_json::Error) -> DataError {
        let place = Place::Column {
            line: error.line(),
            column: error.column(),
        };
        self.malformed(place, json_reason(error))
    }

    fn missing<'a>(
        &self,
        column: &'static str,
        found: impl IntoIterator<Item = &'a str>,
    ) -> DataError {
        let found: Vec<&str> = found.into_iter().collect();
        DataError::MissingColumn {
            file: self.clone(),
            column,
            found: quoted(&found.join(", ")),
        }
    }

    /// `records`, unless there are none.
    pub(super) fn filled<T>(
        &self,
        records: Vec<T>,
        what: &'static str,
    ) -> Result<Vec<T>, DataError> {
        if records.is_empty() {
            return Err(DataError::Empty {
                file: self.clone(),
                what,
            });
        }
        Ok(records)
    }
}

impl fmt::Display for DataFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// A place in a file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line.
    Line(usize),
    /// A line and a byte in it, for files that are all in one line.
    Column {
        /// The line.
        line: usize,
        /// The byte.
        column: usize,
    },
    /// A record of a file without lines.
    Record(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::Column { line, column } => write!(f, "line {line}, column {column}"),
            Place::Record(record) => write!(f, "record {record}"),
        }
    }
}

/// `limit` of the items in their order, evenly spread over all of them, or all.
pub fn spread<T>(items: &[T], limit: usize) -> impl Iterator<Item = &T> {
    let n = limit.min(items.len());
    (0..n).map(move |i| &items[i * items.len() / n])
}

/// A text that quotes a file, in one line and not longer than one reads: a file can hold anything.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 160;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().map(plain).take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('\u{2026}');
    }
    short
}

/// A record's name, which programs write as a number, too.
pub(super) fn json_id(id: &serde_json::Value) -> Option<String> {
    match id {
        serde_json::Value::Null => None,
        serde_json::Value::String(id) => Some(id.clone()),
        other => Some(other.to_string()),
    }
}

/// What serde_json says without where: its lines count from where parsing began.
pub(super) fn json_reason(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    whole.strip_suffix(&place).unwrap_or(&whole).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_read() {
        assert!(sample_squad().len() >= 10);
        assert!(sample_cnn_dailymail().len() >= 10);
    }

    #[test]
    fn spreads_evenly() {
        let items: Vec<u32> = (0..10).collect();
        let spread = |limit| spread(&items, limit).copied().collect::<Vec<_>>();
        assert!(spread(0).is_empty());
        assert_eq!(spread(1), [0]);
        assert_eq!(spread(3), [0, 3, 6]);
        assert_eq!(spread(7), [0, 1, 2, 4, 5, 7, 8]);
        assert_eq!(spread(99), items);
        assert_eq!(super::spread::<u32>(&[], 5).count(), 0);
    }

    #[test]
    fn messages_name_file_place_and_option() {
        let file = DataFile::new(TaskName::Squad, Path::new("some/dev.json"));
        let error = file.malformed(Place::Column { line: 2, column: 7 }, "no answers");
        assert_eq!(
            error.to_string(),
            "some/dev.json: line 2, column 7: no answers (`data` squad=PATH)"
        );
        let error = file.missing("context", ["id", "title"]);
        assert_eq!(
            error.to_string(),
            "some/dev.json: no column 'context' among id, title (`data` squad=PATH)"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        for error in [
            read_squad(Path::new("not/here.json")).unwrap_err(),
            read_squad(Path::new("not/here.parquet")).unwrap_err(),
            read_cnn_dailymail(Path::new("not/here.csv")).unwrap_err(),
        ] {
            assert!(matches!(error, DataError::Io { .. }), "{error}");
            assert!(error.to_string().starts_with("not/here."), "{error}");
        }
    }

    #[test]
    fn line_of_the_first_wrong_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, b"{}\n{}\n{\"x\": \"\xff\"}\n").unwrap();
        let file = DataFile::new(TaskName::CnnDailymail, &path);
        let error = file.text().unwrap_err();
        assert!(matches!(
            error,
            DataError::NotUtf8 {
                place: Place::Line(3),
                ..
            }
        ));
        std::fs::write(&path, "\u{feff}text").unwrap();
        assert_eq!(file.text().unwrap(), "text");
    }
}
