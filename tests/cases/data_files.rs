//! Data files as programs write them.

use std::path::{Path, PathBuf};
use std::process::Command;

use midlayer::store::StoredRun;
use midlayer::tasks::data::{read_cnn_dailymail, read_squad};
use predicates::str::contains;

use crate::common::place::Place;
use crate::common::python::Python;
use crate::common::require::{PANDAS, not_run};

/// Everything that pyarrow writes of the hub's two sets: codecs, encodings, types of texts.
const SCRIPT: &str = r#"
import sys
import pyarrow as pa
import pyarrow.parquet as pq
folder = sys.argv[1]
context = ["The harbour held 140 boats.", "It rained in M\u00fcnchen."]
answers = [
    {"text": ["140", "140 boats"], "answer_start": [17, 17]},
    {"text": ["M\u00fcnchen"], "answer_start": [13]},
]
def table(text, ids, listed=pa.list_, records=False):
    inner = [("text", text), ("answer_start", pa.int32())]
    if records:
        kind = listed(pa.struct(inner))
        values = [[dict(zip(a, of)) for of in zip(*a.values())] for a in answers]
    else:
        kind = pa.struct([(name, listed(of)) for name, of in inner])
        values = answers
    plain = [("context", context), ("question", ["How many boats?", "Where?"])]
    columns = {name: pa.array(values, type=text) for name, values in plain}
    columns["id"] = ids
    columns["answers"] = pa.array(values, type=kind)
    columns["extra"] = pa.array([[[1]], None], type=pa.list_(pa.list_(pa.int8())))
    return pa.table(columns)
ids = pa.array([7, 8], type=pa.int64())
plain = table(pa.string(), ids)
n = 0
def write(table, **how):
    global n
    pq.write_table(table, f"{folder}/{n}.parquet", **how)
    n += 1
for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
    write(plain, compression=codec)
    write(plain, compression=codec, data_page_version="2.0", use_dictionary=False)
for version in ["1.0", "2.4", "2.6"]:
    write(plain, version=version, use_compliant_nested_type=False)
write(plain, column_encoding={"context": "DELTA_BYTE_ARRAY", "question": "DELTA_LENGTH_BYTE_ARRAY"}, use_dictionary=False)
write(plain, row_group_size=1, write_statistics=False, write_page_index=True, write_page_checksum=True)
write(plain, store_schema=False)
write(table(pa.large_string(), ids, pa.large_list))
write(table(pa.string_view(), ids))
write(table(pa.string(), ids, records=True))
for kind in [pa.int8(), pa.uint16(), pa.uint64(), pa.string(), pa.large_string()]:
    write(table(pa.string(), ids.cast(kind)))
words = table(pa.string(), ids.cast(pa.string()))
for name in ["context", "question", "id"]:
    at = words.column_names.index(name)
    words = words.set_column(at, name, words[name].combine_chunks().dictionary_encode())
write(words)
write(plain.rename_columns({"context": "article", "question": "highlights"}).drop_columns(["answers"]), compression="brotli")
print(n)
"#;

#[test]
fn whatever_pyarrow_writes_is_read() {
    let python = match Python::with_pandas() {
        Ok(python) => python,
        Err(why) => {
            return not_run("whatever_pyarrow_writes_is_read", PANDAS, &why);
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let mut command: Command = python.command();
    let output = command.args(["-c", SCRIPT]).arg(folder.path());
    let output = output.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let n: usize = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap();
    let file = |n: usize| folder.path().join(format!("{n}.parquet"));
    for n in 0..n - 1 {
        let found = read_squad(&file(n)).unwrap_or_else(|error| panic!("{n}: {error}"));
        assert_eq!(found.len(), 2, "{n}");
        assert_eq!((&*found[0].id, &*found[1].id), ("7", "8"), "{n}");
        assert_eq!(found[0].answers, ["140", "140 boats"], "{n}");
        assert_eq!(found[1].context, "It rained in M\u{fc}nchen.", "{n}");
    }
    let articles = read_cnn_dailymail(&file(n - 1)).unwrap();
    assert_eq!(
        (&*articles[0].id, &*articles[1].highlights),
        ("7", "Where?")
    );
}

/// Languages without spaces, and no language at all, are cut where they must be.
#[test]
fn a_text_without_spaces_is_cut() {
    let place = Place::new();
    let chinese = "\u{4eca}\u{5929}\u{5929}\u{6c14}\u{5f88}\u{597d}\u{3002}".repeat(60);
    let spaced = format!("\u{4eca}\u{5929} {}", chinese);
    let word = "x".repeat(900);
    let words = "one two ".repeat(120);
    let lines = [&chinese, &spaced, &word, &words].map(|article| {
        serde_json::json!({ "article": article, "highlights": "\u{5929}\u{6c14}" }).to_string()
    });
    std::fs::write(place.path("a.jsonl"), lines.join("\n")).unwrap();
    let line = "sweep -m tiny.gguf -t 1 -c 400 --task cnn_dailymail --data cnn_dailymail=a.jsonl --layers 2 --out r";
    place.run(line).success();
    let stored = StoredRun::read(&place.path("r")).unwrap();
    let items = &stored.variants[0].items;
    assert_eq!(items.len(), 4);
    for (item, kept) in items.iter().zip([chinese, spaced, word, words]) {
        let prompt = &item.prompt;
        let article = prompt.strip_prefix("Article: ").unwrap();
        let article = article.split("\n\nSummary").next().unwrap();
        assert!(kept.starts_with(article), "{prompt}");
        // A token is a byte; a character of Chinese has three, a word with its space four.
        assert!(
            (294..=298).contains(&prompt.len()),
            "{}: {prompt}",
            prompt.len()
        );
    }
    assert_eq!(stored.variants[0].cut["cnn_dailymail"], 4);
    // Where not even a beginning fits, the article is left out.
    let line = line
        .replace("-c 400", "-c 160")
        .replace("--out r", "--out s");
    place
        .run(&line)
        .code(1)
        .stderr(contains("it does not fit the context"));
}

fn write(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn json_is_read_however_it_is_laid_out() {
    let folder = tempfile::tempdir().unwrap();
    let record = |id: &str| {
        format!(
            "{{{id}\"title\": null, \"context\": \"It rained.\", \"question\": \"What?\", \"answers\": {{\"text\": [\"rain\"], \"answer_start\": [3]}}}}"
        )
    };
    let (one, two) = (
        record("\"id\": 5, "),
        record("").replace("rained", "snowed"),
    );
    let lines = format!("\u{feff}\r\n{one}\r\n\r\n{two}\r\n\n");
    let array = format!("\n[{one},\n {two}]\n");
    for (name, text, ids) in [
        ("a.jsonl", &lines, ["5", "4"]),
        ("a.json", &lines, ["5", "4"]),
        ("b.json", &array, ["5", "2"]),
    ] {
        let found = read_squad(&write(folder.path(), name, text.as_bytes())).unwrap();
        assert_eq!([&*found[0].id, &*found[1].id], ids, "{name}");
        assert_eq!(found[1].context, "It snowed.");
        assert_eq!(found[0].answers, ["rain"]);
    }
    let official = "{\"data\": [{\"paragraphs\": [{\"context\": \"c\", \"qas\": [{\"id\": 17, \"question\": \"q\"}]}]}]}";
    let found = read_squad(&write(folder.path(), "o.json", official.as_bytes())).unwrap();
    assert_eq!((&*found[0].id, found[0].answers.len()), ("17", 0));

    let articles = "[{\"id\": 1.5, \"article\": \"a\", \"highlights\": \"b\"}, {\"article\": \"c\", \"highlights\": \"d\"}]";
    let found = read_cnn_dailymail(&write(folder.path(), "c.json", articles.as_bytes())).unwrap();
    assert_eq!([&*found[0].id, &*found[1].id], ["1.5", "2"]);

    // What is wrong in a record is said with its place.
    let wrong = format!("{one}\n{{\"context\": \"c\"}}\n");
    let error = read_squad(&write(folder.path(), "w.jsonl", wrong.as_bytes())).unwrap_err();
    assert!(
        error.to_string().contains("line 2: missing field"),
        "{error}"
    );
}
