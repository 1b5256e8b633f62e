//! Sweeps that are killed, interrupted or stopped.

use std::path::Path;
use std::process::{Command, Stdio};

use midlayer::store::StoredRun;
use predicates::prelude::*;
use predicates::str::contains;

use super::SWEEP;
use crate::common::place::{PROGRAM, Place, one_line_error};

/// A sweep of several units.
fn several_units() -> String {
    SWEEP
        .replace("--limit 6", "--limit 81")
        .replace("freeze,random,shuffle,skip-attention", "random")
        .replace("--seed 1,2", "--seed 1")
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
