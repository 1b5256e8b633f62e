//! The page of `midlayer serve`: its scripts are what its sources say, and it works in a browser.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use common::place::{PROGRAM, Place};
use common::python::Python;
use common::require::{CHROMIUM, NODE, not_run};

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
    let chromium = ["chromium", "chromium-browser", "google-chrome"];
    let there = |program: &&str| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    let Some(chromium) = chromium.into_iter().find(|program| there(program)) else {
        return not_run(name, CHROMIUM, "there is no chromium");
    };
    let python = match Python::with_playwright() {
        Ok(python) => python,
        Err(why) => return not_run(name, CHROMIUM, &why),
    };
    let which = Command::new("sh")
        .args(["-c", &format!("command -v {chromium}")])
        .output()
        .unwrap();
    let place = Place::new();
    let exact = "-t 1 -fa off -ctk f32 -ctv f32 --no-open --port 0";
    let mut server = place
        .command(&format!("serve -m tiny.gguf {exact}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    let stdout = server.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut url).unwrap();
    let looked = python
        .command()
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page.py"))
        .arg(url.trim())
        .arg(String::from_utf8(which.stdout).unwrap().trim())
        .args([place.0.path(), Path::new(PROGRAM)])
        .env("MIDLAYER_MODELS", place.path("cache"))
        .output();
    server.kill().unwrap();
    server.wait().unwrap();
    let looked = looked.unwrap();
    let said = String::from_utf8_lossy(&looked.stderr);
    assert!(looked.status.success(), "{said}");
}
