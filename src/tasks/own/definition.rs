//! How a user's own task is asked and scored.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::data::{DataError, DataFile};
use super::super::{Asked, ItemSet, Metric, Task, TaskError, TaskName, TaskSpec};
use super::{items, read};

/// How the answers of a user's own task are scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The likeliest next token begins an accepted answer.
    #[default]
    NextToken,
    /// Greedy decoding gives exactly the first answer.
    WholeAnswer,
    /// The answer is likelier than the record's other choices.
    Choices,
    /// A text is generated and compared with the answers.
    Generated,
}

/// A user's own task. Every key may be left out of its TOML file, and so may the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Definition {
    /// The prompt of a record without `prompt`: `{question}` is the record's `question`, and so
    /// with its other keys. `{{` and `}}` are braces.
    pub template: String,
    /// How many records, from the beginning of the file, are shown before each question with
    /// their answers. They are not asked.
    pub shots: usize,
    /// What stands between two shown records.
    pub separator: String,
    /// How answers are scored.
    pub scoring: How,
    /// `choices`: whether log-probabilities are divided by how many tokens a choice has.
    pub normalise: bool,
    /// `generated`: what the score is: `exact`, `f1` or `rouge`.
    pub metric: Metric,
    /// `generated`: tokens at most.
    pub max_tokens: usize,
    /// `generated`: the text that ends an answer; empty for none.
    pub stop: String,
}

impl Default for Definition {
    fn default() -> Self {
        Self {
            template: "Q: {question}\nA:".into(),
            shots: 0,
            separator: "\n".into(),
            scoring: How::default(),
            normalise: false,
            metric: Metric::F1,
            max_tokens: 24,
            stop: "\n".into(),
        }
    }
}

/// What is wrong with a definition.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The file cannot be read.
    #[error("{}: {error} (it says how the task is asked)", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not TOML, or not of these keys.
    #[error("{}: {error}", .path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and what.
        error: Box<toml::de::Error>,
    },
    /// A value that does not fit the others.
    #[error("{}: {what}", .path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Definition {
    /// The definition beside a file of records: `mine.toml` beside `mine.jsonl`. Without such a
    /// file everything is as it is by default.
    ///
    /// # Errors
    /// [`DefinitionError`].
    pub fn beside(records: &Path) -> Result<Self, DefinitionError> {
        let path = records.with_extension("toml");
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(DefinitionError::Io { path, error }),
        }
    }

    /// How many records the file of a task holds, all of them well formed.
    ///
    /// # Errors
    /// What is wrong with a record, with its line and key.
    pub fn count(&self, task: TaskName, records: &Path) -> Result<usize, DataError> {
        let file = DataFile::new(task, records);
        Ok(read::records(&file, self)?.len())
    }

    fn parse(text: &str, path: &Path) -> Result<Self, DefinitionError> {
        let path = || path.to_path_buf();
        let definition: Self = toml::from_str(text).map_err(|error| DefinitionError::Toml {
            path: path(),
            error: Box::new(error),
        })?;
        let wrong = |what: &str| {
            Err(DefinitionError::Value {
                path: path(),
                what: what.into(),
            })
        };
        let generates = definition.scoring == How::Generated;
        if generates && definition.metric == Metric::Accuracy {
            return wrong("metric: a generated answer is scored by exact, f1 or rouge");
        }
        if generates && definition.max_tokens == 0 {
            return wrong("max_tokens: an answer has 1 token at least");
        }
        if let Err(what) = items::check_template(&definition.template) {
            return wrong(&format!("template: {what}"));
        }
        Ok(definition)
    }
}

impl Task for Definition {
    fn sentence(&self) -> &'static str {
        "a task of your own"
    }

    fn example(&self) -> String {
        format!("{} -> ...", self.template.replace('\n', "\\n"))
    }

    fn version(&self) -> u32 {
        1
    }

    fn metric(&self) -> Metric {
        match self.scoring {
            How::Generated => self.metric,
            _ => Metric::Accuracy,
        }
    }

    fn usual_shots(&self) -> usize {
        self.shots
    }

    fn reads_data(&self) -> bool {
        true
    }

    fn has_swaps(&self) -> bool {
        true
    }

    fn items(&self, spec: &TaskSpec, asked: Asked<'_>) -> Result<ItemSet, TaskError> {
        let path = spec.data_path().ok_or(TaskError::Unknown(spec.task))?;
        let records = read::records(&DataFile::new(spec.task, path), self)?;
        items::items(self, spec, &records, asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Definition, String> {
        Definition::parse(text, Path::new("mine.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_may_be_left_out() {
        assert_eq!(parse(""), Ok(Definition::default()));
        let some = parse("template = \"{question} =\"\nshots = 3\nscoring = \"choices\"").unwrap();
        assert_eq!((some.shots, some.scoring), (3, How::Choices));
        assert_eq!(Task::metric(&some), Metric::Accuracy);
        let json = serde_json::to_string(&some).unwrap();
        assert_eq!(serde_json::from_str::<Definition>(&json).unwrap(), some);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("shot = 3", "shot"),
            ("scoring = \"best\"", "next-token"),
            ("scoring = \"generated\"\nmetric = \"accuracy\"", "metric"),
            ("scoring = \"generated\"\nmax_tokens = 0", "max_tokens"),
            ("template = \"{question\"", "template"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                error.starts_with("mine.toml") && error.contains(part),
                "{error}"
            );
        }
    }

    #[test]
    fn without_a_file_beside_it_is_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let records = folder.path().join("mine.jsonl");
        assert_eq!(Definition::beside(&records).unwrap(), Definition::default());
        std::fs::write(folder.path().join("mine.toml"), "shots = 2").unwrap();
        assert_eq!(Definition::beside(&records).unwrap().shots, 2);
    }
}
