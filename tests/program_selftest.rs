//! `midlayer selftest` from outside, and that a sweep refuses what it finds wrong.

mod common;

use common::place::{Place, json_lines, one_line_error};
use midlayer::hook::Sabotage;
use midlayer::store::StoredRun;
use predicates::prelude::*;
use predicates::str::contains;

#[test]
fn a_sound_model_passes() {
    let place = Place::new();
    place
        .run("selftest -m tiny.gguf -t 1")
        .success()
        .stdout(contains("nothing is wrong").and(contains("skip-attention")));
    let run = place
        .run("selftest -m tiny.gguf -t 1 --layers 1,2 -o json")
        .success();
    let findings = json_lines(run);
    assert!(findings.iter().all(|finding| finding["verdict"] != "wrong"));
    // Loaded again without mapping, the file's attention can be silenced.
    let silent = findings.iter().find(|f| f["check"] == "silent-weights");
    let verdict = silent.unwrap()["verdict"].as_str().unwrap();
    assert!(["exact", "within"].contains(&verdict), "{verdict}");
}

#[test]
fn every_fault_fails_the_command() {
    let place = Place::new();
    for sabotage in Sabotage::ALL {
        place
            .run(&format!("selftest -m tiny.gguf -t 1 --sabotage {sabotage}"))
            .code(1)
            .stdout(contains("WRONG: ").and(contains("something is wrong")))
            .stderr(contains("do not trust"));
    }
}

/// Refused with what is wrong, nothing run; with --force run, the verdict kept.
#[test]
fn a_sweep_refuses_what_is_wrong() {
    let place = Place::new();
    let sweep =
        "sweep -m tiny.gguf -t 1 --task math --limit 2 --manipulate freeze,random --layers 1-3";
    let broken = format!("{sweep} --sabotage rows-shifted --out runs/a");
    one_line_error(1, "with tiny: freeze of residual, random of residual")(place.run(&broken));
    assert!(!place.path("runs/a").exists());
    place
        .run(&format!("{broken} --force"))
        .success()
        .stderr(contains("--force runs them all the same"));
    let verdicts = |folder: &str| {
        let run = StoredRun::read(&place.path(folder)).unwrap();
        run.variants[0]
            .selftest
            .clone()
            .expect("verdicts are stored")
    };
    assert!(verdicts("runs/a").wrong().count() > 0);
    let report = std::fs::read_to_string(place.path("runs/a/report.md")).unwrap();
    assert!(report.contains("freeze of residual wrong"), "{report}");
    place.run(&format!("{sweep} --out runs/b")).success();
    assert_eq!(verdicts("runs/b").wrong().count(), 0);
    let report = std::fs::read_to_string(place.path("runs/b/report.md")).unwrap();
    let line = "self-test before the run: freeze of residual ";
    let verdict = report
        .split(line)
        .nth(1)
        .expect("the report has the verdicts");
    let sound = ["exact", "within tolerance"];
    assert!(
        sound.iter().any(|name| verdict.starts_with(name)),
        "{verdict}"
    );
}

/// The table of the docs is what the command prints.
#[test]
fn the_page_of_architectures_is_current() {
    let place = Place::new();
    let run = place.run("selftest --architectures").success();
    let page = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    let kept = include_str!("../docs/architectures.md");
    assert!(
        page == kept,
        "midlayer selftest --architectures > docs/architectures.md; it prints:\n{page}"
    );
    assert!(!page.contains("WRONG"));
}
