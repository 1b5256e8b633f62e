//! A record of a user's own task.

use serde_json::{Map, Value};

use super::super::data::{DataError, DataFile, Place, json_id};
use super::{Definition, How};

/// A question, with everything that its file says of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// The record's name: its `id`, or else its line.
    pub id: String,
    /// The prompt, the template filled in.
    pub prompt: String,
    /// The right answer, and others that count as well.
    pub answers: Vec<String>,
    /// `choices`: the wrong ones.
    pub others: Vec<String>,
    /// The answer that the right one is compared with, for the logit difference.
    pub foil: Option<String>,
    /// What the question is about, as the prompt has it.
    pub subject: Option<String>,
    /// What takes the subject's place under `inject`, and the answers then.
    pub swap: Option<(String, Vec<String>)>,
    /// Donors are of the same group.
    pub group: Option<String>,
    /// Parts of the prompt by name.
    pub parts: Vec<(String, String)>,
}

/// Reads a record's keys, and says which of them is wrong.
pub(super) struct Keys<'r> {
    pub file: &'r DataFile,
    pub place: Place,
    pub map: &'r Map<String, Value>,
}

impl Keys<'_> {
    /// The record, its prompt made by `definition`.
    pub fn record(&self, definition: &Definition) -> Result<Record, DataError> {
        let prompt = match self.text("prompt")? {
            Some(prompt) => prompt,
            None => super::items::fill(&definition.template, |key| self.plain(key))
                .map_err(|reason| self.wrong(reason))?,
        };
        let answers = self.texts("answer")?;
        let answers = answers.ok_or_else(|| self.wrong("key 'answer' is missing"))?;
        let choices = self.texts("choices")?.unwrap_or_default();
        if definition.scoring == How::Choices {
            let right = choices.iter().filter(|choice| answers.contains(choice));
            if choices.len() < 2 || right.count() != 1 {
                return Err(self
                    .wrong("key 'choices' needs two choices or more, one of which is the answer"));
            }
        }
        let mut others = choices;
        others.retain(|choice| !answers.contains(choice));
        let id = self.map.get("id").and_then(json_id);
        let number = match self.place {
            Place::Line(n) | Place::Record(n) | Place::Column { line: n, .. } => n,
        };
        Ok(Record {
            id: id.unwrap_or_else(|| number.to_string()),
            prompt,
            answers,
            others,
            foil: self.text("foil")?,
            subject: self.text("subject")?,
            swap: self.swap()?,
            group: self.text("group")?,
            parts: self.parts()?,
        })
    }

    /// `{"subject": "Italy", "answer": ["Rome"]}`, or the columns `swap_subject` and
    /// `swap_answer`.
    fn swap(&self) -> Result<Option<(String, Vec<String>)>, DataError> {
        let incomplete = || self.wrong("key 'swap' needs a subject and an answer");
        let (subject, answers) = match self.map.get("swap") {
            Some(Value::Object(map)) => {
                let inner = Keys { map, ..*self };
                (inner.text("subject")?, inner.texts("answer")?)
            }
            None | Some(Value::Null) => (self.text("swap_subject")?, self.texts("swap_answer")?),
            Some(_) => return Err(incomplete()),
        };
        match (subject, answers) {
            (None, None) => Ok(None),
            (Some(subject), Some(answers)) => Ok(Some((subject, answers))),
            _ => Err(incomplete()),
        }
    }

    fn parts(&self) -> Result<Vec<(String, String)>, DataError> {
        let Some(parts) = self.map.get("parts").filter(|parts| !parts.is_null()) else {
            return Ok(Vec::new());
        };
        let Value::Object(map) = parts else {
            return Err(self.wrong("key 'parts' is not an object of texts"));
        };
        let inner = Keys { map, ..*self };
        let texts = map
            .keys()
            .map(|key| Ok(inner.text(key)?.map(|text| (key.clone(), text))));
        Ok(texts
            .collect::<Result<Vec<_>, DataError>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    /// A text, or a number as one writes it.
    fn plain(&self, key: &str) -> Result<String, String> {
        match self.map.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
            Some(_) => Err(format!("key '{key}' is not a text")),
            None => Err(format!(
                "key '{key}' is missing, and the template asks for it"
            )),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, DataError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(_) => self
                .plain(key)
                .map(Some)
                .map_err(|reason| self.wrong(reason)),
        }
    }

    /// Texts: a list, or one text alone.
    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, DataError> {
        let Some(Value::Array(values)) = self.map.get(key) else {
            let one = self.text(key)?;
            return Ok(one.map(|text| vec![text.trim().to_string()]));
        };
        let mut texts: Vec<String> = Vec::new();
        for value in values {
            let text = match value {
                Value::String(text) => text.trim().to_string(),
                Value::Number(number) => number.to_string(),
                _ => return Err(self.wrong(format!("key '{key}' is not a list of texts"))),
            };
            if text.is_empty() {
                return Err(self.wrong(format!("key '{key}' holds an empty text")));
            }
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        if texts.is_empty() {
            return Err(self.wrong(format!("key '{key}' is an empty list")));
        }
        Ok(Some(texts))
    }

    fn wrong(&self, reason: impl Into<String>) -> DataError {
        self.file.malformed(self.place, reason)
    }
}
