//! SQuAD 1.1: the official JSON, or the records of `rajpurkar/squad` on the Hugging Face hub, as
//! Parquet or as JSON.

use std::path::Path;

use serde::Deserialize;

use super::rows::rows;
use super::{DataError, DataFile, Place, json_id, json_reason};
use crate::tasks::TaskName;

/// A question about a passage. Texts have no space at their ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The data set's own name for it.
    pub id: String,
    /// The title of the article that the passage is from.
    pub title: String,
    /// The passage.
    pub context: String,
    /// The question.
    pub question: String,
    /// What people answered, each answer once, in the order of the file. Empty where the
    /// question has none.
    pub answers: Vec<String>,
}

impl Question {
    /// A question; one without a name of its own goes by its number.
    fn new(
        (id, number): (Option<&str>, usize),
        title: &str,
        context: &str,
        question: &str,
        answers: &[String],
    ) -> Self {
        let id = id.map(str::trim).filter(|id| !id.is_empty());
        let mut distinct: Vec<String> = Vec::new();
        for answer in answers.iter().map(|answer| answer.trim()) {
            if !answer.is_empty() && !distinct.iter().any(|known| known == answer) {
                distinct.push(answer.to_string());
            }
        }
        Self {
            id: id.map_or_else(|| number.to_string(), ToString::to_string),
            title: title.trim().to_string(),
            context: context.trim().to_string(),
            question: question.trim().to_string(),
            answers: distinct,
        }
    }
}

/// The official layout. Fields that are not used, `answer_start` among them, may be absent.
#[derive(Deserialize)]
struct Official {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    title: String,
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    id: Option<serde_json::Value>,
    question: String,
    #[serde(default)]
    answers: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

/// A record of the hub's layout.
#[derive(Deserialize)]
struct Flat {
    id: Option<serde_json::Value>,
    title: Option<String>,
    context: String,
    question: String,
    answers: Option<Answers>,
}

/// As the hub lays them out, or as the official file does.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answers {
    Columns { text: Vec<String> },
    Records(Vec<Text>),
}

impl Flat {
    fn question(self, number: usize) -> Question {
        let answers = match self.answers {
            None => Vec::new(),
            Some(Answers::Columns { text }) => text,
            Some(Answers::Records(texts)) => texts.into_iter().map(|a| a.text).collect(),
        };
        let id = self.id.as_ref().and_then(json_id);
        Question::new(
            (id.as_deref(), number),
            self.title.as_deref().unwrap_or_default(),
            &self.context,
            &self.question,
            &answers,
        )
    }
}

const TASK: TaskName = TaskName::Squad;

/// Reads the questions of a file, in its order. JSON (`.json`, `.jsonl`) is the official layout,
/// or the hub's records, one on each line or all in an array; `.parquet` is the hub's.
///
/// # Errors
/// What is wrong with the file, and where.
pub fn read_squad(path: &Path) -> Result<Vec<Question>, DataError> {
    let file = DataFile::new(TASK, path);
    match file.extension().as_str() {
        "json" | "jsonl" => from_json(&file, &file.text()?),
        "parquet" => from_parquet(&file),
        _ => Err(DataError::Extension {
            file,
            expected: ".json, .jsonl or .parquet",
        }),
    }
}

/// Questions about invented passages, in the official layout.
pub fn sample_squad() -> Vec<Question> {
    let file = DataFile::new(TASK, Path::new("samples/squad.json"));
    from_json(&file, include_str!("../samples/squad.json")).expect("a test reads the sample")
}

fn from_json(file: &DataFile, text: &str) -> Result<Vec<Question>, DataError> {
    if text.trim_start().starts_with('[') {
        let records: Vec<Flat> = serde_json::from_str(text).map_err(|e| file.not_json(&e))?;
        let questions = records.into_iter().zip(1..).map(|(r, n)| r.question(n));
        return file.filled(questions.collect(), "questions");
    }
    if is_a_record_a_line(text) {
        return from_lines(file, text);
    }
    let official: Official = serde_json::from_str(text).map_err(|e| file.not_json(&e))?;
    let mut questions = Vec::new();
    for entry in official.data {
        for paragraph in entry.paragraphs {
            for asked in paragraph.qas {
                let answers: Vec<String> = asked.answers.into_iter().map(|a| a.text).collect();
                let id = asked.id.as_ref().and_then(json_id);
                questions.push(Question::new(
                    (id.as_deref(), questions.len() + 1),
                    &entry.title,
                    &paragraph.context,
                    &asked.question,
                    &answers,
                ));
            }
        }
    }
    file.filled(questions, "questions")
}

/// Whether the first line that holds something is a record: the official layout has `data`.
fn is_a_record_a_line(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    let first = first.and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    first.is_some_and(|value| value.get("context").is_some())
}

fn from_lines(file: &DataFile, text: &str) -> Result<Vec<Question>, DataError> {
    let mut questions = Vec::new();
    for (line, n) in text.split('\n').zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let record: Flat = serde_json::from_str(line)
            .map_err(|error| file.malformed(Place::Line(n), json_reason(&error)))?;
        questions.push(record.question(n));
    }
    file.filled(questions, "questions")
}

fn from_parquet(file: &DataFile) -> Result<Vec<Question>, DataError> {
    let columns = ["context", "question", "answers"];
    let questions = rows(file, &columns, &["id", "title"], |record| {
        Ok(Question::new(
            (record.id("id")?.as_deref(), record.number),
            &record.optional_text("title")?.unwrap_or_default(),
            &record.text("context")?,
            &record.text("question")?,
            &record.texts_in("answers", "text")?,
        ))
    })?;
    file.filled(questions, "questions")
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::PathBuf;
    use std::sync::Arc;

    use ::parquet::basic::Compression;
    use ::parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    use super::*;

    /// One article with one passage and two questions.
    const OFFICIAL: &str = r#"{"version": "1.1", "data": [{"title": "Port_Ellery", "paragraphs": [
  {"context": " The harbour held 140 boats. ", "extra": 1, "qas": [
   {"id": "q1", "question": "How many boats? ", "answers": [
     {"text": "140"}, {"text": "140 boats", "answer_start": 17}, {"text": " 140"}]},
   {"id": "q2", "question": "Which harbour?", "answers": []}]}]}]}"#;

    fn expected() -> Vec<Question> {
        let context = "The harbour held 140 boats.";
        let one = ["140".to_string(), "140 boats".to_string()];
        vec![
            Question::new(
                (Some("q1"), 1),
                "Port_Ellery",
                context,
                "How many boats?",
                &one,
            ),
            Question::new(
                (Some("q2"), 2),
                "Port_Ellery",
                context,
                "Which harbour?",
                &[],
            ),
        ]
    }

    fn write(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    fn refusal(name: &str, content: &[u8]) -> String {
        let (_folder, path) = write(name, content);
        let message = read_squad(&path).unwrap_err().to_string();
        let end = message.strip_prefix(&path.display().to_string()).unwrap();
        let end = end.strip_suffix(" (`data` squad=PATH)").unwrap();
        end.to_string()
    }

    #[test]
    fn reads_the_official_layout() {
        let (_folder, path) = write("dev.JSON", OFFICIAL.as_bytes());
        let found = read_squad(&path).unwrap();
        assert_eq!(found, expected());
        assert_eq!(found[0].answers, ["140", "140 boats"]);
        assert_eq!(found[0].context, "The harbour held 140 boats.");
    }

    #[test]
    fn sample_answers_are_in_their_passages() {
        for question in sample_squad() {
            assert!(!question.answers.is_empty(), "{}", question.id);
            for answer in &question.answers {
                assert!(question.context.contains(answer), "{}", question.id);
            }
        }
    }

    #[test]
    fn says_what_is_wrong_with_json() {
        let cut = &OFFICIAL.as_bytes()[..OFFICIAL.len() / 2];
        let message = refusal("dev.json", cut);
        assert!(message.starts_with(": line 3, column "), "{message}");
        assert!(message.contains(": EOF while parsing"), "{message}");

        let lacking = OFFICIAL.replace("\"question\"", "\"query\"");
        let message = refusal("dev.json", lacking.as_bytes());
        assert!(message.ends_with(": missing field `question`"), "{message}");

        assert!(refusal("dev.json", b"").contains(": EOF"));
        assert_eq!(
            refusal("dev.json", b"{\"data\": []}"),
            ": holds no questions"
        );
        assert_eq!(refusal("dev.json", b"{\n\xe9}"), ": line 2: not UTF-8");
        assert_eq!(
            refusal("dev.txt", OFFICIAL.as_bytes()),
            ": squad is read from files that end in .json, .jsonl or .parquet"
        );
        assert!(refusal("dev", b"").contains("end in"));
    }

    /// Writes the hub's layout with the two questions above.
    fn hub_file(path: &Path, compression: Compression, answers: &str) {
        let message = "message schema {
            optional binary id (UTF8); optional binary title (UTF8);
            optional binary context (UTF8); optional binary question (UTF8);
            optional group answers {
                optional group TEXTS (LIST) { repeated group list { optional binary element (UTF8); } }
                optional group answer_start (LIST) { repeated group list { optional int32 element; } }
            } }"
        .replace("TEXTS", answers);
        let schema = Arc::new(parse_message_type(&message).unwrap());
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .build();
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let context = " The harbour held 140 boats. ";
        for two in [
            ["q1", "q2"],
            ["Port_Ellery"; 2],
            [context; 2],
            ["How many boats? ", "Which harbour?"],
        ] {
            let mut column = group.next_column().unwrap().unwrap();
            column
                .typed::<ByteArrayType>()
                .write_batch(&two.map(ByteArray::from), Some(&[1, 1]), None)
                .unwrap();
            column.close().unwrap();
        }
        // Three answers, then an empty list: present down to the list, without an element.
        let (present, repeated) = ([4, 4, 4, 2], [0, 1, 1, 0]);
        let mut column = group.next_column().unwrap().unwrap();
        let texts = ["140", "140 boats", "140"].map(ByteArray::from);
        column
            .typed::<ByteArrayType>()
            .write_batch(&texts, Some(&present), Some(&repeated))
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<Int32Type>()
            .write_batch(&[17, 17, 17], Some(&present), Some(&repeated))
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn reads_the_hub_layout() {
        let (_folder, path) = write("dev.parquet", b"");
        let zstd = Compression::ZSTD(Default::default());
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd] {
            hub_file(&path, compression, "text");
            assert_eq!(read_squad(&path).unwrap(), expected());
        }
    }

    #[test]
    fn says_what_is_wrong_with_parquet() {
        let (_folder, path) = write("dev.parquet", b"");
        hub_file(&path, Compression::SNAPPY, "text");
        let whole = std::fs::read(&path).unwrap();
        for content in [b"", &whole[..whole.len() / 2], OFFICIAL.as_bytes()] {
            let message = refusal("dev.parquet", content);
            assert!(
                message.starts_with(": not a readable Parquet file: "),
                "{message}"
            );
        }
        hub_file(&path, Compression::SNAPPY, "texts");
        let message = read_squad(&path).unwrap_err().to_string();
        let wrong = ": record 1: column 'answers.text' is not a list of texts";
        assert!(message.contains(wrong), "{message}");
    }
}
