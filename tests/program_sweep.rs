//! `midlayer sweep` from outside: what it stores, what it refuses and how, and that an
//! interrupted run ends with the rows of an undisturbed one.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::place::{PROGRAM, Place, one_line_error};
use midlayer::experiment::Drift;
use midlayer::experiment::Treatment;
use midlayer::store::StoredRun;
use predicates::prelude::*;
use predicates::str::contains;

const SWEEP: &str = "sweep -m tiny.gguf -t 1 --task capitals,math --shots 1 --limit 6 \
                     --manipulate freeze,random,shuffle,skip-attention,inject --layers all \
                     --seed 1,2";

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

/// A sweep of several units.
fn several_units() -> String {
    SWEEP
        .replace("--limit 6", "--limit 81")
        .replace("freeze,random,shuffle,skip-attention", "random")
        .replace("--seed 1,2", "--seed 1")
}

fn already(results: usize) -> String {
    format!("{results} results were there already")
}

/// Waits until a run's folder holds at least one item, or the process is gone.
fn wait_for_an_item(folder: &Path, child: &mut std::process::Child) {
    while child.try_wait().unwrap().is_none() {
        let begun = StoredRun::read(folder).is_ok_and(|run| !run.variants[0].rows.is_empty());
        if begun {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_or_interrupted_sweep_resumes_to_the_same_rows() {
    let place = Place::new();
    let sweep = several_units();
    place.run(&format!("{sweep} --out whole")).success();
    for signal in ["KILL", "INT", "TERM"] {
        let run = format!("cut-{signal}");
        let line = format!("{sweep} --out {run}");
        let mut child = place
            .command(&line)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for_an_item(&place.path(&run), &mut child);
        let pid = child.id().to_string();
        Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .unwrap();
        let status = child.wait().unwrap();
        match signal {
            "KILL" => assert_eq!(status.code(), None, "killed, not finished"),
            // What a scheduler sends, to be queued again.
            "TERM" => assert_eq!(status.code(), Some(75)),
            _ => assert_eq!(status.code(), Some(130), "{signal}"),
        }
        let cut = place.rows(&run).len();
        assert!(
            cut > 0 && cut < place.rows("whole").len(),
            "{signal}: {cut}"
        );
        place
            .run(&line)
            .success()
            .stderr(contains("were there already"));
        assert_eq!(place.rows(&run), place.rows("whole"), "{signal}");
    }
}

/// A sweep that runs, and what it says.
fn begin(place: &Place, line: &str) -> std::process::Child {
    let mut command = place.command(line);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn send(signal: &str, pid: u32) {
    let pid = pid.to_string();
    let sent = Command::new("kill").args(["-s", signal, &pid]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_stop_says_what_is_stored_and_every_report_that_the_run_is_incomplete() {
    let place = Place::new();
    let sweep = several_units();
    let mut child = begin(&place, &format!("{sweep} --out cut"));
    wait_for_an_item(&place.path("cut"), &mut child);
    send("INT", child.id());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{errors}");
    let stored = place.rows("cut").len();
    let said = format!("midlayer: interrupted: {stored} of ");
    assert!(errors.contains(&said), "{errors}");
    assert!(!errors.contains("are lost"), "{errors}");
    let of = format!("{stored} of ");
    let incomplete = contains("INCOMPLETE").and(contains(of.clone()));
    place.run("report cut").success().stdout(incomplete);
    for (file, word) in [("report.md", "INCOMPLETE"), ("report.html", "Incomplete.")] {
        let text = std::fs::read_to_string(place.path("cut").join(file)).unwrap();
        assert!(text.contains(word) && text.contains(&of), "{file}");
    }
    let said = || contains("is incomplete").and(contains(of.clone()));
    place.run("export cut").success().stderr(said());
    place
        .run("runs .")
        .success()
        .stderr(said().and(contains("--out cut")));
    place.run(&format!("{sweep} --out cut")).success();
    for (line, name) in [
        ("report cut", "INCOMPLETE"),
        ("export cut", "incomplete"),
        ("runs .", "incomplete"),
    ] {
        let quiet = || contains(name).not();
        place.run(line).success().stdout(quiet()).stderr(quiet());
    }
}

#[test]
fn a_run_that_is_stopped_before_its_first_result_is_kept() {
    let place = Place::new();
    let sweep = several_units();
    let mut child = begin(&place, &format!("{sweep} --out cut"));
    while !place.path("cut/results.sqlite").exists() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended");
        std::thread::yield_now();
    }
    // The second one comes at once, whatever the first one waits for.
    send("INT", child.id());
    send("TERM", child.id());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{errors}");
    assert!(errors.contains("interrupted"), "{errors}");
    assert!(place.path("cut/results.sqlite").exists());
    place.run(&format!("{sweep} --out cut")).success();
    place.run(&format!("{sweep} --out whole")).success();
    assert_eq!(place.rows("cut"), place.rows("whole"));
}

/// As `nohup` has it, and shells where a script's job runs in the background.
#[test]
fn signals_that_are_ignored_stay_ignored() {
    let place = Place::new();
    let sweep = several_units();
    let line = format!("trap '' HUP INT; exec {PROGRAM} {sweep} --out on");
    let mut shell = Command::new("sh");
    shell.current_dir(place.0.path()).args(["-c", &line]);
    let mut child = shell
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_an_item(&place.path("on"), &mut child);
    send("HUP", child.id());
    send("INT", child.id());
    assert!(child.wait().unwrap().success());
    place.run(&format!("{sweep} --out whole")).success();
    assert_eq!(place.rows("on"), place.rows("whole"));
    // The third one is heeded.
    let mut child = begin(&place, &format!("{sweep} --out off"));
    wait_for_an_item(&place.path("off"), &mut child);
    send("HUP", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
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
fn another_run_in_the_folder_is_refused_with_the_difference() {
    let place = Place::new();
    let line = "sweep -m tiny.gguf -t 1 --shots 1 --limit 2 --layers 1,2 --out a";
    place.run(line).success();
    let refused = |changed: &str, difference: &str| {
        one_line_error(1, difference)(place.run(changed));
    };
    refused(
        &line.replace("1,2", "1,3"),
        "layers: stored [1,2], now [1,3]",
    );
    refused(
        &line.replace("-t 1", "-t 2"),
        "context.threads: stored 1, now 2",
    );
    refused(
        &line.replace("--limit 2", "--limit 3 -ub 64"),
        "context.n_ubatch: stored 512, now 64",
    );
    place.run(line).success();
}

#[test]
fn bad_folders_are_refused() {
    let place = Place::new();
    let line = "sweep -m tiny.gguf --shots 1 --limit 2 --layers 1 --out";
    one_line_error(1, "--out")(place.run(&format!("{line} /dev/null/run")));
    std::fs::create_dir(place.path("notes")).unwrap();
    std::fs::write(place.path("notes/todo.txt"), "mine").unwrap();
    one_line_error(1, "is not empty and holds no run")(place.run(&format!("{line} notes")));
    assert_eq!(std::fs::read_dir(place.path("notes")).unwrap().count(), 1);
    one_line_error(1, "holds no run")(place.run("report notes"));
    // A folder that may not be written to: made read-only, or, for root whom that does not
    // stop, one of the kernel's.
    let folder = place.path("sealed");
    std::fs::create_dir(&folder).unwrap();
    let mut permissions = folder.metadata().unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&folder, permissions).unwrap();
    let sealed = if std::fs::write(folder.join("probe"), "").is_ok() {
        std::fs::remove_file(folder.join("probe")).unwrap();
        "/sys/kernel".to_string()
    } else {
        "sealed/run".to_string()
    };
    let assert = place.run(&format!("{line} {sealed}"));
    one_line_error(1, "--out")(assert);
}

#[test]
fn a_folder_in_use_is_refused() {
    let place = Place::new();
    let line = "sweep -m tiny.gguf -t 1 --shots 1 --limit 2 --layers 1 --out a";
    place.run(line).success();
    let lock = std::fs::File::create(place.path("a/.lock")).unwrap();
    lock.lock().unwrap();
    one_line_error(1, "in use by another midlayer")(place.run(line));
}

/// A limit on file size, which every write beyond it meets. (For disks see `disks.rs`.)
#[cfg(unix)]
#[test]
fn a_limit_on_files_is_an_error_and_the_run_goes_on_later() {
    let place = Place::new();
    place.run(&format!("{SWEEP} --out whole")).success();
    let limited = format!("trap '' XFSZ; ulimit -f 100; exec {PROGRAM} {SWEEP} --out cut");
    let mut shell = assert_cmd::Command::new("sh");
    shell.current_dir(place.0.path()).args(["-c", &limited]);
    one_line_error(1, "see that the disk works")(shell.assert());
    place.run(&format!("{SWEEP} --out cut")).success();
    assert_eq!(place.rows("cut"), place.rows("whole"));
}

#[test]
fn a_sweep_that_cannot_begin_leaves_nothing() {
    let place = Place::new();
    let sweep =
        "sweep -m tiny.gguf --task capitals --manipulate freeze --layers 1 --limit 2 --out run";
    one_line_error(1, "(-c)")(place.run(&format!("{sweep} -c 20")));
    assert!(!place.path("run").exists());
    let data =
        "sweep -m tiny.gguf --task squad --manipulate freeze --data squad=none.json --out run";
    one_line_error(1, "(--data squad=FILE)")(place.run(data));
    assert!(!place.path("run").exists());
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
