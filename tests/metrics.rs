//! Metrics against the programs that published numbers are made with: recorded by
//! `scripts/record-metrics`, and live where Python has `rouge-score`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use midlayer::tasks::metrics::{rouge, squad};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Rounding is the only difference there may be.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Golden<T> {
    cases: Vec<T>,
}

fn golden<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let golden: Golden<T> = serde_json::from_str(&text).unwrap();
    assert!(golden.cases.len() >= 40, "{file} holds too few cases");
    golden.cases
}

#[derive(Deserialize)]
struct Summary {
    prediction: String,
    reference: String,
    r1: f64,
    r2: f64,
    rl: f64,
    rlsum: f64,
}

/// Panics unless our four scores are those of the case.
fn compare(case: &Summary) {
    let found = rouge::rouge(&case.prediction, &case.reference);
    for (name, found, expected) in [
        ("ROUGE-1", found.r1, case.r1),
        ("ROUGE-2", found.r2, case.r2),
        ("ROUGE-L", found.rl, case.rl),
        ("ROUGE-Lsum", found.rlsum, case.rlsum),
    ] {
        assert!(
            (found - expected).abs() < TOLERANCE,
            "{name} of {:?} against {:?} is {found}, not {expected}",
            case.prediction,
            case.reference
        );
    }
}

#[test]
fn rouge_as_recorded() {
    golden::<Summary>("rouge.json").iter().for_each(compare);
}

#[derive(Deserialize)]
struct Answer {
    prediction: String,
    references: Vec<String>,
    em: bool,
    f1: f64,
}

#[test]
fn squad_as_recorded() {
    for case in golden::<Answer>("squad.json") {
        let what = format!("{:?} against {:?}", case.prediction, case.references);
        let em = squad::exact_match(&case.prediction, &case.references);
        assert_eq!(em, case.em, "exact match of {what}");
        let f1 = squad::f1(&case.prediction, &case.references);
        assert!(
            (f1 - case.f1).abs() < TOLERANCE,
            "F1 of {what} is {f1}, not {}",
            case.f1
        );
    }
}

/// Reads JSON lines of `[prediction, reference]`, writes one line of four scores for each.
const SCORE: &str = "
import json, sys
from rouge_score import rouge_scorer
kinds = ['rouge1', 'rouge2', 'rougeL', 'rougeLsum']
scorer = rouge_scorer.RougeScorer(kinds, use_stemmer=True)
for line in sys.stdin:
    prediction, reference = json.loads(line)
    scores = scorer.score(reference, prediction)
    print(json.dumps([float(scores[kind].fmeasure) for kind in kinds]))
";

fn python_has_rouge_score() -> bool {
    Command::new("python3")
        .args(["-c", "import rouge_score"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[derive(Deserialize)]
struct Sample {
    article: String,
    highlights: String,
}

#[test]
fn rouge_as_the_package_live() {
    if !python_has_rouge_score() {
        println!("python3 has no rouge_score: compared recorded numbers only");
        return;
    }
    // The article's first sixty words, each article against each article's highlights.
    let samples: Vec<Sample> = include_str!("../src/tasks/samples/cnn_dailymail.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut pairs = Vec::new();
    for sample in &samples {
        let words: Vec<&str> = sample.article.split(' ').take(60).collect();
        for other in &samples {
            pairs.push((words.join(" "), other.highlights.clone()));
        }
    }
    let input: String = pairs
        .iter()
        .map(|pair| serde_json::to_string(pair).unwrap() + "\n")
        .collect();
    // From a file, so that neither side waits for the other to read.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let output = Command::new("python3")
        .args(["-c", SCORE])
        .stdin(file)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the package failed: {stderr}");
    let scores: Vec<[f64; 4]> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(scores.len(), pairs.len());
    for ((prediction, reference), [r1, r2, rl, rlsum]) in pairs.into_iter().zip(scores) {
        compare(&Summary {
            prediction,
            reference,
            r1,
            r2,
            rl,
            rlsum,
        });
    }
    println!("compared {} pairs live", samples.len() * samples.len());
}
