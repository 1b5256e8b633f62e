//! `midlayer map --task` from outside.

mod common;

use common::place::{Place, json_lines, one_line_error};
use serde_json::Value;

const EXACT: &str = "-t 1 -fa off -ctk f32 -ctv f32";

/// Over a task the average is that of the items' maps, and an item's map is that of its prompt.
#[test]
fn a_tasks_maps_are_averaged() {
    let place = Place::new();
    let task = format!("-m tiny.gguf --task capitals --limit 3 --shots 0 {EXACT} -o json");
    let rows = json_lines(place.run(&format!("map {task} --corrupt subject --layers 1-2")));
    let (average, items): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row["item"].is_null());
    assert_eq!(average.len(), 6 * 2, "six roles, two layers");
    let names: std::collections::BTreeSet<_> = items.iter().map(|r| r["item"].as_str()).collect();
    assert_eq!(names.len(), 3);
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap();
    for role in ["before", "subject middle", "subject last"] {
        let of = |row: &&&Value| row["role"] == role && row["layer"] == 2;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let each = names.iter().map(|name| {
            let own = items
                .iter()
                .filter(of)
                .filter(|row| row["item"].as_str() == *name);
            mean(&own.map(|row| number(row, "value")).collect::<Vec<f64>>())
        });
        let expected = mean(&each.collect::<Vec<f64>>());
        let found = average.iter().find(of).unwrap();
        assert!((number(found, "value") - expected).abs() < 1e-9, "{found}");
        assert_eq!(found["items"], 3);
        assert!(number(found, "low") < expected && expected < number(found, "high"));
    }
    // The item's prompt by itself; its tokens are bytes.
    let name = names.first().unwrap().unwrap();
    let own: Vec<_> = items.iter().filter(|row| row["item"] == name).collect();
    let mut texts: Vec<(u64, &str)> = own
        .iter()
        .map(|row| {
            (
                row["position"].as_u64().unwrap(),
                row["text"].as_str().unwrap(),
            )
        })
        .collect();
    texts.sort_unstable();
    texts.dedup();
    let subject = own
        .iter()
        .filter(|row| row["role"].as_str().unwrap().starts_with("subject"));
    let subject: Vec<u64> = subject
        .map(|row| row["position"].as_u64().unwrap())
        .collect();
    let (first, last) = (subject.iter().min().unwrap(), subject.iter().max().unwrap());
    let prompt: String = texts
        .iter()
        .filter(|(_, t)| t.len() == 1)
        .map(|(_, t)| *t)
        .collect();
    let prompt = format!("{}:", prompt.trim_start().replace('\n', "\\n"));
    let mut command = place.command(&format!("map -m tiny.gguf --kl {EXACT} -o json --layers 2"));
    command.args(["--corrupt", &format!("{first}-{last}"), "-p", &prompt]);
    let alone = json_lines(assert_cmd::Command::from_std(command).assert());
    let task = task.replace("-o json", "-o json --kl");
    let rows = json_lines(place.run(&format!("map {task} --corrupt subject --layers 2")));
    let own: Vec<_> = rows.iter().filter(|row| row["item"] == name).collect();
    assert!(own.len() == alone.len() && !own.is_empty(), "{own:?}");
    for (row, cell) in own.into_iter().zip(&alone) {
        assert_eq!(
            (&row["position"], &row["text"]),
            (&cell["position"], &cell["text"])
        );
        assert!(
            (number(row, "value") - number(cell, "value")).abs() < 1e-4,
            "{row} {cell}"
        );
    }
    let heads = place.run("map -m tiny.gguf --task math --limit 2 --shots 0 --heads -t 1");
    let heads = String::from_utf8(heads.success().get_output().stdout.clone()).unwrap();
    assert!(
        heads.contains("one head at a time, over 2 items of math"),
        "{heads}"
    );
    let wrong = |line: &str, says: &str| one_line_error(2, says)(place.run(line));
    wrong(
        "map -m tiny.gguf --task math --limit 2",
        "--heads needs no subject",
    );
    wrong(
        "map -m tiny.gguf --task capitals --manipulate inject",
        "(--corrupt subject)",
    );
    place
        .run("map -m tiny.gguf --task capitals --answer x")
        .code(2)
        .stderr(predicates::str::contains("cannot be used with"));
}

/// Items are compared with foils of their own, or with one for all: each as in the map of its
/// prompt, and of several the likeliest.
#[test]
fn items_are_compared_with_their_foils() {
    let place = Place::new();
    let records = r#"{"id": "own", "prompt": "abcdefgh", "answer": "ij", "foil": "ik"}
{"id": "choices", "prompt": "hgfedcba", "answer": "x", "choices": ["x", "y", "z"]}
{"id": "none", "prompt": "hgfe", "answer": "y"}"#;
    std::fs::write(place.path("q.jsonl"), records).unwrap();
    let settings = format!("-m tiny.gguf {EXACT} -o json --heads --manipulate zero --layers 1");
    let items = |foil: &str| {
        let map = format!("map {settings} --task mine=q.jsonl --shots 0 {foil}");
        json_lines(place.run(&map))
    };
    let of = |rows: &[Value], item: &str, key: &str| -> Vec<f64> {
        let rows = rows.iter().filter(|row| row["item"].as_str() == Some(item));
        rows.map(|row| row[key].as_f64().unwrap()).collect()
    };
    let alone = |prompt: &str, answer: &str, foil: &str| {
        let mut command = place.command(&format!("map {settings} -p {prompt}"));
        command.args(["--answer", answer, "--foil", foil]);
        json_lines(assert_cmd::Command::from_std(command).assert())
    };
    let numbers = |rows: &[Value], key: &str| -> Vec<f64> {
        let numbers = rows.iter().map(|row| row[key].as_f64().unwrap());
        numbers.collect()
    };
    let near = |a: &[f64], b: &[f64]| {
        assert_eq!(a.len(), b.len());
        let mut pairs = a.iter().zip(b);
        assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
    };
    let own = items("--foil");
    assert!(of(&own, "none", "value").is_empty(), "it has no foil");
    let expected = alone("abcdefgh", " ij", " ik");
    near(&of(&own, "own", "clean"), &numbers(&expected, "clean"));
    near(&of(&own, "own", "value"), &numbers(&expected, "value"));
    let two = ["y", "z"].map(|foil| alone("hgfedcba", " x", &format!(" {foil}")));
    let [y, z] = two.each_ref().map(|rows| {
        let pairs = numbers(rows, "clean")
            .into_iter()
            .zip(numbers(rows, "value"));
        pairs
            .map(|(clean, value)| (clean, clean + value))
            .collect::<Vec<_>>()
    });
    let least = |of: fn(&(f64, f64)) -> f64| -> Vec<f64> {
        let pairs = y.iter().zip(&z);
        pairs.map(|(y, z)| of(y).min(of(z))).collect()
    };
    let (clean, cell) = (least(|pair| pair.0), least(|pair| pair.1));
    near(&of(&own, "choices", "clean"), &clean);
    let changes: Vec<f64> = cell
        .iter()
        .zip(&clean)
        .map(|(cell, clean)| cell - clean)
        .collect();
    near(&of(&own, "choices", "value"), &changes);

    // One for all; what begins as an answer does is none.
    let all = items("--foil y");
    assert!(of(&all, "none", "value").is_empty(), "its answer is y");
    let expected = numbers(&two[0], "value");
    near(&of(&all, "choices", "value"), &expected);
    let shown = place.run(&format!(
        "map {settings} --task mine=q.jsonl --shots 0 --foil y"
    ));
    let shown = String::from_utf8(shown.success().get_output().stderr.clone()).unwrap();
    assert!(
        shown.contains("1 other is left out: the foil begins as its answer does (1)"),
        "{shown}"
    );
    one_line_error(
        2,
        "it has no foil (1) (--task; --foil TEXT gives one to all items)",
    )(place.run(&format!(
        "map {settings} --task math --limit 1 --shots 0 --foil"
    )));
}

/// Items are those of the data that are named.
#[test]
fn a_tasks_data_are_named() {
    let place = Place::new();
    let data = r#"{"data": [{"title": "t", "paragraphs": [{"context": "The sky is blue.", "qas": [
        {"id": "sky", "question": "What is blue?", "answers": [{"text": "The sky", "answer_start": 0}]}
    ]}]}]}"#;
    std::fs::write(place.path("own.json"), data).unwrap();
    let map = "map -m tiny.gguf -t 1 -o json --heads --manipulate zero --layers 1";
    let rows = json_lines(place.run(&format!("{map} --task squad --data squad=own.json")));
    let items = rows.iter().filter(|row| !row["item"].is_null());
    let items: Vec<_> = items.collect();
    assert!(!items.is_empty() && items.iter().all(|row| row["item"] == "sky"));
    let wrong = |code: i32, data: &str, says: &str| {
        one_line_error(code, says)(place.run(&format!("{map} --task squad --data {data}")));
    };
    wrong(2, "cnn_dailymail=own.json", "the task is squad (--task)");
    wrong(1, "squad=none.json", "squad=FILE");
}
