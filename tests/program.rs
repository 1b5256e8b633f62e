//! The program from outside: what it prints, and what it refuses and how.

mod common;

use common::place::{Place, json_lines, one_line_error, recipe};
use midlayer::runtime::Synthetic;
use predicates::prelude::*;
use predicates::str::contains;

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
        assert_eq!(line["top"][0], line["argmax"]);
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
        .stdout(contains("llama.cpp").and(contains("midlayer pull smollm2-135m")))
        .stdout(contains("\nnot ready, there is no model"));
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
    let copies = contains("tiny.requantized-q8_0: requantized");
    place.run("doctor").success().stdout(copies);
    one_line_error(2, "is not a level")(place.run("try -m tiny.gguf:q9 -p ab --layers 2"));
}

#[test]
fn completions_and_the_manual_know_the_options() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let line = format!("completions {shell}");
        let options = contains("manipulate").and(contains("strategy"));
        place.run(&line).success().stdout(options);
    }
    let manual = contains(".TH")
        .and(contains("manipulate"))
        .and(contains("midlayer\\-sweep"));
    place.run("man").success().stdout(manual);
}

#[test]
fn runs_are_listed() {
    let place = Place::new();
    let none = contains("no run in runs");
    place.run("runs").success().stdout(none);
    one_line_error(2, "elsewhere: there is no such folder")(place.run("runs elsewhere"));
    let sweep = "sweep -m tiny.gguf -t 1 --limit 2 --layers 1 --out runs/first";
    place.run(sweep).success();
    std::fs::create_dir(place.path("runs/other")).unwrap();
    let row = contains("runs/first")
        .and(contains("tiny"))
        .and(contains("capitals"))
        .and(contains("freeze"))
        .and(contains("2 of 2"));
    let next = contains("midlayer export runs/first").and(contains("not complete").not());
    place.run("runs").success().stdout(row).stderr(next);
    // As if it had been cut off before its items, which ran together.
    let database = place.path("runs/first/results.sqlite");
    let cut = "DELETE FROM results; DELETE FROM items";
    rusqlite::Connection::open(database)
        .and_then(|database| database.execute_batch(cut))
        .unwrap();
    let next = contains("is incomplete: 0 of 6 results are stored").and(contains(format!(
        "to go on where it stopped: midlayer {sweep}"
    )));
    place
        .run("runs")
        .success()
        .stdout(contains("0 of 2"))
        .stderr(next);
    place.run(sweep).success();
    place.run("runs").success().stdout(contains("2 of 2"));
    place
        .run("runs runs/first")
        .success()
        .stdout(contains("runs/first"));
    std::fs::create_dir(place.path("runs/broken")).unwrap();
    std::fs::write(place.path("runs/broken/results.sqlite"), "not a database").unwrap();
    // As a run that was cut off before it had any table.
    std::fs::create_dir(place.path("runs/empty")).unwrap();
    std::fs::write(place.path("runs/empty/results.sqlite"), "").unwrap();
    let both = contains("runs/first")
        .and(contains("runs/broken"))
        .and(contains("runs/empty"));
    place.run("runs").success().stdout(both);
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
    let keys = kl("--manipulate zero --site k");
    let values = kl("--manipulate zero --site v");
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
    one_line_error(2, "can only be moved to later ones")(place.run(&earlier));
}

#[test]
fn try_generates() {
    let place = Place::new();
    let base = "try -m tiny.gguf -p abcdefgh --manipulate freeze --layers 2 --generate 6";
    let lines = json_lines(place.run(&format!("{base} -o json")));
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let generated = line["generated"]["tokens"].as_array().unwrap();
        assert!(!generated.is_empty() && generated.len() <= 6);
        assert_eq!(generated[0]["id"], line["argmax"]["id"]);
        assert!(
            generated
                .iter()
                .all(|t| t["margin"].as_f64().unwrap() >= 0.0)
        );
        assert!(line["generated"]["text"].is_string());
    }
    place
        .run(base)
        .success()
        .stdout(contains("clean").and(contains("freeze at 2:")));
    let prompt_only = format!("{base} --manipulate-generated no -o json");
    let later = format!("{base} --from-step 3 -o json");
    let later = json_lines(place.run(&later));
    assert_eq!(
        later[0]["generated"]["tokens"][0]["id"], later[1]["generated"]["tokens"][0]["id"],
        "clean until step 3"
    );
    assert_eq!(json_lines(place.run(&prompt_only)).len(), 2);
    one_line_error(1, "ask without one (--chat)")(place.run(&format!("{base} --chat")));
}

/// A program that was built for another processor says so, wherever it meets the instruction.
#[cfg(unix)]
#[test]
fn an_illegal_instruction_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("config.toml");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_midlayer"))
        .arg("sweep")
        .arg("--config")
        .arg(&pipe)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Opens only once the program reads, so its handler is in place.
    let held = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    let signal = std::process::Command::new("kill")
        .args(["-ILL", &program.id().to_string()])
        .status();
    assert!(signal.unwrap().success());
    let ended = program.wait_with_output().unwrap();
    drop(held);
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("built for another processor"), "{said}");
}
