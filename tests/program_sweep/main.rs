//! `midlayer sweep` from outside: what it stores, what it refuses and how, and that an
//! interrupted run ends with the rows of an undisturbed one.

#[path = "../common/mod.rs"]
mod common;

mod folders;
mod stopped;

use common::place::{Place, one_line_error};
use midlayer::experiment::Drift;
use midlayer::experiment::Treatment;
use midlayer::store::StoredRun;
use predicates::prelude::*;
use predicates::str::contains;

const SWEEP: &str = "sweep -m tiny.gguf -t 1 --task capitals,math --shots 1 --limit 6 \
                     --manipulate freeze,random,shuffle,skip-attention,inject --layers all \
                     --seed 1,2";

fn already(results: usize) -> String {
    format!("{results} results were there already")
}

#[test]
fn a_sweep_fills_the_grid_and_reports() {
    let place = Place::new();
    place
        .run(&format!("{SWEEP} --out runs/a"))
        .success()
        .stdout(contains("capitals: clean accuracy").and(contains("inject: modified")))
        .stderr(contains("math knows no donors").and(contains("results.sqlite")));
    let rows = place.rows("runs/a");
    // capitals: clean and clean again, freeze at 3, random and shuffle at 4 x 2, skip at 4, inject at 4.
    let capitals = rows.iter().filter(|r| r.task.to_string() == "capitals");
    let injected = rows.iter().filter(|r| r.modified_correct.is_some()).count();
    assert_eq!(capitals.count(), 6 * (2 + 3 + 8 + 8 + 4) + injected);
    assert!(injected > 0 && injected.is_multiple_of(4));
    let math = rows.iter().filter(|r| r.task.to_string() == "math");
    assert_eq!(math.count(), 6 * (2 + 3 + 8 + 8 + 4));
    let manipulated = rows.iter().filter(|r| r.cell.treatment.kind().is_some());
    assert!(
        manipulated.clone().all(|r| r.kl > 0.0),
        "every cell differs"
    );
    let run = StoredRun::read(&place.path("runs/a")).unwrap();
    assert_eq!(run.variants[0].noise_floor.len(), 2);
    for file in [
        "report.md",
        "report.html",
        "score-capitals.svg",
        "inject-capitals.svg",
        "score-math.svg",
        "scores.svg",
    ] {
        let text = std::fs::read_to_string(place.path("runs/a").join(file)).unwrap();
        assert!(text.len() > 500, "{file}");
    }
    place
        .run("report runs/a")
        .success()
        .stdout(contains("capitals: clean accuracy"))
        .stderr(contains("runs/a/report.html"));
    std::fs::remove_file(place.path("runs/a/report.html")).unwrap();
    place
        .run("report runs/a runs/a --out both.html")
        .success()
        .stderr(contains("wrote both.html"));
    let page = std::fs::read_to_string(place.path("both.html")).unwrap();
    assert!(page.contains("id=\"comparison\""));
    assert!(!place.path("runs/a/report.html").exists());
}

#[test]
fn the_same_sweep_gives_the_same_rows_and_does_nothing_twice() {
    let place = Place::new();
    place.run(&format!("{SWEEP} --out a")).success();
    place.run(&format!("{SWEEP} --out b")).success();
    let rows = place.rows("a");
    assert_eq!(rows, place.rows("b"));
    place
        .run(&format!("{SWEEP} --out a"))
        .success()
        .stderr(contains(already(rows.len())));
    assert_eq!(rows, place.rows("a"));
}

#[test]
fn what_a_variant_cannot_do_is_said_before_the_first_runs() {
    let place = Place::new();
    let base =
        "sweep -m tiny.gguf -t 1 --shots 1 --limit 6 --manipulate freeze --layers 1-3 --out run";
    // Heads of 16 do not divide into blocks of 32.
    let line = format!("{base} --cache-type f16,q8_0");
    one_line_error(1, "-ctk")(place.run(&line));
    assert!(!place.path("run").exists(), "the first has run");
    for dry in ["", " --dry-run"] {
        one_line_error(1, "--tokens")(place.run(&format!("{base} --tokens text:nowhere{dry}")));
    }
    assert!(!place.path("run").exists());
}

#[test]
fn items_that_cannot_be_used_are_counted_and_told() {
    let place = Place::new();
    let question = |id: &str, answer: &str| {
        format!(
            r#"{{"id": "{id}", "question": "q?", "answers": [{{"text": "{answer}", "answer_start": 0}}]}}"#
        )
    };
    let long = "very long ".repeat(200);
    let paragraph = |context: &str, questions: &[String]| {
        format!(
            r#"{{"context": "{context}", "qas": [{}]}}"#,
            questions.join(",")
        )
    };
    let file = |paragraphs: &[String]| {
        let all = paragraphs.join(",");
        format!(r#"{{"version": "1.1", "data": [{{"title": "t", "paragraphs": [{all}]}}]}}"#)
    };
    let short = |n: usize| paragraph("red or blue", &[question(&format!("s{n}"), "red")]);
    let too_long = |n: usize| paragraph(&long, &[question(&format!("l{n}"), "red")]);
    let mixed: Vec<String> = (0..4).flat_map(|n| [too_long(n), short(n)]).collect();
    std::fs::write(place.path("mixed.json"), file(&mixed)).unwrap();
    let none: Vec<String> = (0..3).map(too_long).collect();
    std::fs::write(place.path("none.json"), file(&none)).unwrap();
    let base =
        "sweep -m tiny.gguf -t 1 -c 1024 --task squad --limit 4 --manipulate freeze --layers 2";
    let reason = "it does not fit the context (-c)";
    let line = format!("{base} --data squad=none.json --out none");
    for dry in ["", " --dry-run"] {
        let text = format!("squad: no item can be used of 3: {reason} (3)");
        one_line_error(1, &text)(place.run(&format!("{line}{dry}")));
    }
    assert!(!place.path("none").exists());
    // Those that can be used take the places of those that cannot.
    place
        .run(&format!("{base} --data squad=mixed.json --out mixed"))
        .success()
        .stderr(contains(format!(
            "squad: 4 items; 4 others cannot be used: {reason} (4)"
        )))
        .stderr(contains("no half-way layer can be given"));
    let report = std::fs::read_to_string(place.path("mixed/report.md")).unwrap();
    assert!(
        report.contains("squad, items left out: 4: it does not fit the context (\\`n_ctx\\`) (4)"),
        "{report}"
    );
    assert_eq!(place.rows("mixed").len(), 4 * 3);
}

#[test]
fn the_tasks_that_generate_run_on_the_sample_and_on_files() {
    let place = Place::new();
    let base =
        "sweep -m tiny.gguf -t 1 --limit 2 --manipulate freeze,random --seed 1,2 --layers 1,3";
    place
        .run(&format!("{base} -c 1400 --task squad --out squad"))
        .success()
        .stdout(contains("squad (model-written sample): clean F1"))
        .stderr(contains("midlayer pull squad"));
    let base = format!("{base} -c 1024");
    place
        .run(&format!("{base} --task cnn_dailymail --out sample"))
        .success();
    let squad = place.rows("squad");
    let cnn = place.rows("sample");
    // Clean and clean again, freeze at two layers, random at two layers with two seeds.
    assert_eq!(squad.len(), 2 * (2 + 2 + 4));
    assert!(
        squad
            .iter()
            .all(|r| r.metrics.contains_key("f1") && (0.0..=1.0).contains(&r.score))
    );
    assert!(cnn.iter().all(|r| r.metrics.len() == 4));
    assert!(
        cnn.iter()
            .filter(|r| r.cell.treatment == Treatment::Clean)
            .all(|r| r.agrees)
    );
    let run = StoredRun::read(&place.path("sample")).unwrap();
    assert_eq!(
        run.variants[0].cut["cnn_dailymail"], 2,
        "bytes are many tokens, so articles are cut"
    );
    let report = std::fs::read_to_string(place.path("sample/report.md")).unwrap();
    for part in [
        "Standard deviation between seeds",
        "texts cut to fit",
        "written by a language model",
    ] {
        assert!(report.contains(part), "{part}");
    }
    let question = r#"{"data": [{"title": "t", "paragraphs": [{"context": "The cat is black.",
        "qas": [{"id": "q1", "question": "What colour?", "answers": [{"text": "black"}]}]}]}]}"#;
    std::fs::write(place.path("own.json"), question).unwrap();
    place
        .run(&format!(
            "{base} --task squad --data squad=own.json --out own"
        ))
        .success()
        .stdout(contains("squad: clean F1").and(contains("of 1 items")));
    let missing = format!("{base} --task squad --data squad=missing.json --out missing");
    one_line_error(1, "missing.json")(place.run(&missing));
    std::fs::write(place.path("broken.json"), "{\"data\": [").unwrap();
    let broken = format!("{base} --task squad --data squad=broken.json --out broken");
    one_line_error(1, "broken.json")(place.run(&broken));
}

#[test]
fn models_and_cache_types_are_axes_of_one_run() {
    let place = Place::new();
    place
        .run("quantize -m tiny.gguf --levels q8_0 --out .")
        .success()
        .stdout(contains("bits a weight").and(contains("Q8_0 100%")));
    let line = "sweep -m tiny.gguf,tiny.requantized-q8_0.gguf --cache-type f16,f32 -t 1 \
                --shots 1 --limit 12 --manipulate freeze,random --layers 1-3 --out both";
    place
        .run(line)
        .success()
        .stdout(contains("too few items to say").and(contains("== q8_0, K/V f32 ==")));
    let run = StoredRun::read(&place.path("both")).unwrap();
    let labels: Vec<&str> = run.variants.iter().map(|v| v.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "f32, K/V f16",
            "f32, K/V f32",
            "q8_0, K/V f16",
            "q8_0, K/V f32"
        ]
    );
    let overlay = std::fs::read_to_string(place.path("both/variants.svg")).unwrap();
    assert!(overlay.contains("capitals, freeze") && overlay.contains("K/V f32"));
    drifts(&run);
    let report = std::fs::read_to_string(place.path("both/report.md")).unwrap();
    assert!(report.contains("drift of the clean hidden states from the first model's"));
    assert!(report.contains("f32, K/V f16 in another batch") && report.contains("next token: KL"));
    let drawn = std::fs::read_to_string(place.path("both/drift.svg")).unwrap();
    assert!(drawn.contains("q8_0, K/V f32") && drawn.contains("in another batch"));
    // Each variant is the run that it would be alone.
    place
        .run(
            "sweep -m tiny.requantized-q8_0.gguf -ctk f32 -ctv f32 -t 1 --shots 1 --limit 12 \
             --manipulate freeze,random --layers 1-3 --out alone",
        )
        .success();
    let alone = StoredRun::read(&place.path("alone")).unwrap();
    assert_eq!(run.variants[3].rows, alone.variants[0].rows);
    assert_ne!(run.variants[0].rows, run.variants[3].rows);
    place
        .run(line)
        .success()
        .stderr(contains(already(place.rows("both").len())));
    one_line_error(1, "models and cache types: stored 4, now 2")(
        place.run(&line.replace("f16,f32", "f16")),
    );
}

/// The first variant's drift is what rounding does; weights at q8_0 move states further, and a
/// cache at another precision moves what enters layer 0 not at all.
fn drifts(run: &StoredRun) {
    let drifts = run.variants.iter().map(|v| v.drift.as_ref().unwrap());
    let drifts: Vec<&Drift> = drifts.collect();
    let [rounding, cache, weights, both] = drifts[..] else {
        panic!("{drifts:?}")
    };
    for drift in &drifts {
        assert_eq!((drift.prompts, drift.layers.len()), (8, 4), "{drift:?}");
        assert!(drift.tokens > 8 && drift.kl >= 0.0, "{drift:?}");
    }
    assert_eq!(cache.layers[0].error, 0.0);
    assert!((cache.layers[0].cosine - 1.0).abs() < 1e-12);
    for quantized in [weights, both] {
        for (quantized, rounding) in quantized.layers.iter().zip(&rounding.layers) {
            assert!(quantized.error > 10.0 * rounding.error, "{drifts:?}");
            assert!(
                quantized.error < 0.5 && quantized.cosine < 1.0 - 1e-9,
                "{drifts:?}"
            );
        }
        assert!(quantized.kl > rounding.kl);
    }
}

#[test]
fn a_dry_run_shows_the_grid_and_touches_nothing() {
    let place = Place::new();
    let base =
        "sweep -m tiny.gguf -t 1 --shots 1 --limit 6 --manipulate freeze,random --layers 1-3";
    place
        .run(&format!("{base} --out a --dry-run"))
        .success()
        .stdout(contains("in all about").and(contains("at most")));
    assert!(!place.path("a").exists());
    // The cells that it counts are those that run.
    let output = place.run(&format!("{base} --dry-run")).success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    place.run(&format!("{base} --out a")).success();
    let results = place.rows("a").len().to_string();
    let line = text.lines().find(|line| line.contains("tiny")).unwrap();
    assert!(
        line.split_whitespace().any(|word| word == results),
        "{line}"
    );
}

#[test]
fn a_configuration_file_is_a_command_line() {
    let place = Place::new();
    let file = "model = 'tiny.gguf'\nthreads = 1\nshots = 1\nlimit = 2\n\
                manipulate = ['freeze', 'random']\nlayers = '1-3'\nout = 'a'\n";
    std::fs::write(place.path("run.toml"), file).unwrap();
    place.run("sweep --config run.toml").success();
    place
        .run(
            "sweep -m tiny.gguf -t 1 --shots 1 --limit 2 --manipulate freeze,random --layers 1-3 \
             --out a",
        )
        .success()
        .stderr(contains(already(place.rows("a").len())));
    place
        .run("sweep --config run.toml --layers 2 --out b")
        .success();
    let of = |run: &str| place.rows(run).iter().filter_map(|r| r.cell.layer).max();
    assert_eq!((of("a"), of("b")), (Some(3), Some(2)));
    one_line_error(2, "'layer' is no option")({
        std::fs::write(place.path("bad.toml"), "layer = 3").unwrap();
        place.run("sweep --config bad.toml -m tiny.gguf")
    });
    one_line_error(2, "cannot be read")(place.run("sweep --config none.toml"));
}
