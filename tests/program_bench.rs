//! Benchmarks: which rows they measure, and when they print them.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::place::{Place, json_lines, one_line_error};
use predicates::prelude::*;
use predicates::str::contains;

#[test]
fn bench_sweep_prints_an_object_a_case() {
    let place = Place::new();
    let line = "bench sweep -m tiny.gguf -t 1 -c 1024 --rounds 1 --only freeze, -o json";
    let lines = json_lines(place.run(line).success());
    let names: Vec<&str> = lines.iter().map(|l| l["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "freeze, long prompt, all layers",
            "freeze, share of the bound"
        ]
    );
    for line in &lines {
        let time = |n: usize| line["times"][n].as_f64().unwrap();
        // Numbers read from JSON may be off in their last digit.
        let ratio = line["ratio"].as_f64().unwrap();
        assert!((ratio * time(1) / time(0) - 1.0).abs() < 1e-12, "{line}");
        assert_eq!(line["sense"], "at-least");
        assert!(line["target"].is_f64());
    }
}

#[test]
fn bench_prints_its_variants() {
    let place = Place::new();
    place
        .run("bench callback -m tiny.gguf --tokens 20 --rounds 2 -o json")
        .success()
        .stdout(contains("\"no callback\"").and(contains("one layer rewritten")));
}

#[test]
fn bench_try_prints_a_line_a_kind() {
    let place = Place::new();
    let line = "bench try -m tiny.gguf -t 1 --tokens 20 --rounds 1 -o json";
    let lines = json_lines(place.run(line));
    let names: Vec<&str> = lines.iter().map(|l| l["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["freeze", "skip-attention", "random"]);
    let targets: Vec<f64> = lines
        .iter()
        .map(|l| l["target"].as_f64().unwrap())
        .collect();
    assert_eq!(targets, [8.0, 15.0, 1.8]);
}

#[test]
fn bench_serve_prints_what_somebody_waits_for() {
    let place = Place::new();
    let line = "bench serve -m tiny.gguf -t 1 --tokens 20 --rounds 1 -o json";
    let lines = json_lines(place.run(line));
    let names: Vec<&str> = lines.iter().map(|l| l["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "the page's files, to 0.2 s",
            "clean answer, to 0.3 s",
            "freeze at all layers, to 0.6 s",
            "freeze at all layers, to the engine alone"
        ]
    );
    let time = |line: usize, n: usize| lines[line]["times"][n].as_f64().unwrap();
    assert!(time(1, 0) <= time(2, 0), "the clean answer comes first");
    assert_eq!(time(2, 0), time(3, 0));
    assert!(lines.iter().all(|line| line["sense"] == "at-most"));
}

/// A row is there before the next one has been measured.
#[test]
fn rows_are_printed_as_they_are_measured() {
    let place = Place::new();
    let line = "bench callback -m tiny.gguf -t 1 --tokens 20 --rounds 1000 -o json";
    let mut command = place.command(line);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut row = String::new();
    let mut rows = BufReader::new(child.stdout.take().unwrap());
    rows.read_line(&mut row).unwrap();
    // Thousands of passes are still to come.
    let ended = child.try_wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(row.contains("\"no callback\""), "{row}");
    assert!(ended.is_none());
}

#[test]
fn rows_are_picked_by_name() {
    let place = Place::new();
    let names = |line: &str| -> Vec<String> {
        let line = format!("bench {line} -m tiny.gguf -t 1 -c 1024 --rounds 1 -o json");
        let rows = json_lines(place.run(&line));
        let name = |row: &serde_json::Value| row["name"].as_str().unwrap().to_string();
        rows.iter().map(name).collect()
    };
    assert_eq!(
        names("callback --tokens 20 --only layers"),
        ["callback, all layers rewritten"]
    );
    assert_eq!(
        names("generation --tokens 20 --generate 3 --only rerun"),
        ["rerun to freeze"]
    );
    assert_eq!(names("try --tokens 20 --only skip"), ["skip-attention"]);
    let only = "bench generation -m tiny.gguf --only nothing";
    one_line_error(2, "there are: freeze to clean, rerun to freeze (--only)")(place.run(only));
    place
        .run("bench scaling -m tiny.gguf -t 1 -c 1024 --only nothing")
        .code(2)
        .stderr(contains("(--only)").and(contains("layers swept")));
}

/// Rows of `bench scaling` as numbers: the size, seconds by both strategies, and the bound.
fn scaling(output: &str) -> Vec<(f64, String, [f64; 3])> {
    let rows = output.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let number = |n: usize| cells.get(n)?.parse::<f64>().ok();
        let times = [number(2)?, number(3)?, number(4)?];
        Some((number(0)?, cells[1].to_string(), times))
    });
    rows.collect()
}

#[test]
fn bench_scaling_grows_a_sweep_or_takes_several_models() {
    let place = Place::new();
    let run = |line: &str| {
        let line = format!("bench scaling {line} -t 1 -c 1024 --out chart.svg");
        let output = place.run(&line).success().get_output().clone();
        let svg = std::fs::read_to_string(place.path("chart.svg")).unwrap();
        (scaling(&String::from_utf8_lossy(&output.stdout)), svg)
    };
    let (rows, svg) = run("-m tiny.gguf --only items");
    let sizes = |of: &str| -> Vec<f64> {
        let rows = rows.iter().filter(|row| row.1 == of);
        rows.map(|row| row.0).collect()
    };
    assert_eq!(sizes("random"), [1.0, 2.0, 4.0, 8.0, 16.0]);
    assert_eq!(sizes("freeze"), sizes("random"));
    assert!(svg.contains("items of the task"));
    // Every row's bound is of the straightforward time the share that must be computed.
    for (items, kind, [slow, _, bound]) in &rows {
        let rest = bound / slow;
        let expected = if kind == "freeze" { 0.1..0.6 } else { 0.5..0.8 };
        assert!(expected.contains(&rest), "{kind}, {items}: {rest}");
    }
    std::fs::copy(place.path("tiny.gguf"), place.path("other.gguf")).unwrap();
    let (rows, svg) = run("-m tiny.gguf,other.gguf");
    assert_eq!(rows.len(), 4, "two manipulations of two models");
    assert!(svg.contains("megabytes of the model file"));
}

#[test]
fn bench_map_prints_a_line_a_target() {
    let place = Place::new();
    let line = "bench map -m tiny.gguf -t 1 -c 1024 --tokens 9 --rounds 1 -o json";
    let lines = json_lines(place.run(line));
    let targets: Vec<(&str, f64, &str)> = lines
        .iter()
        .map(|l| {
            let text = |field: &str| l[field].as_str().unwrap();
            (text("name"), l["target"].as_f64().unwrap(), text("sense"))
        })
        .collect();
    assert_eq!(
        targets,
        [
            ("effect map, all tokens and layers", 6.0, "at-least"),
            (
                "effect map, share of what arithmetic allows",
                0.8,
                "at-least"
            ),
            ("effect map, first picture to the whole", 0.1, "at-most"),
            (
                "logit lens beyond the head, to a clean prefill",
                4.0,
                "at-most"
            ),
        ]
    );
    // All but what remains when the head's own time is taken off, which is little here.
    for line in &lines[..3] {
        assert!(line["ratio"].as_f64().unwrap() > 0.0, "{line}");
    }
    let only = format!("{line} --only lens");
    assert_eq!(json_lines(place.run(&only)).len(), 1);
}
