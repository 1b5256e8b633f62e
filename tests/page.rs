//! The page of `midlayer serve`: its scripts are what its sources say, and it works in a browser.

mod common;

use std::path::Path;
use std::process::Command;

use common::place::{PROGRAM, Place};
use common::python::Python;
use common::require::{CHROMIUM, FIREFOX, NODE, not_run};
use common::served::{EXACT, Served};

#[test]
fn scripts_are_what_the_compiler_makes_of_the_sources() {
    let name = "scripts_are_what_the_compiler_makes_of_the_sources";
    let npx = Command::new("npx").arg("--version").output();
    if !npx.is_ok_and(|output| output.status.success()) {
        return not_run(name, NODE, "there is no npx");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/page");
    let output = Command::new(script).arg("--check").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if said.contains("npm ERR") || said.contains("npm error") {
        return not_run(name, NODE, "npm cannot fetch the compiler");
    }
    assert!(output.status.success(), "run scripts/page: {said}");
}

#[test]
fn every_script_is_served() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/page");
    let files = std::fs::read_to_string(page.join("../files.rs")).unwrap();
    for script in std::fs::read_dir(page.join("js")).unwrap() {
        let name = script.unwrap().file_name().into_string().unwrap();
        assert!(files.contains(&format!("\"js/{name}\"")), "{name}");
    }
}

#[test]
fn a_browser_can_use_it() {
    let name = "a_browser_can_use_it";
    in_a_browser(
        name,
        "page.py",
        Place::new(),
        &format!("-m tiny.gguf {EXACT}"),
    );
}

#[test]
fn a_browser_compares_models_and_opens_runs() {
    let place = Place::with_six_layers();
    let sweep = "--shots 1 --manipulate zero,inject --layers all --limit 4 --out runs/one";
    let line = format!("sweep -m tiny.gguf {EXACT} {sweep} --no-selftest");
    place.run(&line).success();
    let name = "a_browser_compares_models_and_opens_runs";
    let arguments = format!("runs -m tiny.gguf,six.gguf {EXACT}");
    in_a_browser(name, "page_models.py", place, &arguments);
}

#[test]
fn a_browser_shows_models_with_unlike_vocabularies() {
    let name = "a_browser_shows_models_with_unlike_vocabularies";
    let arguments = format!("-m tiny.gguf,pairs.gguf {EXACT}");
    in_a_browser(
        name,
        "page_vocabularies.py",
        Place::with_pairs(),
        &arguments,
    );
}

#[test]
fn a_browser_shows_runs_without_a_model() {
    let place = Place::new();
    let sweep = "--shots 1 --manipulate zero --layers all --limit 2 --no-selftest";
    for run in ["one", "two"] {
        let line = format!("sweep -m tiny.gguf {EXACT} {sweep} --out runs/{run}");
        place.run(&line).success();
    }
    let name = "a_browser_shows_runs_without_a_model";
    in_a_browser(name, "page_runs.py", place, "runs");
}

/// Has a script use the page of a server in Chromium, or in Firefox where `MIDLAYER_BROWSER` says so.
fn in_a_browser(name: &str, script: &str, place: Place, arguments: &str) {
    let browser = std::env::var("MIDLAYER_BROWSER").unwrap_or_default();
    let (needs, programs, python) = match browser.as_str() {
        "firefox" => (
            FIREFOX,
            &["firefox-esr", "firefox"][..],
            Python::with_playwright_for_firefox(),
        ),
        "" | "chromium" => (
            CHROMIUM,
            &["chromium", "chromium-browser", "google-chrome"][..],
            Python::with_playwright(),
        ),
        other => panic!("MIDLAYER_BROWSER is {other}; known are chromium, firefox"),
    };
    let Some(program) = programs.iter().find_map(|program| path_of(program)) else {
        return not_run(name, needs, &format!("there is no {needs}"));
    };
    let python = match python {
        Ok(python) => python,
        Err(why) => return not_run(name, needs, &why),
    };
    let served = Served::of(place, arguments);
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let looked = python
        .command()
        .arg(tests.join(script))
        .args([&served.url, &program])
        .args([served.place.0.path(), Path::new(PROGRAM)])
        .env("MIDLAYER_MODELS", served.place.path("cache"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&looked.stderr);
    assert!(looked.status.success(), "{said}");
}

/// Where a program is, if it is there and starts.
fn path_of(program: &str) -> Option<String> {
    let version = Command::new(program).arg("--version").output().ok()?;
    let which = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .ok()?;
    let path = String::from_utf8(which.stdout).ok()?;
    version.status.success().then(|| path.trim().to_string())
}
