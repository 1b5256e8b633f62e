//! Random models of a wanted size (`midlayer bench model`), and the script that measures with them.

mod common;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::place::{PROGRAM, Place, one_line_error};
use common::rewrite::Pieces;
use midlayer::runtime::{Architecture, Model, ModelOptions, Shape, ShapeError, Synthetic, Text};
use predicates::prelude::*;
use predicates::str::contains;

/// All numbers are others than those of the size that they change.
const NUMBERS: &str = "--shape tiny --layers 3 --width 128 --ffn 192 --heads 8 --kv-heads 2 \
     --vocabulary 300 --rope-base 5000 --context 512";

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.retain(|name| name != "cache" && name != "hub");
    names.sort();
    names
}

#[test]
fn a_shape_has_its_numbers_and_anothers_tokenizer() {
    let place = Place::new();
    let make = |out: &str, seed: u64| {
        let line = format!("bench model -m tiny.gguf --out {out} --seed {seed} {NUMBERS}");
        place
            .run(&line)
            .success()
            .stdout(contains("3 layers, 300 tokens"));
        fs::read(place.path(out)).unwrap()
    };
    let file = make("shape.gguf", 3);
    assert!(file == make("same.gguf", 3), "one seed, one file");
    let other = make("other.gguf", 4);
    // The metadata say the seed, too; this is the upper half of the weights.
    let half = file.len() / 2;
    assert!(file[half..] != other[half..], "another seed");
    assert_eq!(file.len(), other.len());

    let number = |n: u32| [4u32.to_le_bytes(), n.to_le_bytes()].concat();
    let pieces = Pieces::of(&file);
    for (key, value) in [
        ("block_count", number(3)),
        ("embedding_length", number(128)),
        ("feed_forward_length", number(192)),
        ("attention.head_count", number(8)),
        ("attention.head_count_kv", number(2)),
        ("context_length", number(512)),
        ("vocab_size", number(300)),
        (
            "rope.freq_base",
            [6u32.to_le_bytes(), 5000f32.to_le_bytes()].concat(),
        ),
    ] {
        let key = format!("llama.{key}");
        let found = pieces.keys.iter().find(|(name, _)| *name == key);
        assert_eq!(found.map(|(_, raw)| raw), Some(&value), "{key}");
    }

    let load = |name: &str| Model::load(&place.path(name), &ModelOptions::default()).unwrap();
    let (shape, tiny) = (load("shape.gguf"), load("tiny.gguf"));
    let facts = shape.facts();
    assert_eq!(
        (facts.n_layer, facts.n_embd, facts.n_vocab),
        (3, 128, 300),
        "{facts:?}"
    );
    assert_eq!((facts.level().as_str(), facts.n_ctx_train), ("q8_0", 512));
    assert_eq!(facts.notices(), [""; 0]);
    let text = Text::data("Q: What is the capital of France?\nA: Paris");
    let tokens = |model: &Model| model.tokenize(&text).unwrap();
    assert_eq!(tokens(&shape), tokens(&tiny));
    place
        .run("try -m shape.gguf -p hello --layers 1,2 -t 1")
        .success();
}

#[test]
fn other_levels_are_made_of_it() {
    let place = Place::new();
    let line = "bench model --shape tiny --layers 2 -m tiny.gguf --out shape.gguf";
    place.run(line).success();
    place
        .run("quantize -m shape.gguf --levels q4_k_m --out . -t 1")
        .success()
        .stdout(contains("Q4_K"));
    place
        .run("try -m shape.requantized-q4_k_m.gguf -p hello --layers 1 -t 1")
        .success();
}

#[test]
fn an_impossible_shape_is_an_error_that_names_the_option() {
    let place = Place::new();
    for (options, named) in [
        ("--heads 3", "(--heads, --width)"),
        ("--width 100", "(--width)"),
        ("--ffn 48", "(--ffn)"),
        ("--kv-heads 3", "(--kv-heads, --heads)"),
        ("--layers 0", "(--layers)"),
        ("--rope-base 0", "(--rope-base)"),
        ("--vocabulary 0", "(--vocabulary)"),
        ("--context 0", "(--context)"),
    ] {
        let line = format!("bench model --shape tiny -m tiny.gguf --out no.gguf {options}");
        one_line_error(2, named)(place.run(&line));
    }
    let line = "bench model --shape tiny -m tiny.gguf --out tiny.gguf";
    one_line_error(2, "write to another file (--out)")(place.run(line));
    let line = "bench model --shape tiny -m tiny.gguf --out nowhere/no.gguf";
    one_line_error(1, "(--out)")(place.run(line));
    let line = "bench model --shape tiny -m tiny.gguf --out .";
    one_line_error(1, "it is no regular file (--out)")(place.run(line));
    // More than any disk has.
    let large = "--layers 512 --width 524288 --ffn 1048576 --heads 4096 --kv-heads 4096";
    let line = format!("bench model -m tiny.gguf --out no.gguf {large}");
    one_line_error(1, "MB are free: free some, or write elsewhere (--out)")(place.run(&line));
    let ids = Synthetic::new(Architecture::Llama);
    ids.build().unwrap().save(&place.path("ids.gguf")).unwrap();
    let line = "bench model --shape tiny -m ids.gguf --out no.gguf";
    one_line_error(1, "has no vocabulary that could be copied")(place.run(line));
    assert_eq!(names(place.0.path()), ["ids.gguf", "tiny.gguf"]);
}

#[test]
fn what_is_stopped_leaves_what_was_there() {
    let place = Place::new();
    let target = place.path("shape.gguf");
    fs::write(&target, "old").unwrap();
    let mut told = Vec::new();
    let stopped = Shape::TINY.write(&place.model(), 1, &target, &mut |done, all| {
        told.push((done, all));
        match done > all / 2 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    assert!(matches!(stopped, Err(ShapeError::Stopped)), "{stopped:?}");
    assert!(told.is_sorted() && told.len() > 10);
    assert_eq!(fs::read_to_string(&target).unwrap(), "old");
    assert_eq!(names(place.0.path()), ["shape.gguf", "tiny.gguf"]);
    let mut last = (0, 1);
    let told = &mut |done, all| {
        last = (done, all);
        ControlFlow::Continue(())
    };
    let written = Shape::TINY.write(&place.model(), 1, &target, told).unwrap();
    assert_eq!(last, (written.bytes, written.bytes));
    assert_eq!(fs::metadata(&target).unwrap().len(), written.bytes);
}

/// Writes a model of a gigabyte, and waits until something of it is there.
fn begun(place: &Place) -> Child {
    let size = "--shape tiny --layers 16 --width 2048 --ffn 8192 --heads 16";
    let line = format!("bench model -m tiny.gguf --out large.gguf {size}");
    let mut command = place.command(&line);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    let waited = Instant::now();
    while !names(place.0.path()).iter().any(|n| n.ends_with(".part")) {
        assert!(waited.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
#[cfg(unix)]
fn a_signal_takes_the_unfinished_file_away() {
    let place = Place::new();
    for (signal, code) in [("TERM", 75), ("INT", 130)] {
        let child = begun(&place);
        let id = child.id().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.args(["-s", signal, &id]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{signal}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("large.gguf was not written"), "{said}");
        assert_eq!(names(place.0.path()), ["tiny.gguf"], "{signal}");
    }
    // A kill can leave what was begun, under a name that is no model's.
    let mut child = begun(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!place.path("large.gguf").exists());
}

/// The part of `scripts/gpu-check` that measures a model of 7B, on the processor and a tiny one.
#[test]
#[cfg(target_os = "linux")]
fn the_script_measures_goes_on_and_says_what_is_left() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let place = Place::new();
    let folder = place.path("pack");
    fs::create_dir_all(folder.join("models")).unwrap();
    fs::create_dir(place.path("bin")).unwrap();
    fs::copy(place.model(), folder.join("models/tiny.gguf")).unwrap();
    symlink(PROGRAM, folder.join("midlayer")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/gpu-check");
    fs::copy(script, folder.join("gpu-check")).unwrap();
    // A profiler that runs what it is given.
    let nsys = place.path("bin/nsys");
    let text =
        "#!/bin/sh\nwhile [ \"$1\" != ./midlayer ]; do shift; done\necho profiled\nexec \"$@\"\n";
    fs::write(&nsys, text).unwrap();
    fs::set_permissions(&nsys, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |gpu: &str, seconds: Option<&str>| {
        let mut command = place.command("");
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", place.path("bin").display());
        let seconds = seconds.map(|seconds| ("MIDLAYER_SECONDS", seconds));
        let mut script = Command::new(folder.join("gpu-check"));
        command.env("PATH", path);
        script
            .arg("large")
            .arg("results")
            .current_dir(place.0.path())
            .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))))
            .env("MIDLAYER_GPU", gpu)
            .env("MIDLAYER_SHAPE", "tiny")
            .env_remove("MIDLAYER_SECONDS")
            .envs(seconds);
        let output = script.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (
            output.status.code(),
            said,
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said, errors) = run("cpu", None);
    assert_eq!(code, Some(0), "{said}{errors}");
    let summary = fs::read_to_string(place.path("results/summary.txt")).unwrap();
    let mut labels: Vec<&str> = summary
        .lines()
        .map(|l| l.split(' ').next().unwrap())
        .collect();
    labels.sort_unstable();
    let mut expected = vec!["tiny".to_string(), "tiny-q4_k_m".into()];
    for level in ["q8_0", "q4_k_m"] {
        let cells = ["capitals-1", "capitals-2", "math-2"].map(|cell| {
            ["freeze", "random"].map(|kind| format!("tiny-{level}-cell-{cell}-{kind}"))
        });
        expected.extend(cells.into_iter().flatten());
        let parts = ["bench-sweep", "bench-generation", "bench-callback", "nsys"];
        expected.extend(parts.map(|part| format!("tiny-{level}-{part}")));
    }
    expected.sort_unstable();
    assert_eq!(labels, expected);
    assert!(
        summary.lines().all(|line| line.ends_with("code 0")),
        "{summary}"
    );
    let sweep = fs::read_to_string(place.path("results/tiny-q4_k_m-bench-sweep.out")).unwrap();
    assert!(
        contains("freeze, long prompt, all layers").eval(&sweep),
        "{sweep}"
    );
    // A module that brings no device: nothing is timed on the processor by mistake.
    fs::write(folder.join("libggml-cuda.so"), "").unwrap();
    let (code, _, errors) = run("cuda", None);
    assert!(
        code == Some(1) && errors.contains("midlayer finds no device for cuda here"),
        "{errors}"
    );
    // Again: nothing is measured twice, and what is missing is.
    fs::remove_file(place.path("results/tiny-q8_0-bench-callback.code")).unwrap();
    let (code, said, _) = run("cpu", Some("0"));
    assert_eq!(code, Some(75), "{said}");
    assert!(
        said.contains("no time was left for tiny-q8_0-bench-callback;"),
        "{said}"
    );
    let (code, said, _) = run("cpu", Some("600"));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        said.matches("there already").count(),
        expected.len() - 3,
        "{said}"
    );
    assert!(said.contains("callback, all layers rewritten"), "{said}");
}
