//! CNN/DailyMail: JSON lines, CSV, or the Parquet files of `abisee/cnn_dailymail` on the Hugging
//! Face hub.

use std::path::Path;

use serde::Deserialize;

use super::rows::rows;
use super::{DataError, DataFile, Place, json_id, json_reason};
use crate::tasks::TaskName;

/// A news article and its summary. Texts have no space at their ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    /// The data set's own name for it, or the line (of a Parquet file the record) it stands on.
    pub id: String,
    /// The article.
    pub article: String,
    /// The summary, one sentence a line.
    pub highlights: String,
}

impl Article {
    fn new(id: Option<&str>, number: usize, article: &str, highlights: &str) -> Self {
        let id = id.map(str::trim).filter(|id| !id.is_empty());
        Self {
            id: id.map_or_else(|| number.to_string(), ToString::to_string),
            article: article.trim().to_string(),
            highlights: highlights.trim().to_string(),
        }
    }
}

/// A line of JSON.
#[derive(Deserialize)]
struct Line {
    /// Text, or a number where a program wrote its row index.
    id: Option<serde_json::Value>,
    article: String,
    highlights: String,
}

impl Line {
    fn article(&self, number: usize) -> Article {
        let id = self.id.as_ref().and_then(json_id);
        Article::new(id.as_deref(), number, &self.article, &self.highlights)
    }
}

const TASK: TaskName = TaskName::CnnDailymail;

/// Reads the articles of a file, in its order: JSON lines where it ends in `.jsonl` or `.json`,
/// CSV with a header where in `.csv`, Parquet where in `.parquet`.
///
/// # Errors
/// What is wrong with the file, and where.
pub fn read_cnn_dailymail(path: &Path) -> Result<Vec<Article>, DataError> {
    let file = DataFile::new(TASK, path);
    let articles = match file.extension().as_str() {
        "jsonl" | "json" => from_json(&file, &file.text()?)?,
        "csv" => from_csv(&file, &file.text()?)?,
        "parquet" => from_parquet(&file)?,
        _ => {
            return Err(DataError::Extension {
                file,
                expected: ".jsonl, .json, .csv or .parquet",
            });
        }
    };
    file.filled(articles, "articles")
}

/// Invented articles and their summaries.
pub fn sample_cnn_dailymail() -> Vec<Article> {
    let file = DataFile::new(TASK, Path::new("samples/cnn_dailymail.jsonl"));
    let sample = include_str!("../samples/cnn_dailymail.jsonl");
    from_lines(&file, sample).expect("a test reads the sample")
}

/// Objects, one on each line or all in one array.
fn from_json(file: &DataFile, text: &str) -> Result<Vec<Article>, DataError> {
    if !text.trim_start().starts_with('[') {
        return from_lines(file, text);
    }
    let lines: Vec<Line> = serde_json::from_str(text).map_err(|error| file.not_json(&error))?;
    let articles = lines.into_iter().zip(1..);
    Ok(articles.map(|(line, n)| line.article(n)).collect())
}

fn from_lines(file: &DataFile, text: &str) -> Result<Vec<Article>, DataError> {
    let mut articles = Vec::new();
    for (n, line) in text.split('\n').enumerate() {
        let number = n + 1;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        // Lists are asked about here, because serde would take one for an object's values.
        if !line.starts_with('{') {
            let reason = "not a JSON object; the file should have one on each line";
            return Err(file.malformed(Place::Line(number), reason));
        }
        let read: Line = serde_json::from_str(line)
            .map_err(|error| file.malformed(Place::Line(number), json_reason(&error)))?;
        articles.push(read.article(number));
    }
    Ok(articles)
}

fn from_csv(file: &DataFile, text: &str) -> Result<Vec<Article>, DataError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let wrong = |error: csv::Error| {
        let reason = match error.kind() {
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => format!("{len} fields where the header has {expected_len}"),
            _ => error.to_string(),
        };
        let line = Lines::of(text).at(error.position());
        file.malformed(Place::Line(line), reason)
    };
    let header = reader.headers().map_err(wrong)?.clone();
    // A file without a byte has a header without a column.
    if header.is_empty() {
        return Ok(Vec::new());
    }
    let find = |column: &str| header.iter().position(|name| name.trim() == column);
    let need = |column| find(column).ok_or_else(|| file.missing(column, &header));
    let (id, article, highlights) = (find("id"), need("article")?, need("highlights")?);
    let mut lines = Lines::of(text);
    let mut articles = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        articles.push(Article::new(
            id.map(|id| &record[id]),
            lines.at(record.position()),
            &record[article],
            &record[highlights],
        ));
    }
    Ok(articles)
}

/// Counts lines up to the records of a CSV text. The reader's own count is one short where
/// lines end in CR LF, for it stops between the two.
struct Lines<'a> {
    text: &'a [u8],
    /// How far lines were counted.
    byte: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            byte: 0,
            line: 1,
        }
    }

    /// The line on which a record starts, no earlier than the one before.
    fn at(&mut self, position: Option<&csv::Position>) -> usize {
        let start = position.map_or(0, |at| at.byte() as usize);
        while let Some(&byte) = self.text.get(self.byte) {
            // Ends of lines before a record count as empty lines.
            if self.byte >= start && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.line += usize::from(byte == b'\n');
            self.byte += 1;
        }
        self.line
    }
}

fn from_parquet(file: &DataFile) -> Result<Vec<Article>, DataError> {
    rows(file, &["article", "highlights"], &["id"], |record| {
        Ok(Article::new(
            record.id("id")?.as_deref(),
            record.number,
            &record.text("article")?,
            &record.text("highlights")?,
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::PathBuf;
    use std::sync::Arc;

    use ::parquet::basic::Compression;
    use ::parquet::data_type::{ByteArray, ByteArrayType};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    use super::*;

    fn write(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    fn read(name: &str, content: &str) -> Vec<Article> {
        let (_folder, path) = write(name, content.as_bytes());
        read_cnn_dailymail(&path).unwrap()
    }

    fn refusal(name: &str, content: &[u8]) -> String {
        let (_folder, path) = write(name, content);
        let message = read_cnn_dailymail(&path).unwrap_err().to_string();
        let end = message.strip_prefix(&path.display().to_string()).unwrap();
        let end = end.strip_suffix(" (`data` cnn_dailymail=PATH)").unwrap();
        end.to_string()
    }

    fn article(id: &str, article: &str, highlights: &str) -> Article {
        Article::new(Some(id), 0, article, highlights)
    }

    #[test]
    fn reads_lines() {
        let text = "\u{feff}{\"id\": \"a1\", \"article\": \" Snow fell. \", \"highlights\": \"Snow.\\nIce.\"}\r\n\n\
             {\"highlights\": \"Rain.\", \"article\": \"It rained.\", \"url\": null}\n\
             {\"id\": 7, \"article\": \"Fog.\", \"highlights\": \"Fog.\"}";
        let expected = [
            article("a1", "Snow fell.", "Snow.\nIce."),
            article("3", "It rained.", "Rain."),
            article("7", "Fog.", "Fog."),
        ];
        assert_eq!(read("a.jsonl", text), expected);
        assert_eq!(read("a.json", text), expected);
    }

    #[test]
    fn reads_csv() {
        let text = "id,article,highlights\na1,\"Snow, \"\"heavy\"\".\nMore.\",\"Snow.\nIce.\"\n,It rained.,Rain.\n";
        let expected = [
            article("a1", "Snow, \"heavy\".\nMore.", "Snow.\nIce."),
            article("5", "It rained.", "Rain."),
        ];
        assert_eq!(read("a.csv", text), expected);
        let without_id = "\u{feff}highlights,article\r\nRain.,It rained.\r\n\"Fog.\",Fog.\r\n";
        let expected = [
            article("2", "It rained.", "Rain."),
            article("3", "Fog.", "Fog."),
        ];
        assert_eq!(read("a.csv", without_id), expected);
    }

    #[test]
    fn samples_have_sentences() {
        for sample in sample_cnn_dailymail() {
            assert!(sample.article.len() > sample.highlights.len());
            assert!(sample.highlights.lines().count() >= 2, "{}", sample.id);
        }
    }

    #[test]
    fn says_what_is_wrong_with_lines() {
        let good = "{\"article\": \"a\", \"highlights\": \"b\"}\n";
        for (line, reason) in [
            ("{\"article\": \"a\", \"high", "EOF while parsing a string"),
            ("{\"article\": \"a\"}", "missing field `highlights`"),
            (
                "{\"article\": 5}",
                "invalid type: integer `5`, expected a string",
            ),
            (
                "[\"1\", \"a\", \"b\"]",
                "not a JSON object; the file should have one on each line",
            ),
        ] {
            let message = refusal("a.jsonl", format!("{good}\n{line}").as_bytes());
            assert_eq!(message, format!(": line 3: {reason}"));
        }
        assert_eq!(refusal("a.jsonl", b""), ": holds no articles");
        assert_eq!(refusal("a.jsonl", b"\n\n"), ": holds no articles");
        assert_eq!(refusal("a.jsonl", b"\n\xff"), ": line 2: not UTF-8");
        let endings =
            ": cnn_dailymail is read from files that end in .jsonl, .json, .csv or .parquet";
        assert_eq!(refusal("a.tsv", good.as_bytes()), endings);
    }

    #[test]
    fn says_what_is_wrong_with_csv() {
        assert_eq!(
            refusal("a.csv", b"id,article,summary\n1,a,b\n"),
            ": no column 'highlights' among id, article, summary"
        );
        assert_eq!(
            refusal("a.csv", b"id,article,highlights\n1,\"a\na\",b\n2,a\n"),
            ": line 4: 2 fields where the header has 3"
        );
        assert_eq!(refusal("a.csv", b""), ": holds no articles");
        assert_eq!(
            refusal("a.csv", b"article,highlights\n"),
            ": holds no articles"
        );
        assert_eq!(refusal("a.csv", b"article\n\xff"), ": line 2: not UTF-8");
    }

    /// Writes columns of text, not compressed; an empty text becomes null.
    fn parquet_file(path: &Path, columns: &[(&str, [&str; 2])]) {
        let fields: String = columns
            .iter()
            .map(|(name, _)| format!("optional binary {name} (UTF8); "))
            .collect();
        let schema = parse_message_type(&format!("message schema {{ {fields} }}")).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .build();
        let file = File::create(path).unwrap();
        let mut writer =
            SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for (_, texts) in columns {
            let present = texts.map(|text| i16::from(!text.is_empty()));
            let values: Vec<ByteArray> = texts
                .iter()
                .filter(|text| !text.is_empty())
                .map(|text| ByteArray::from(*text))
                .collect();
            let mut column = group.next_column().unwrap().unwrap();
            column
                .typed::<ByteArrayType>()
                .write_batch(&values, Some(&present), None)
                .unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn reads_parquet() {
        let (_folder, path) = write("a.parquet", b"");
        let article_column = ("article", ["Snow fell.", "It rained."]);
        let highlights = ("highlights", ["Snow.\nIce.", "Rain."]);
        parquet_file(&path, &[article_column, highlights, ("id", ["a1", ""])]);
        let expected = [
            article("a1", "Snow fell.", "Snow.\nIce."),
            article("2", "It rained.", "Rain."),
        ];
        assert_eq!(read_cnn_dailymail(&path).unwrap(), expected);

        parquet_file(&path, &[article_column, ("summary", ["a", "b"])]);
        let message = read_cnn_dailymail(&path).unwrap_err().to_string();
        let wrong = ": no column 'highlights' among article, summary";
        assert!(message.contains(wrong), "{message}");

        parquet_file(&path, &[article_column, ("highlights", ["a", ""])]);
        let message = read_cnn_dailymail(&path).unwrap_err().to_string();
        let wrong = ": record 2: column 'highlights' is null";
        assert!(message.contains(wrong), "{message}");

        // One byte of the text itself.
        let long = "It rained. ".repeat(100);
        parquet_file(&path, &[("article", [&long, "Fog."]), highlights]);
        let mut content = std::fs::read(&path).unwrap();
        content[600] = 0xff;
        let message = refusal("b.parquet", &content);
        assert!(message.starts_with(": record 1: "), "{message}");
        assert!(message.len() < 200, "{message}");
    }
}
