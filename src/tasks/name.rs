//! A task's name.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Task, registry};

/// A task's name: letters, digits, `_` and `-`. The names of the built-in tasks are constants;
/// every other name is that of a user's own task.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskName(&'static str);

/// The longest name, in bytes: a name goes into tables and file names.
const LONGEST: usize = 40;

/// The names that are no constants. A program meets few, so they are never freed.
static KNOWN: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);

// They read as the variants of an enumeration do, in patterns, too.
#[expect(non_upper_case_globals)]
impl TaskName {
    /// The capital of a country.
    pub const Capitals: TaskName = TaskName("capitals");
    /// Addition and subtraction.
    pub const Math: TaskName = TaskName("math");
    /// SQuAD 1.1: a short answer from a passage.
    pub const Squad: TaskName = TaskName("squad");
    /// CNN/DailyMail: a summary of an article.
    pub const CnnDailymail: TaskName = TaskName("cnn_dailymail");
}

impl TaskName {
    /// What a task is called that has no name yet.
    pub const UNNAMED: TaskName = TaskName("NAME");

    /// A name, of a built-in task or another.
    ///
    /// # Errors
    /// A text that cannot be a name.
    pub fn new(name: &str) -> Result<Self, String> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > LONGEST || !name.chars().all(fine) {
            return Err(format!(
                "'{name}' cannot be a task's name: write up to {LONGEST} letters, digits, _ or -"
            ));
        }
        if let Some((known, _)) = registry::TASKS.iter().find(|(known, _)| known.0 == name) {
            return Ok(*known);
        }
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(name) {
            return Ok(Self(known));
        }
        let kept: &'static str = Box::leak(name.into());
        known.insert(kept);
        Ok(Self(kept))
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// The built-in task of this name, if there is one.
    pub fn built_in(self) -> Option<&'static dyn Task> {
        let mut tasks = registry::TASKS.iter();
        tasks.find(|(name, _)| *name == self).map(|(_, task)| *task)
    }

    /// The name of one of its items that a person reads: `France`, where the id is `FR`. The
    /// prompt may be empty where it is not at hand.
    pub fn title(self, id: &str, prompt: &str) -> String {
        let task = self.built_in();
        task.map_or_else(|| id.to_string(), |task| task.title(id, prompt))
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Debug for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromStr for TaskName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::new(text)
    }
}

impl Serialize for TaskName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for TaskName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_value() {
        assert_eq!(TaskName::new("capitals"), Ok(TaskName::Capitals));
        let own = TaskName::new("my-task_2").unwrap();
        assert_eq!(TaskName::new("my-task_2"), Ok(own));
        assert_ne!(TaskName::new("my-task_3"), Ok(own));
        assert!(own.built_in().is_none() && TaskName::Math.built_in().is_some());
        let json = serde_json::to_string(&own).unwrap();
        assert_eq!(json, "\"my-task_2\"");
        assert_eq!(serde_json::from_str::<TaskName>(&json).unwrap(), own);
    }

    #[test]
    fn items_have_names_that_people_read() {
        assert_eq!(TaskName::Capitals.title("FR", ""), "France");
        assert_eq!(TaskName::Capitals.title("??", ""), "??");
        let prompt = "Question: Old?\nAnswer: 1\n\nPassage: It is.\n\nQuestion: Is it?\nAnswer:";
        assert_eq!(TaskName::Squad.title("56be", prompt), "Is it?");
        assert_eq!(TaskName::Squad.title("56be", ""), "56be");
        assert_eq!(TaskName::new("own").unwrap().title("a", "b"), "a");
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for name in ["", "a b", "a/b", "../x", "ä", &"x".repeat(41)] {
            assert!(TaskName::new(name).is_err(), "{name}");
        }
    }
}
