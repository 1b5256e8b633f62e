//! What is not known is refused: tensors that are laid out otherwise, plans that make no sense;
//! and the host goes on.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The folder with the plugin, beside this test.
fn built() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().unwrap().to_path_buf();
    assert!(folder.join("libmidlayer_plugin.so").is_file());
    folder
}

fn cc(arguments: &[&str], folder: &Path) {
    let mut command = Command::new("cc");
    command.args(["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]);
    command.current_dir(folder).args(arguments);
    let output = command.output().expect("cc is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}");
}

fn source(name: &str) -> String {
    here("tests/fake").join(name).to_str().unwrap().to_string()
}

/// Builds a fake ggml with these macros.
fn fake(folder: &Path, macros: &[&str]) {
    let file = source("ggml.c");
    let mut arguments = vec!["-shared", "-fPIC", "-o", "libggml-base.so", &file];
    arguments.extend(macros);
    cc(&arguments, folder);
}

fn run(mut command: Command) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    (out, err)
}

/// What the plugin says of a ggml with these macros.
fn verdict(macros: &[&str]) -> String {
    let folder = TempDir::new().unwrap();
    fake(folder.path(), macros);
    let (file, built) = (source("check.c"), built());
    let include = format!("-I{}", here("include").display());
    let plugin = built.join("libmidlayer_plugin.so");
    let arguments = [
        "-o",
        "check",
        &file,
        &include,
        plugin.to_str().unwrap(),
        // Only the plugin asks for anything in it.
        "-Wl,--no-as-needed",
        "./libggml-base.so",
    ];
    cc(&arguments, folder.path());
    let mut command = Command::new(folder.path().join("check"));
    command.current_dir(folder.path());
    command.env("LD_LIBRARY_PATH", &built);
    run(command).0.trim().to_string()
}

#[test]
fn the_known_layout_is_taken_whatever_the_numbers_of_operations() {
    assert_eq!(verdict(&[]), "ok");
    assert_eq!(verdict(&["-DOP_GET_ROWS=7"]), "ok");
}

#[test]
fn every_other_layout_is_refused_by_name() {
    let refused = |macros: &str, what: &str| {
        let verdict = verdict(&[macros]);
        assert!(
            verdict.contains("9.8.7-fake") && verdict.contains(what),
            "{macros}: {verdict}"
        );
    };
    refused("-DMAX_SRC=6", "a tensor takes 336 bytes, not 368");
    refused("-DMAX_NAME=128", "bytes, not 368");
    refused("-DSTRIDES_FIRST", "ne is not where it should be");
    refused("-DFLAGS_FIRST", "flags is not where it should be");
    refused("-DOFFSET_FIRST", "view_src is not where it should be");
    refused("-DNEXT_FIRST", "the next tensor is not where it should be");
    refused("-DOP_GET_ROWS=300", "op is not where it should be");
}

#[test]
fn a_process_without_llama_is_told_apart() {
    let folder = TempDir::new().unwrap();
    let (file, built) = (source("check.c"), built());
    let include = format!("-I{}", here("include").display());
    let plugin = built.join("libmidlayer_plugin.so");
    let arguments = ["-o", "check", &file, &include, plugin.to_str().unwrap()];
    cc(&arguments, folder.path());
    let mut command = Command::new(folder.path().join("check"));
    command.env("LD_LIBRARY_PATH", &built);
    let (out, _) = run(command);
    assert!(out.contains("no llama.cpp was found"), "{out}");
}

/// What a host prints that loads its llama.cpp privately, with the plugin preloaded.
fn preloaded(macros: &[&str], plan: Option<&str>) -> (String, String) {
    let folder = TempDir::new().unwrap();
    fake(folder.path(), macros);
    let arguments = [
        "-shared",
        "-fPIC",
        "-o",
        "libllama.so",
        &source("llama.c"),
        "./libggml-base.so",
    ];
    cc(&arguments, folder.path());
    cc(&["-o", "host", &source("private.c"), "-ldl"], folder.path());
    let mut command = Command::new(folder.path().join("host"));
    command.arg("./libllama.so").current_dir(folder.path());
    command.env("LD_PRELOAD", built().join("libmidlayer_plugin.so"));
    if let Some(plan) = plan {
        let path = folder.path().join("plan.json");
        std::fs::write(&path, plan).unwrap();
        command.env("MIDLAYER_PLAN", path);
    }
    run(command)
}

const FREEZE: &str =
    r#"{"midlayer_plan": 1, "interventions": [{"manipulation": "freeze", "layer": 3}]}"#;

#[test]
fn a_private_llama_is_found_and_the_host_s_callback_still_called() {
    let (out, err) = preloaded(&[], Some(FREEZE));
    assert_eq!(out, "host function: callback says yes\nunharmed\n");
    assert_eq!(err, "");
}

#[test]
fn without_a_plan_nothing_happens() {
    let (out, err) = preloaded(&[], None);
    assert_eq!(out, "host function: callback says yes\nunharmed\n");
    assert_eq!(err, "");
}

#[test]
fn what_is_refused_leaves_the_host_alone() {
    let refused = |macros: &[&str], plan: &str, why: &str| {
        let (out, err) = preloaded(macros, Some(plan));
        assert_eq!(out, "host function: callback says yes\nunharmed\n");
        assert!(err.contains(why) && err.lines().count() == 1, "{err}");
    };
    refused(
        &["-DFLAGS_FIRST"],
        FREEZE,
        "flags is not where it should be",
    );
    refused(&[], "{", "the plan cannot be read");
    let keys = FREEZE.replace("\"layer\"", "\"site\": \"keys\", \"layer\"");
    refused(&[], &keys, "midlayer try");
}
