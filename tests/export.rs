//! `midlayer export` from outside: every format holds what was stored, by Rust and by pandas.

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use common::exported::{cells, read_csv, read_jsonl, read_parquet, read_sql};
use common::place::{Place, one_line_error};
use common::python::Python;
use common::require::{PANDAS, not_run};
use midlayer::export::{Prompts, Record, records, schema};
use midlayer::store::{ResultRow, StoredRun};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::json;

const RUNS: [&str; 2] = ["runs/first", "runs/second"];

/// Two runs: two models on the tasks of one token, a task that generates.
fn with_runs() -> Place {
    let place = Place::new();
    place
        .run("quantize -m tiny.gguf --levels q8_0 --out .")
        .success();
    place
        .run(
            "sweep -m tiny.gguf,tiny.requantized-q8_0.gguf -t 1 --task capitals,math --shots 1 \
             --limit 6 --manipulate freeze,random,inject --layers 1-3 --seed 1,2 --out runs/first",
        )
        .success();
    place
        .run(
            "sweep -m tiny.gguf -t 1 -c 1400 --task squad,cnn_dailymail --limit 1 --site kv \
             --manipulate freeze --extent window:2 --layers 1 --tokens skip:2 --from-step 1 \
             --out runs/second",
        )
        .success();
    place
}

fn stored(place: &Place) -> Vec<StoredRun> {
    RUNS.map(|run| StoredRun::read(&place.path(run)).unwrap())
        .to_vec()
}

fn results(runs: &[StoredRun]) -> Vec<&ResultRow> {
    let variants = runs.iter().flat_map(|run| &run.variants);
    variants.flat_map(|variant| &variant.rows).collect()
}

fn read(place: &Place, name: &str) -> Vec<u8> {
    std::fs::read(place.path(name)).unwrap()
}

#[test]
fn every_format_holds_every_result() {
    let place = with_runs();
    for format in ["csv", "jsonl", "md", "sql", "parquet"] {
        place
            .run(&format!("export {} --out rows.{format}", RUNS.join(" ")))
            .success()
            .stdout("")
            .stderr(contains("wrote").and(contains("rows to rows.")));
    }
    let runs = stored(&place);
    let each = ["first", "second"].into_iter().zip(&runs);
    let expected: Vec<Record<'_>> = each
        .flat_map(|(name, run)| records(name, run, Prompts::LeftOut))
        .collect();
    let lines = read(&place, "rows.jsonl");
    let found = read_jsonl(&lines);
    assert_eq!(found.len(), expected.len());
    let expected = cells(&expected);
    assert_eq!(cells(&found), expected);
    assert_eq!(read_csv(&read(&place, "rows.csv")), expected);
    assert_eq!(read_sql(&read(&place, "rows.sql")), expected);
    assert_eq!(read_parquet(&read(&place, "rows.parquet")), expected);
    let markdown = String::from_utf8(read(&place, "rows.md")).unwrap();
    assert_eq!(markdown.split_terminator('\n').count(), 2 + expected.len());
    let validator = jsonschema::validator_for(&schema().to_value()).unwrap();
    for line in std::str::from_utf8(&lines).unwrap().lines() {
        let line = serde_json::from_str(line).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&line)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{line}: {errors:?}");
    }
    // Against the results themselves.
    let results = results(&runs);
    assert_eq!(found.len(), results.len());
    for (record, result) in found.iter().zip(&results) {
        assert_eq!(record.item, *result.item);
        assert_eq!(record.manipulation, result.cell.treatment.to_string());
        assert_eq!(
            (record.layer, record.seed),
            (result.cell.layer, result.cell.seed)
        );
        assert_eq!(record.score, Some(result.score));
        assert_eq!(record.logprob, Some(result.logprob));
        assert_eq!(record.answer, *result.answer);
        assert_eq!(record.metric_f1, result.metrics.get("f1").copied());
        let rouge = result.metrics.get("rougeLsum").copied();
        assert_eq!(record.metric_rougelsum, rouge);
        assert_eq!(record.depth, result.cell.layer.map(|l| f64::from(l) / 4.0));
        assert_eq!(record.modified_logprob, result.modified_logprob);
        let injected = record.manipulation == "inject";
        assert_eq!(record.modified_logprob.is_some(), injected);
        if record.manipulation == "clean" {
            assert_eq!(record.clean_score, record.score);
        }
        assert!(record.clean_score.is_some() && !record.right_answer.is_empty());
        assert!(record.prompt.is_empty() && record.donor_prompt.is_empty());
    }
    let ids: BTreeSet<&str> = found.iter().map(|r| r.run_id.as_ref()).collect();
    assert_eq!(ids.len(), RUNS.len(), "one a run: {ids:?}");
    // With prompts.
    let assert = place.run("export runs/first -o jsonl --prompts").success();
    let found = read_jsonl(&assert.get_output().stdout);
    let donors: BTreeSet<bool> = found.iter().map(|r| r.donor_prompt.is_empty()).collect();
    assert!(donors.contains(&false), "capitals have donors");
    for record in &found {
        let item = runs[0].variants[0].items.iter();
        let mut item = item.filter(|item| item.name == record.item);
        let item = item
            .find(|item| item.task.to_string() == record.task)
            .unwrap();
        assert_eq!(record.prompt, item.prompt);
        assert_eq!(record.right_answer, item.answer);
        assert_eq!(record.donor_prompt, item.donor.as_deref().unwrap_or(""));
        let answer = item.modified_answer.as_deref().unwrap_or("");
        assert_eq!(record.donor_answer, answer);
    }
    let found = read_jsonl(&lines);
    let last = found.last().unwrap();
    let settings = [
        &last.run,
        &last.site,
        &last.extent,
        &last.tokens,
        &last.task,
    ];
    let stated = [
        "second",
        "keys+values",
        "window:2",
        "skip:2",
        "cnn_dailymail",
    ];
    assert_eq!(settings.map(|s| s.as_ref()), stated);
    assert!(last.sample && last.from_step == 1 && !found[0].sample);
    let quantizations: BTreeSet<&str> = found.iter().map(|r| r.quantization.as_ref()).collect();
    assert_eq!(quantizations, BTreeSet::from(["f32", "q8_0"]));
}

#[test]
fn pandas_reads_what_was_stored() {
    let python = match Python::with_pandas() {
        Ok(python) => python,
        Err(reason) => {
            not_run("pandas_reads_what_was_stored", PANDAS, &reason);
            return;
        }
    };
    let place = with_runs();
    for format in ["csv", "jsonl", "sql", "parquet"] {
        let line = format!("export {} -o {format} --out rows.{format}", RUNS.join(" "));
        place.run(&line).success();
    }
    let runs = stored(&place);
    let expected = expected(&results(&runs));
    std::fs::write(place.path("expected.json"), expected.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export.py");
    let mut command = python.command();
    command.arg(script).arg(place.0.path());
    let assert = assert_cmd::Command::from_std(command).assert().success();
    let said = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    writeln!(std::io::stderr(), "{}", said.trim_end()).unwrap();
}

/// What pandas should find, from the results and not from the records.
fn expected(results: &[&ResultRow]) -> serde_json::Value {
    let columns = Record::COLUMNS.iter().map(|column| {
        let kind = format!("{:?}", column.kind);
        json!({"name": column.name, "kind": kind, "nullable": column.nullable})
    });
    let sum = |of: &dyn Fn(&ResultRow) -> f64| results.iter().map(|r| of(r)).sum::<f64>();
    let without = |of: &dyn Fn(&ResultRow) -> bool| results.iter().filter(|r| !of(r)).count();
    let texts = |of: &dyn Fn(&ResultRow) -> String| -> Vec<String> {
        results.iter().map(|r| of(r)).collect()
    };
    let points: BTreeSet<_> = results
        .iter()
        .filter_map(|r| {
            Some((
                r.task.to_string(),
                r.cell.treatment.to_string(),
                r.cell.layer?,
            ))
        })
        .collect();
    json!({
        "rows": results.len(),
        "columns": columns.collect::<Vec<_>>(),
        "sums": {
            "score": sum(&|r| r.score),
            "logprob": sum(&|r| r.logprob),
            "kl": sum(&|r| r.kl),
            "rank": sum(&|r| r.rank as f64),
            "correct": sum(&|r| f64::from(u8::from(r.correct))),
            "agrees": sum(&|r| f64::from(u8::from(r.agrees))),
            "layer": sum(&|r| r.cell.layer.map_or(0.0, f64::from)),
            "seed": sum(&|r| r.cell.seed.map_or(0.0, |s| s as f64)),
            "metric_f1": sum(&|r| r.metrics.get("f1").copied().unwrap_or(0.0)),
        },
        "nulls": {
            "layer": without(&|r| r.cell.layer.is_some()),
            "seed": without(&|r| r.cell.seed.is_some()),
            "modified_correct": without(&|r| r.modified_correct.is_some()),
            "metric_rouge2": without(&|r| r.metrics.contains_key("rouge2")),
        },
        "texts": {
            "item": texts(&|r| r.item.to_string()),
            "answer": texts(&|r| r.answer.to_string()),
            "argmax_text": texts(&|r| r.argmax_text.to_string()),
            "manipulation": texts(&|r| r.cell.treatment.to_string()),
        },
        "curve_points": points.len(),
    })
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let place = Place::new();
    let sweep = "sweep -m tiny.gguf -t 1 --shots 1 --limit 2 --layers 1 --out";
    place.run(&format!("{sweep} a/run")).success();
    place.run(&format!("{sweep} b/run")).success();
    one_line_error(2, "-o csv")(place.run("export a/run --out rows.txt"));
    one_line_error(2, "(--out)")(place.run("export a/run -o sql --out a/run/results.sqlite"));
    one_line_error(2, "named twice")(place.run("export a/run a/../a/run"));
    one_line_error(1, "holds no run")(place.run("export a"));
    one_line_error(1, "(--out)")(place.run("export a/run --out none/rows.csv"));
    one_line_error(1, "(--out)")(place.run("export a/run -o csv --out b"));
    assert!(!place.path("rows.txt").exists() && !place.path("none").exists());
    // One bad run leaves an older file as it was.
    std::fs::write(place.path("rows.csv"), "old").unwrap();
    one_line_error(1, "holds no run")(place.run("export a/run none --out rows.csv"));
    assert_eq!(read(&place, "rows.csv"), b"old");
    // To stdout, and runs of the same name told apart.
    let assert = place.run("export a/run b/run").success();
    let rows = read_csv(&assert.get_output().stdout);
    let names: BTreeSet<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(names, BTreeSet::from(["a/run", "b/run"]));
    let assert = place.run("export --schema").success();
    let printed: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(printed, schema().to_value());
}
