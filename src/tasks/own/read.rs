//! Reads the records of a user's own task.

use serde_json::{Map, Value};

use super::super::data::{DataError, DataFile, Place, all_rows, json_reason};
use super::Definition;
use super::record::{Keys, Record};

/// The files that are read.
pub const ENDINGS: &str = ".jsonl, .json, .csv or .parquet";

/// What stands between several texts in a CSV file's column.
const BAR: char = '|';

/// CSV columns that hold several texts.
const LISTS: [&str; 3] = ["answer", "choices", "swap_answer"];

/// The records of a file: JSON lines, an array of JSON records, CSV with a header (several
/// answers or choices with `|` between them), or Parquet.
///
/// # Errors
/// What is wrong with the file, with the line and the key.
pub(super) fn records(file: &DataFile, definition: &Definition) -> Result<Vec<Record>, DataError> {
    let maps = match file.extension().as_str() {
        "jsonl" | "json" => json(file)?,
        "csv" => csv(file)?,
        "parquet" => {
            let rows = all_rows(file)?.into_iter().zip(1..);
            rows.map(|(map, n)| (Place::Record(n), map)).collect()
        }
        _ => {
            return Err(DataError::Extension {
                file: file.clone(),
                expected: ENDINGS,
            });
        }
    };
    let records = maps.iter().map(|(place, map)| {
        let keys = Keys {
            file,
            place: *place,
            map,
        };
        keys.record(definition)
    });
    file.filled(records.collect::<Result<_, _>>()?, "records")
}

type Placed = Vec<(Place, Map<String, Value>)>;

fn json(file: &DataFile) -> Result<Placed, DataError> {
    let text = file.text()?;
    let object = |place: Place, value: Value| match value {
        Value::Object(map) => Ok((place, map)),
        _ => Err(file.malformed(place, "not a record, as {\"prompt\": ..., \"answer\": ...}")),
    };
    if text.trim_start().starts_with('[') {
        let values: Vec<Value> = serde_json::from_str(&text).map_err(|e| file.not_json(&e))?;
        let values = values.into_iter().zip(1..);
        return values.map(|(v, n)| object(Place::Record(n), v)).collect();
    }
    let lines = text.split('\n').zip(1..);
    let lines = lines.filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(|(line, n)| {
            let place = Place::Line(n);
            let value = serde_json::from_str(line);
            object(
                place,
                value.map_err(|e| file.malformed(place, json_reason(&e)))?,
            )
        })
        .collect()
}

fn csv(file: &DataFile) -> Result<Placed, DataError> {
    let text = file.text()?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let line =
        |position: Option<&csv::Position>| Place::Line(position.map_or(1, |at| at.line() as usize));
    let wrong = |error: &csv::Error| file.malformed(line(error.position()), error.to_string());
    let header = reader.headers().map_err(|e| wrong(&e))?.clone();
    let mut maps = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| wrong(&e))?;
        let fields = header.iter().map(str::trim).zip(&record);
        let fields = fields.filter(|(_, field)| !field.trim().is_empty());
        let map = fields.map(|(column, field)| {
            let value = match LISTS.contains(&column) && field.contains(BAR) {
                true => Value::from(field.split(BAR).map(str::trim).collect::<Vec<_>>()),
                false => Value::from(field),
            };
            (column.to_string(), value)
        });
        maps.push((line(record.position()), map.collect()));
    }
    Ok(maps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::TaskName;
    use crate::tasks::own::How;

    fn read(name: &str, text: &str, definition: &Definition) -> Result<Vec<Record>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let file = DataFile::new(TaskName::new("mine").unwrap(), &path);
        let read = records(&file, definition);
        read.map_err(|e| e.to_string().replace(&path.display().to_string(), name))
    }

    #[test]
    fn the_same_records_from_lines_an_array_and_csv() {
        let lines = r#"{"id": 7, "question": "Capital of France?", "answer": ["Paris", "paris"], "subject": "France", "swap": {"subject": "Italy", "answer": "Rome"}}

{"question": "Capital of Peru?", "answer": "Lima"}
"#;
        let of_lines = read("a.jsonl", lines, &Definition::default()).unwrap();
        assert_eq!(of_lines.len(), 2);
        assert_eq!((&*of_lines[0].id, &*of_lines[1].id), ("7", "3"));
        assert_eq!(of_lines[0].prompt, "Q: Capital of France?\nA:");
        assert_eq!(
            of_lines[0].swap,
            Some(("Italy".into(), vec!["Rome".into()]))
        );
        let array = format!("[{}]", lines.trim().replace("\n\n", ","));
        let of_array = read("a.json", &array, &Definition::default()).unwrap();
        assert_eq!(of_array[0], of_lines[0]);
        let csv = "id,question,answer,subject,swap_subject,swap_answer\n\
                   7,Capital of France?,Paris|paris,France,Italy,Rome\n\
                   3,Capital of Peru?,Lima,,,\n";
        assert_eq!(
            read("a.csv", csv, &Definition::default()).unwrap(),
            of_lines
        );
    }

    #[test]
    fn a_mistake_is_named_with_file_line_and_key() {
        let choices = Definition {
            scoring: How::Choices,
            ..Definition::default()
        };
        let plain = Definition::default();
        for (text, definition, expected) in [
            (
                "{\"question\": \"x\"}",
                &plain,
                "line 1: key 'answer' is missing",
            ),
            (
                "\n{\"answer\": \"x\"}",
                &plain,
                "line 2: key 'question' is missing",
            ),
            (
                "{\"prompt\": \"x\", \"answer\": []}",
                &plain,
                "key 'answer' is an empty list",
            ),
            (
                "{\"prompt\": 1, \"answer\": {}}",
                &plain,
                "key 'answer' is not a text",
            ),
            (
                "{\"prompt\": \"x\", \"answer\": \"y\", \"swap\": {\"subject\": \"z\"}}",
                &plain,
                "key 'swap'",
            ),
            (
                "{\"prompt\": \"x\", \"answer\": \"y\", \"choices\": [\"z\", \"w\"]}",
                &choices,
                "key 'choices'",
            ),
            ("[1]", &plain, "record 1: not a record"),
            ("{", &plain, "line 1: EOF"),
            ("", &plain, "holds no records"),
        ] {
            let error = read("a.jsonl", text, definition).unwrap_err();
            let named = error.starts_with("a.jsonl: ") && error.ends_with("(`task` mine=FILE)");
            assert!(named && error.contains(expected), "{error}");
        }
    }
}
