//! The program from outside: what it prints, what it refuses and how, and that an interrupted
//! run ends with the rows of an undisturbed one. Most of it on a tiny random model that reads
//! bytes, which answers nothing but runs in milliseconds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use assert_cmd::assert::Assert;
use midlayer::runtime::{Architecture, Synthetic, Vocabulary};
use midlayer::store::{ResultRow, StoredRun};
use predicates::prelude::*;
use predicates::str::contains;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_midlayer");

fn recipe() -> Synthetic {
    Synthetic {
        n_ctx: 1024,
        vocabulary: Vocabulary::Bytes,
        ..Synthetic::new(Architecture::Llama)
    }
}

/// A folder with a tiny model in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        recipe().build().unwrap().save(&place.model()).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn model(&self) -> PathBuf {
        self.path("tiny.gguf")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .current_dir(self.0.path())
            .env("MIDLAYER_MODELS", self.path("cache"))
            .env("HF_HOME", self.path("hub"))
            .env_remove("HF_HUB_CACHE")
            .args(line.split_whitespace());
        command
    }

    fn run(&self, line: &str) -> Assert {
        assert_cmd::Command::from_std(self.command(line)).assert()
    }

    fn rows(&self, run: &str) -> Vec<ResultRow> {
        let mut rows = StoredRun::read(&self.path(run)).unwrap().rows;
        rows.sort_by_key(|r| {
            let kind = r.manipulation.map(|k| k.to_string());
            (r.task.to_string(), r.item.clone(), kind, r.layer, r.seed)
        });
        rows
    }
}

const SWEEP: &str = "sweep -m tiny.gguf -t 1 --task capitals,math --shots 1 --limit 6 \
                     --manipulate freeze,random,shuffle,skip-attention,inject --layers all \
                     --seed 1,2";

fn one_line_error(code: i32, text: &str) -> impl Fn(Assert) {
    move |assert: Assert| {
        let output = assert.code(code).stdout("").get_output().clone();
        let errors = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = errors
            .lines()
            .filter(|line| line.starts_with("midlayer:"))
            .collect();
        assert_eq!(lines.len(), 1, "one line of error: {errors}");
        assert!(
            contains(text).eval(lines[0]),
            "{errors} does not say {text}"
        );
    }
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
    // capitals: clean, freeze at 3, random and shuffle at 4 x 2, skip at 4, inject at 4.
    let capitals = rows.iter().filter(|r| r.task.to_string() == "capitals");
    let injected = rows.iter().filter(|r| r.modified_correct.is_some()).count();
    assert_eq!(capitals.count(), 6 * (1 + 3 + 8 + 8 + 4) + injected);
    assert!(injected > 0 && injected.is_multiple_of(4));
    let math = rows.iter().filter(|r| r.task.to_string() == "math");
    assert_eq!(math.count(), 6 * (1 + 3 + 8 + 8 + 4));
    let manipulated = rows.iter().filter(|r| r.manipulation.is_some());
    assert!(
        manipulated.clone().all(|r| r.kl > 0.0),
        "every cell differs"
    );
    let run = StoredRun::read(&place.path("runs/a")).unwrap();
    assert_eq!(run.noise_floor.len(), 2);
    for file in [
        "report.md",
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
        .stdout(contains("capitals: clean accuracy"));
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
        .stderr(contains("12 items were there already"));
    assert_eq!(rows, place.rows("a"));
}

/// Waits until a run's folder holds at least one item, or the process is gone.
fn wait_for_an_item(folder: &Path, child: &mut std::process::Child) {
    while child.try_wait().unwrap().is_none() {
        let begun = StoredRun::read(folder).is_ok_and(|run| !run.rows.is_empty());
        if begun {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_or_interrupted_sweep_resumes_to_the_same_rows() {
    let place = Place::new();
    let sweep = SWEEP.replace("--limit 6", "--limit 25");
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

/// The disk is full: simulated by a limit on file size, which every write beyond it meets.
#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_and_the_run_goes_on_later() {
    let place = Place::new();
    place.run(&format!("{SWEEP} --out whole")).success();
    let limited = format!("trap '' XFSZ; ulimit -f 100; exec {PROGRAM} {SWEEP} --out cut");
    let mut shell = assert_cmd::Command::new("sh");
    shell.current_dir(place.0.path()).args(["-c", &limited]);
    one_line_error(1, "free some space")(shell.assert());
    place.run(&format!("{SWEEP} --out cut")).success();
    assert_eq!(place.rows("cut"), place.rows("whole"));
}

#[test]
fn bad_models_are_refused() {
    let place = Place::new();
    let whole = std::fs::read(place.model()).unwrap();
    let file = |name: &str, bytes: &[u8]| std::fs::write(place.path(name), bytes).unwrap();
    file("text.gguf", b"not a model at all, but long enough");
    file("short.gguf", &whole[..20]);
    file("cut.gguf", &whole[..whole.len() / 2]);
    file("header-only.gguf", &whole[..2000]);
    let mut vocabulary = whole.clone();
    vocabulary[8..16].fill(0);
    file("vocabulary.gguf", &vocabulary);
    let encoder = Synthetic {
        causal: false,
        ..recipe()
    };
    encoder
        .build()
        .unwrap()
        .save(&place.path("encoder.gguf"))
        .unwrap();
    let refused = |model: &str, text: &str| {
        let line = format!("try -m {model} -p abcdef --layers 1");
        one_line_error(1, text)(place.run(&line));
    };
    refused("missing.gguf", "does not exist (-m)");
    refused("text.gguf", "not a GGUF file");
    refused("short.gguf", "truncated");
    refused("cut.gguf", "could not be loaded (-m)");
    refused("header-only.gguf", "could not be loaded (-m)");
    refused("vocabulary.gguf", "vocabulary only");
    refused("encoder.gguf", "is an encoder");
    let line = "try -m no-such-alias -p abc --layers 1";
    one_line_error(2, "neither a file nor a model of the manifest")(place.run(line));
    one_line_error(1, "midlayer pull smollm2-135m")(
        place.run("try -m smollm2-135m -p abc --layers 1"),
    );
}

#[test]
fn wrong_usage_names_the_option() {
    let place = Place::new();
    let refused = |arguments: &str, text: &str| {
        let line = format!("try -m tiny.gguf -p abcdefgh {arguments}");
        one_line_error(2, text)(place.run(&line));
    };
    refused("--layers 4", "0 to 3 (--layers)");
    refused("--layers 0", "freeze is not defined at layer 0");
    refused("", "--layers 15");
    refused("--layers 1 --manipulate inject", "--inject-from");
    let inject = "--layers 1 --manipulate inject --inject-from xyz --inject-at";
    refused(&format!("{inject} zz"), "is not in the prompt (--inject-at");
    refused(&format!("{inject} gh"), "never manipulated (--inject-at)");
    refused(&format!("{inject} bcdef"), "the donor prompt only");
    refused("--layers 1 --tokens 3-9", "not a prior token");
    refused("--layers 1 --tokens skip:9", "selects no prior token");
    refused("--layers 1 --tokens text:zz", "is not in the prompt");
    let sweep = |arguments: &str, text: &str| {
        let line = format!("sweep -m tiny.gguf --shots 1 --limit 2 --out x {arguments}");
        one_line_error(2, text)(place.run(&line));
        assert!(!place.path("x/results.sqlite").exists());
    };
    sweep("--layers 0-9", "out of range");
    sweep("--layers 0", "freeze is not defined at any of the layers");
    sweep(
        "--layers 1 --task math --manipulate inject",
        "knows no donors",
    );
    one_line_error(1, "raise -c")(place.run(&format!(
        "try -m tiny.gguf -c 64 --layers 1 -p {}",
        "x".repeat(80)
    )));
    // What clap sees by itself: usage and exit code 2.
    for arguments in [
        "--layers x",
        "--manipulate melt --layers 1",
        "-fa maybe --layers 1",
        "-ctk q9",
    ] {
        place
            .run(&format!("try -m tiny.gguf -p abc {arguments}"))
            .code(2)
            .stderr(contains("--help"));
    }
}

#[test]
fn a_sweep_that_cannot_begin_leaves_nothing() {
    let place = Place::new();
    let sweep =
        "sweep -m tiny.gguf --task capitals --manipulate freeze --layers 1 --limit 2 --out run";
    one_line_error(1, "raise -c")(place.run(&format!("{sweep} -c 20")));
    assert!(!place.path("run").exists());
    let data =
        "sweep -m tiny.gguf --task squad --manipulate freeze --data squad=none.json --out run";
    one_line_error(1, "(--data squad=FILE)")(place.run(data));
    assert!(!place.path("run").exists());
}

/// A part of the text that ends inside a token of several bytes.
#[test]
fn a_substring_within_a_token_is_refused() {
    let place = Place::new();
    let mut command = place.command("try -m tiny.gguf --layers 1 --manipulate inject");
    // The tokenizer turns a space into a token of three bytes shown as one: no part of it.
    command.args(["-p", "ab cd", "--inject-from", "xyz", "--inject-at", "q"]);
    one_line_error(2, "is not in the prompt")(assert_cmd::Command::from_std(command).assert());
}

#[test]
fn try_prints_json_with_the_clean_run_first() {
    let place = Place::new();
    let line = "try -m tiny.gguf -p abcdefgh --manipulate freeze,random --layers 1-3+2 -o json";
    let output = place.run(line).success().get_output().stdout.clone();
    let lines: Vec<serde_json::Value> = String::from_utf8(output)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = lines
        .iter()
        .map(|l| l["manipulation"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["clean", "freeze", "freeze", "random", "random"]);
    assert_eq!(
        (&lines[0]["kl"], &lines[0]["layer"]),
        (&0.0.into(), &serde_json::Value::Null)
    );
    for line in &lines {
        assert_eq!(line["top"].as_array().unwrap().len(), 20);
        assert_eq!(line["top"][0][0], line["argmax"]["id"]);
    }
    assert_eq!(lines[2]["layer"], 3);
    assert!(lines[1]["kl"].as_f64().unwrap() > 0.0);
}

#[test]
fn try_stacks_manipulations() {
    let place = Place::new();
    let base = "try -m tiny.gguf -p abcdefgh --inject-from xyz --inject-at cd -o json";
    let kl = |manipulate: &str| {
        let line = format!("{base} --manipulate {manipulate}");
        let output = place.run(&line).success().get_output().stdout.clone();
        let text = String::from_utf8(output).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        last["kl"].as_f64().unwrap()
    };
    let inject = kl("inject@1");
    let stacked = kl("inject@1+freeze@3");
    assert_ne!(inject, stacked);
    // Listed the other way round it is the same run.
    assert_eq!(stacked, kl("freeze@3+inject@1"));
}

#[test]
fn doctor_and_lists_work_anywhere() {
    let place = Place::new();
    place
        .run("doctor")
        .success()
        .stdout(contains("llama.cpp").and(contains("midlayer pull smollm2-135m")));
    place
        .run("pull --list")
        .success()
        .stdout(contains("smollm2-135m"));
    one_line_error(2, "no model 'x'")(place.run("pull x"));
    place
        .run("--help")
        .success()
        .stdout(contains("Examples:").and(contains("Exit codes")));
}

#[test]
fn quantize_writes_a_model_that_runs() {
    let place = Place::new();
    place
        .run("quantize -m tiny.gguf --levels q8_0 --out levels")
        .success()
        .stdout(contains("tiny.requantized-q8_0.gguf"));
    place
        .run("try -m levels/tiny.requantized-q8_0.gguf -p abcdefgh --layers 2")
        .success();
    let cached = place
        .run("try -m tiny.gguf:q8_0 -p abcdefgh --layers 2")
        .success();
    cached.stderr(contains("requantizing tiny to q8_0"));
    assert!(place.path("cache/tiny.requantized-q8_0.gguf").is_file());
    one_line_error(2, "is not a level")(place.run("try -m tiny.gguf:q9 -p ab --layers 2"));
}

#[test]
fn bench_prints_its_variants() {
    let place = Place::new();
    place
        .run("bench callback -m tiny.gguf --tokens 20 --rounds 2 -o json")
        .success()
        .stdout(contains("\"no callback\"").and(contains("one layer rewritten")));
}

fn json_lines(assert: Assert) -> Vec<serde_json::Value> {
    let output = assert.success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

#[test]
fn try_rewrites_keys_and_values() {
    let place = Place::new();
    let base = "try -m tiny.gguf -p abcdefgh -ctk f32 -ctv f32 -fa off -o json --layers 1-3";
    let kl = |arguments: &str| -> Vec<f64> {
        let lines = json_lines(place.run(&format!("{base} {arguments}")));
        lines[1..]
            .iter()
            .map(|l| l["kl"].as_f64().unwrap())
            .collect()
    };
    let stream = kl("--manipulate freeze");
    let cache = kl("--manipulate freeze --site kv");
    for (a, b) in stream.iter().zip(&cache) {
        assert!((a - b).abs() < 1e-6 && *a > 0.0, "{a} {b}");
    }
    let keys = kl("--manipulate zero --site kv --kv k");
    let values = kl("--manipulate zero --site kv --kv v");
    assert!(
        keys.iter()
            .zip(&values)
            .all(|(a, b)| a != b && *a > 0.0 && *b > 0.0)
    );
    let filler = kl("--manipulate filler --site kv");
    assert!(filler.iter().all(|k| *k > 0.0));
    // A donor at the same positions, or moved to where its keys belong.
    let donor = "--manipulate inject --site kv --inject-from";
    assert!(kl(&format!("{donor} hgfedcba")).iter().all(|k| *k > 0.0));
    assert!(
        kl(&format!("{donor} xyz --inject-at fg"))
            .iter()
            .all(|k| *k > 0.0)
    );
    let itself = kl(&format!("{donor} abcdefgh"));
    assert!(itself.iter().all(|k| *k < 1e-9), "{itself:?}");
    let earlier = format!("{base} {donor} uvwxyz --inject-at ab");
    one_line_error(2, "cannot be moved")(place.run(&earlier));
}

#[test]
fn try_generates() {
    let place = Place::new();
    let base = "try -m tiny.gguf -p abcdefgh --manipulate freeze --layers 2 --generate 6";
    let lines = json_lines(place.run(&format!("{base} -o json")));
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let generated = line["generated"].as_array().unwrap();
        assert!(!generated.is_empty() && generated.len() <= 6);
        assert_eq!(generated[0], line["argmax"]["id"]);
        assert!(line["text"].is_string());
    }
    place
        .run(base)
        .success()
        .stdout(contains("clean").and(contains("freeze at 2:")));
    let prompt_only = format!("{base} --manipulate-generated no -o json");
    let later = format!("{base} --from-step 3 -o json");
    let later = json_lines(place.run(&later));
    assert_eq!(
        later[0]["generated"][0], later[1]["generated"][0],
        "clean until step 3"
    );
    assert_eq!(json_lines(place.run(&prompt_only)).len(), 2);
    one_line_error(1, "leave --chat out")(place.run(&format!("{base} --chat")));
}

#[test]
fn the_tasks_that_generate_run_on_the_sample_and_on_files() {
    let place = Place::new();
    let base = "sweep -m tiny.gguf -t 1 -c 1024 --limit 2 --manipulate freeze,random --seed 1,2 --layers 1,3";
    place
        .run(&format!("{base} --task squad,cnn_dailymail --out sample"))
        .success()
        .stdout(contains("squad (model-written sample): clean F1"))
        .stderr(contains("midlayer pull squad"));
    let rows = place.rows("sample");
    let squad: Vec<_> = rows
        .iter()
        .filter(|r| r.task.to_string() == "squad")
        .collect();
    // Clean, freeze at two layers, random at two layers with two seeds.
    assert_eq!(squad.len(), 2 * (1 + 2 + 4));
    assert!(
        squad
            .iter()
            .all(|r| r.metrics.contains_key("f1") && (0.0..=1.0).contains(&r.score))
    );
    let cnn: Vec<_> = rows
        .iter()
        .filter(|r| r.task.to_string() == "cnn_dailymail")
        .collect();
    assert!(cnn.iter().all(|r| r.metrics.len() == 4));
    assert!(
        cnn.iter()
            .filter(|r| r.manipulation.is_none())
            .all(|r| r.agrees)
    );
    let run = StoredRun::read(&place.path("sample")).unwrap();
    assert_eq!(
        run.cut["cnn_dailymail"], 2,
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
