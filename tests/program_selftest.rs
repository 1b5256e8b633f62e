//! `midlayer selftest` from outside, and that a sweep refuses what it finds wrong.

mod common;

use common::place::{Place, json_lines, one_line_error};
use midlayer::experiment::Variant;
use midlayer::hook::Sabotage;
use midlayer::intervention::Kind;
use midlayer::selftest::Verdict;
use midlayer::store::{Store, StoreError, StoredRun};
use predicates::prelude::*;
use predicates::str::contains;

#[test]
fn a_sound_model_passes() {
    let place = Place::new();
    place
        .run("selftest -m tiny.gguf -t 1")
        .success()
        .stdout(contains("nothing is wrong").and(contains("skip-attention")))
        // Also where nobody watches: how far it is.
        .stderr(contains("examining: clean runs, 0% done"));
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

/// ggml arranges weights anew for AMX, and at Q4_0 by its "repack", and takes them in one piece then:
/// a head's columns cannot be made zero there, and the rest is examined.
#[test]
fn weights_that_ggml_arranges_anew_are_examined() {
    let place = Place::new();
    let model =
        "bench model --shape tiny --layers 2 --width 256 --heads 8 --kv-heads 2 -m tiny.gguf";
    place.run(&format!("{model} --out heads.gguf")).success();
    for level in ["q8_0", "q4_0"] {
        let line = format!("selftest -m heads.gguf:{level} -t 1 -o json");
        let findings = json_lines(place.run(&line).success());
        assert!(findings.iter().all(|f| f["verdict"] != "wrong"), "{level}");
        let zeroed: Vec<_> = findings
            .iter()
            .filter(|f| f["check"] == "zero-weights")
            .collect();
        let examined = |f: &&serde_json::Value| f["verdict"] != "not-supported";
        assert!(zeroed.iter().any(examined), "{zeroed:?}");
    }
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
    place.run(&format!("{sweep} --out runs/a")).success();
    let report =
        |run: &str| std::fs::read_to_string(place.path(&format!("runs/{run}/report.md"))).unwrap();
    let told = report("a");
    let line = "self-test before the run: freeze of residual ";
    let verdict = told
        .split(line)
        .nth(1)
        .expect("the report has the verdicts");
    let sound = ["exact", "within tolerance"];
    assert!(
        sound.iter().any(|name| verdict.starts_with(name)),
        "{verdict}"
    );
    let verdicts = |run: &str| {
        let run = StoredRun::read(&place.path(&format!("runs/{run}"))).unwrap();
        run.variants[0]
            .selftest
            .clone()
            .expect("verdicts are stored")
    };
    assert_eq!(verdicts("a").wrong().count(), 0);

    // As if the run had been cut off after a self-test that found faults.
    let mut found = verdicts("a");
    for finding in &mut found.findings {
        if finding.manipulation == Some(Kind::Freeze) {
            let reason = "planted".into();
            finding.verdict = Verdict::Wrong { reason };
        }
    }
    let database = rusqlite::Connection::open(place.path("runs/a/results.sqlite")).unwrap();
    let key = "selftest/0";
    let stored: String = database
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
            row.get(0)
        })
        .unwrap();
    let sound = serde_json::to_string(&verdicts("a")).unwrap();
    let wrong = stored.replace(&sound, &serde_json::to_string(&found).unwrap());
    assert_ne!(stored, wrong);
    let put = "UPDATE meta SET value = ?2 WHERE key = ?1";
    database.execute(put, [key, &wrong]).unwrap();
    let cut = "DELETE FROM results; DELETE FROM items";
    database.execute_batch(cut).unwrap();
    drop(database);
    for run in ["b", "c"] {
        let folder = place.path(&format!("runs/{run}"));
        std::fs::create_dir(&folder).unwrap();
        let file = "results.sqlite";
        std::fs::copy(place.path("runs/a").join(file), folder.join(file)).unwrap();
    }
    let refused = place.run(&format!("{sweep} --out runs/b"));
    one_line_error(1, "with tiny: freeze of residual (")(refused);
    place
        .run(&format!("{sweep} --out runs/c --force"))
        .success()
        .stderr(contains("--force runs them all the same"));
    assert!(verdicts("c").wrong().count() > 0);
    let told = report("c");
    assert!(told.contains("freeze of residual wrong"), "{told}");
}

/// Only the self-test can be told to break manipulations, and a store takes none that are.
#[test]
fn sabotage_is_for_the_self_test_alone() {
    let place = Place::new();
    for command in ["sweep", "try -p abc --layers 1", "bench callback"] {
        place
            .run(&format!("{command} -m tiny.gguf --sabotage rows-shifted"))
            .code(2)
            .stderr(contains("unexpected argument '--sabotage'"));
    }
    place
        .run("sweep -m tiny.gguf -t 1 --shots 0 --limit 2 --layers 1 --out r")
        .success();
    let mut spec = StoredRun::read(&place.path("r")).unwrap().variants[0]
        .spec
        .clone();
    let sound = Variant::new(spec.clone()).unwrap();
    spec.context.sabotage = Some(Sabotage::RowsShifted);
    let difference = sound.spec.difference(&spec).unwrap();
    assert!(difference.contains("context.sabotage"), "{difference}");
    let broken = Variant::new(spec).unwrap();
    let refused = |folder: &str| {
        let opened = Store::open(&place.path(folder), std::slice::from_ref(&broken));
        assert!(matches!(
            opened.err(),
            Some(StoreError::Sabotaged(Sabotage::RowsShifted))
        ));
    };
    refused("r");
    refused("new");
    assert!(!place.path("new").exists());
    Store::open(&place.path("r"), &[sound]).unwrap();
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
