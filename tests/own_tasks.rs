//! Tasks of the user's own: from a file to stored rows, and what is said of files that are wrong.

mod common;

use std::fmt::Write;

use common::place::{Place, one_line_error, recipe};
use midlayer::engine::{Engine, Request, Straightforward, log_softmax};
use midlayer::experiment::Treatment;
use midlayer::runtime::ContextOptions;
use midlayer::store::ResultRow;
use midlayer::tasks::{Capitals, Room};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::json;

const RECORDS: &str = r#"{"id": "fr", "question": "the capital of France", "answer": "Paris", "subject": "France"}
{"id": "nl", "question": "the capital of Norway", "answer": ["Oslo", "oslo"], "subject": "Norway"}
{"id": "sp", "question": "the capital of Sweden", "answer": "Stockholm", "subject": "Sweden"}
{"id": "no", "question": "the capital of nowhere", "answer": "none", "subject": "Peru"}
"#;

fn place(records: &str, toml: &str) -> Place {
    let place = Place::new();
    std::fs::write(place.path("mine.jsonl"), records).unwrap();
    std::fs::write(place.path("mine.toml"), toml).unwrap();
    place
}

#[test]
fn a_file_becomes_rows_figures_and_an_export() {
    let place = place(RECORDS, "");
    place
        .run("sweep -m tiny.gguf -t 1 --task mine=mine.jsonl --manipulate freeze,inject,filler --layers all --tokens subject --out runs/a")
        .success()
        .stdout(contains("mine: clean accuracy"))
        .stderr(contains("mine: inject leaves out").or(contains("has no part called 'subject'")));
    let rows = place.rows("runs/a");
    let items: std::collections::BTreeSet<&str> = rows.iter().map(|r| &*r.item).collect();
    assert_eq!(items.into_iter().collect::<Vec<_>>(), ["fr", "nl", "sp"]);
    let frozen = rows
        .iter()
        .filter(|r| r.cell.treatment.to_string() == "freeze");
    assert_eq!(frozen.count(), 3 * 3);
    let injected: Vec<&ResultRow> = rows
        .iter()
        .filter(|r| r.modified_correct.is_some())
        .collect();
    assert!(!injected.is_empty() && injected.len().is_multiple_of(4));
    let with_difference = rows
        .iter()
        .filter(|r| r.metrics.contains_key("logit_difference"));
    assert!(with_difference.count() >= injected.len());
    for file in ["report.html", "score-mine.svg", "inject-mine.svg"] {
        assert!(place.path("runs/a").join(file).exists(), "{file}");
    }
    place
        .run("export runs/a -o csv")
        .success()
        .stdout(contains("metric_logit_difference").and(contains("mine")));
    // The same records under other settings are another run.
    std::fs::write(place.path("mine.toml"), "template = \"{question} is\"").unwrap();
    one_line_error(1, "own.template")(place.run(
        "sweep -m tiny.gguf -t 1 --task mine=mine.jsonl --manipulate freeze,inject,filler --layers all --tokens subject --out runs/a",
    ));
}

#[test]
fn capitals_could_be_a_file() {
    let place = place("", "");
    let model = recipe().build().unwrap();
    let options = ContextOptions {
        n_ctx: 1024,
        ..ContextOptions::default()
    };
    let engine = Straightforward::new(model.into(), &options).unwrap();
    let capitals = Capitals {
        shots: 1,
        wording: Default::default(),
        room: Room::new(1024, None),
    };
    let set = capitals.items(engine.tokenizer(), 6).unwrap();
    let mut records = String::new();
    for item in &set.items {
        let record = json!({"id": item.id, "prompt": item.prompt.text, "answer": item.answer.text});
        writeln!(records, "{record}").unwrap();
    }
    std::fs::write(place.path("mine.jsonl"), records).unwrap();
    let sweep = "sweep -m tiny.gguf -t 1 -c 1024 --manipulate freeze,random --layers all";
    place
        .run(&format!(
            "{sweep} --task capitals --shots 1 --limit 6 --out a"
        ))
        .success();
    place
        .run(&format!("{sweep} --task mine=mine.jsonl --out b"))
        .success();
    let told = |run| {
        let mut rows = place.rows(run);
        rows.sort_by_key(|r| (r.item.clone(), r.cell.treatment.to_string(), r.cell.layer));
        let told = rows
            .into_iter()
            .map(|r| (r.item, r.cell.layer, r.answer, r.logprob, r.kl));
        told.collect::<Vec<_>>()
    };
    let (built_in, own) = (told("a"), told("b"));
    assert_eq!(built_in.len(), own.len());
    for (a, b) in built_in.iter().zip(&own) {
        assert_eq!((&a.0, a.1, &a.2), (&b.0, b.1, &b.2));
        assert!(
            (a.3 - b.3).abs() < 1e-4 && (a.4 - b.4).abs() < 1e-4,
            "{a:?} {b:?}"
        );
    }
}

/// Prompts of the test of choices.
const PROMPTS: usize = 2;

/// What choices are compared by, computed a token at a time.
#[test]
fn the_likeliest_choice_is_the_one_that_is_told() {
    let choices = ["one", "twelve", "three hundred"];
    let line = |right: &str, n: usize| json!({"id": format!("{right} {n}"), "prompt": format!("count {n}, then"), "answer": right, "choices": choices});
    let mut records = String::new();
    for right in choices {
        for n in 0..PROMPTS {
            writeln!(records, "{}", line(right, n)).unwrap();
        }
    }
    for normalise in [false, true] {
        let toml = format!("scoring = \"choices\"\nnormalise = {normalise}");
        let place = place(&records, &toml);
        place
            .run("sweep -m tiny.gguf -t 1 --task mine=mine.jsonl --manipulate freeze --layers 1 --out a")
            .success();
        let model = recipe().build().unwrap();
        let mut engine = Straightforward::new(model.into(), &ContextOptions::default()).unwrap();
        let mut likelihood = |text: &str, choice: &str| {
            let prompt = engine.tokenizer().prompt(text).unwrap();
            let whole = engine
                .tokenizer()
                .prompt(&format!("{text} {choice}"))
                .unwrap();
            let own = whole.tokens.len() - prompt.tokens.len();
            let mut sum = 0.0;
            for n in 0..own {
                let upto = Request {
                    tokens: whole.tokens[..prompt.tokens.len() + n].to_vec(),
                    ..Request::default()
                };
                let next = whole.tokens[prompt.tokens.len() + n];
                sum += log_softmax(&engine.logits(&upto).unwrap())[next.0 as usize];
            }
            if normalise { sum / own as f64 } else { sum }
        };
        let best: Vec<&str> = (0..PROMPTS)
            .map(|n| {
                let text = format!("count {n}, then");
                let told = choices.map(|choice| (likelihood(&text, choice), choice));
                told.into_iter()
                    .max_by(|a, b| a.0.total_cmp(&b.0))
                    .unwrap()
                    .1
            })
            .collect();
        let rows = place.rows("a");
        let clean = rows.iter().filter(|r| r.cell.treatment == Treatment::Clean);
        let mut right = 0;
        for row in clean {
            let (answer, n) = row.item.rsplit_once(' ').unwrap();
            let best = best[n.parse::<usize>().unwrap()];
            assert_eq!(row.correct, best == answer, "{}", row.item);
            right += usize::from(row.correct);
        }
        assert_eq!(right, PROMPTS, "each prompt has one likeliest choice");
    }
}

/// The logits of the two words' first differing tokens, after what they share.
#[test]
fn the_logit_difference_is_that_of_the_tokens_that_differ() {
    let place = place(
        "{\"prompt\": \"to be\", \"answer\": \"yes\", \"foil\": \"yet\"}\n",
        "scoring = \"whole-answer\"",
    );
    place
        .run(
            "sweep -m tiny.gguf -t 1 --task mine=mine.jsonl --manipulate freeze --layers 1 --out a",
        )
        .success();
    let model = recipe().build().unwrap();
    let mut engine = Straightforward::new(model.into(), &ContextOptions::default()).unwrap();
    let token = |text: &str| {
        *engine
            .tokenizer()
            .prompt(text)
            .unwrap()
            .tokens
            .last()
            .unwrap()
    };
    let (right, wrong) = (token("to be yes"), token("to be yet"));
    let shared = engine.tokenizer().prompt("to be ye").unwrap();
    let logits = engine.logits(&Request::new(&shared)).unwrap();
    let expected = f64::from(logits[right.0 as usize] - logits[wrong.0 as usize]);
    let rows = place.rows("a");
    let clean = rows
        .iter()
        .find(|r| r.cell.treatment == Treatment::Clean)
        .unwrap();
    let found = clean.metrics["logit_difference"];
    assert!(
        expected.abs() > 1e-3 && (found - expected).abs() < 2e-3,
        "{found} {expected}"
    );
}

#[test]
fn generated_answers_are_scored_by_the_metric_that_is_named() {
    let records =
        "{\"prompt\": \"say\", \"answer\": [\"x\"]}\n{\"prompt\": \"tell\", \"answer\": [\"y\"]}\n";
    let place = place(
        records,
        "scoring = \"generated\"\nmetric = \"exact\"\nmax_tokens = 5\nstop = \"\"",
    );
    place
        .run(
            "sweep -m tiny.gguf -t 1 --task mine=mine.jsonl --manipulate freeze --layers 1 --out a",
        )
        .success()
        .stdout(contains("mine: clean exact match"));
    let rows = place.rows("a");
    assert!(rows.iter().all(|r| r.metrics.contains_key("exact_match")));
}

#[test]
fn mistakes_are_named_and_leave_nothing_behind() {
    let sweep = "sweep -m tiny.gguf -t 1 --manipulate freeze --layers 1 --out a";
    let wrong = place(
        "{\"question\": \"x\", \"answer\": \"y\"}\n{\"question\": \"x\"}\n",
        "",
    );
    let run = |line: &str| wrong.run(&format!("{sweep} {line}"));
    one_line_error(
        1,
        "mine.jsonl: line 2: key 'answer' is missing (--task mine=FILE)",
    )(run("--task mine=mine.jsonl"));
    one_line_error(1, "--task mine=FILE")(run("--task mine=nowhere.jsonl"));
    run("--task mine").code(2).stderr(contains("NAME=FILE"));
    run("--task capitals=mine.jsonl")
        .code(2)
        .stderr(contains("--data capitals"));
    one_line_error(1, "--limit: other is neither")(run("--task capitals --limit other=3"));
    std::fs::write(wrong.path("mine.toml"), "shot = 2").unwrap();
    one_line_error(1, "mine.toml")(run("--task mine=mine.jsonl"));
    assert!(!wrong.path("a").exists());
    let twice = place(&format!("{RECORDS}{RECORDS}"), "");
    twice
        .run(&format!("{sweep} --task mine=mine.jsonl"))
        .success()
        .stderr(contains("another item has the same id (4)"));
}

#[test]
fn tasks_are_listed_and_files_are_checked() {
    let place = place(RECORDS, "shots = 1");
    place
        .run("tasks")
        .success()
        .stdout(contains("capitals: the capital of a country").and(contains("mine.toml")));
    place
        .run("tasks mine.jsonl")
        .success()
        .stdout(contains("4 records, 3 of them asked and 1 shown"));
    std::fs::write(place.path("mine.jsonl"), "{\"prompt\": 1}").unwrap();
    one_line_error(1, "line 1: key 'answer' is missing")(place.run("tasks mine.jsonl"));
}
