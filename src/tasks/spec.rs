//! A task's settings: everything that its items depend on.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::data::DataError;
use super::own::Definition;
use super::{Asked, ItemSet, Metric, Room, Task, TaskName};
use crate::engine::{EngineError, Tokenizer, Wording};
use crate::files::{Held, HeldError};
use crate::runtime::ChatDate;

/// A task and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task.
    pub task: TaskName,
    /// The version of its items.
    pub version: u32,
    /// Items at most.
    pub limit: usize,
    /// Examples before the question (SQuAD and CNN/DailyMail have a fixed prompt).
    pub shots: usize,
    /// Whether prompts go into the model's chat template.
    pub chat: bool,
    /// The day that the chat template is told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub chat_date: Option<ChatDate>,
    /// Whether special tokens that texts spell out are these tokens.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub parse_special: bool,
    /// Where the items come from, for tasks that read data.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<DataSource>,
    /// Math: the largest operand.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub math_max: Option<u32>,
    /// Math: the seed of the questions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub math_seed: Option<u64>,
    /// What a user's own task is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub own: Option<Definition>,
}

/// Where a task's items come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSource {
    /// The file; `None` for the small set that the program carries. A name that is not UTF-8 is
    /// stored as it is shown; the hash tells files apart.
    #[serde(serialize_with = "as_shown")]
    pub path: Option<PathBuf>,
    /// SHA-256 of the file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<String>,
}

fn as_shown<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = path.as_ref().map(|path| path.to_string_lossy());
    shown.serialize(serializer)
}

/// Why a task has no items.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The tokenizer failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The data file cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data file is not the one that was hashed.
    #[error(transparent)]
    Changed(#[from] HeldError),
    /// A name that is neither a built-in task's nor comes with a definition.
    #[error("{0} is no built-in task, and nothing says what it is; name its file: `task` {0}=FILE")]
    Unknown(TaskName),
}

impl TaskSpec {
    /// What the task says of itself; `None` for a name that this program does not know.
    pub fn about(&self) -> Option<&dyn Task> {
        match &self.own {
            Some(own) => Some(own),
            None => self.task.built_in().map(|task| task as &dyn Task),
        }
    }

    /// What the task's score is.
    pub fn metric(&self) -> Metric {
        self.about().map_or(Metric::Accuracy, Task::metric)
    }

    /// The task's items for a tokenizer, and for a context of `n_ctx` tokens. `learned` is how
    /// many positions the model has learned, where it has learned them.
    ///
    /// # Errors
    /// [`TaskError`].
    pub fn items(
        &self,
        tokenizer: &dyn Tokenizer,
        n_ctx: u32,
        learned: Option<u32>,
    ) -> Result<ItemSet, TaskError> {
        let asked = Asked {
            tokenizer,
            wording: Wording {
                chat: self.chat.then(|| self.chat_date.unwrap_or_default()),
                parse_special: self.parse_special,
            },
            room: Room::new(n_ctx, learned),
        };
        let held = self.held()?;
        let task = self.about().ok_or(TaskError::Unknown(self.task))?;
        let items = task.items(self, asked)?;
        // What was read is what was hashed.
        held.map_or(Ok(()), |held| held.check_path())?;
        Ok(items)
    }

    /// The data file, if it is the one of the specification. A file that the specification has no
    /// hash of is read as it is.
    fn held(&self) -> Result<Option<Held>, HeldError> {
        let expected = self.data.as_ref().and_then(|data| data.sha256.as_deref());
        let Some((path, expected)) = self.data_path().zip(expected) else {
            return Ok(None);
        };
        let held = Held::open(path)?;
        held.expect(expected)?;
        Ok(Some(held))
    }

    /// The file that the items come from, if there is one.
    pub fn data_path(&self) -> Option<&Path> {
        self.data.as_ref().and_then(|data| data.path.as_deref())
    }

    /// Whether the items are the small set that the program carries, written by a language
    /// model.
    pub fn is_sample(&self) -> bool {
        let reads_data = self.about().is_some_and(Task::reads_data);
        reads_data && self.data_path().is_none()
    }
}
