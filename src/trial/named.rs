//! A task by its name, and what its items depend on.

use std::path::{Path, PathBuf};

use crate::hub::pulled_dataset;
use crate::models::{Held, HeldError, Remember, cache_folder};
use crate::runtime::ChatDate;
use crate::tasks::data::DataError;
use crate::tasks::own::{Definition, DefinitionError};
use crate::tasks::{DataSource, TASKS, Task, TaskError, TaskName, TaskSpec};

/// A built-in task, or one of the user's own, as `NAME=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTask {
    /// Its name.
    pub task: TaskName,
    /// The records of a task of the user's own.
    pub file: Option<PathBuf>,
}

/// What is said of a task's items, where something is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// Items at most.
    pub limit: Option<usize>,
    /// Examples before the question.
    pub shots: Option<usize>,
    /// The day that the model's chat template is told, where prompts go into it.
    pub chat: Option<ChatDate>,
    /// Whether special tokens that texts spell out are these tokens.
    pub parse_special: bool,
    /// The file of a built-in task's data; a task that reads none has none.
    pub data: Option<&'a Path>,
    /// Math: the largest operand and the seed of the questions; 20 and 1 without it.
    pub math: Option<(u32, u64)>,
}

/// Why a task that was named has no settings.
#[derive(Debug, thiserror::Error)]
pub enum NamedTaskError {
    /// What says what the task is.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Its records.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A name that is no task's.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Data for a task that reads none.
    #[error("{task} reads no data, {} do (`data`)", reading())]
    NoData {
        /// The task.
        task: TaskName,
    },
    /// The current folder.
    #[error(transparent)]
    Folder(#[from] std::io::Error),
    /// A file that cannot be read, and what names it.
    #[error("{0} ({1})")]
    File(HeldError, String),
}

/// The built-in tasks that read data.
fn reading() -> String {
    let reads = TASKS.iter().filter(|(_, task)| task.reads_data());
    let names: Vec<&str> = reads.map(|(name, _)| name.as_str()).collect();
    names.join(" and ")
}

impl std::str::FromStr for NamedTask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || {
            let names: Vec<&str> = TASKS.iter().map(|(name, _)| name.as_str()).collect();
            names.join(", ")
        };
        let Some((name, file)) = text.split_once('=') else {
            let known = TASKS.iter().find(|(name, _)| name.as_str() == text);
            let (task, _) = known.ok_or_else(|| {
                format!(
                    "'{text}' is not a task; choose from {}, or write NAME=FILE for one of your own",
                    names()
                )
            })?;
            return Ok(Self {
                task: *task,
                file: None,
            });
        };
        let task = TaskName::new(name)?;
        if task.built_in().is_some() {
            return Err(format!(
                "{task} is a built-in task: give your own another name; a built-in task's data is `data` {task}=FILE"
            ));
        }
        if file.is_empty() {
            return Err(format!("{task}= names no file, as {task}=questions.jsonl"));
        }
        Ok(Self {
            task,
            file: Some(file.into()),
        })
    }
}

impl NamedTask {
    /// The task's settings.
    ///
    /// # Errors
    /// [`NamedTaskError`].
    pub fn spec(&self, told: &Told<'_>, keep: Remember) -> Result<TaskSpec, NamedTaskError> {
        let task = self.task;
        let own = self.file.as_deref().map(Definition::beside).transpose()?;
        let about: &dyn Task = match (&own, task.built_in()) {
            (Some(own), _) => own,
            (None, Some(built_in)) => built_in,
            (None, None) => return Err(TaskError::Unknown(task).into()),
        };
        let all = match (&own, &self.file) {
            (Some(own), Some(file)) => own.count(task, file)?,
            _ => about.usual_limit(),
        };
        let math = (task == TaskName::Math).then(|| told.math.unwrap_or((20, 1)));
        Ok(TaskSpec {
            task,
            version: about.version(),
            limit: told.limit.unwrap_or(all),
            shots: told.shots.unwrap_or(about.usual_shots()),
            chat: told.chat.is_some(),
            chat_date: told.chat,
            parse_special: told.parse_special,
            data: self.data_source(told, about, keep)?,
            math_max: math.map(|(max, _)| max),
            math_seed: math.map(|(_, seed)| seed),
            own,
        })
    }

    /// Where a task's items come from: the file named, else the pulled set, else the sample.
    fn data_source(
        &self,
        told: &Told<'_>,
        about: &dyn Task,
        keep: Remember,
    ) -> Result<Option<DataSource>, NamedTaskError> {
        let task = self.task;
        if told.data.is_some() && (self.file.is_some() || !about.reads_data()) {
            return Err(NamedTaskError::NoData { task });
        }
        if !about.reads_data() {
            return Ok(None);
        }
        let path = match self.file.as_deref().or(told.data) {
            Some(path) => Some(std::path::absolute(path)?),
            None => pulled_dataset(task.as_str()),
        };
        let setting = match self.file {
            Some(_) => format!("`task` {task}=FILE"),
            None => format!("`data` {task}=FILE"),
        };
        let open = |path: &PathBuf| Held::open_in(path, &cache_folder(), keep);
        let held = path.as_ref().map(open).transpose();
        let held = held.map_err(|error| NamedTaskError::File(error, setting))?;
        let noted = held.filter(|_| keep == Remember::Hash);
        Ok(Some(DataSource {
            sha256: noted.map(|held| held.sha256().to_string()),
            path,
        }))
    }
}
