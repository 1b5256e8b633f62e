//! Runs that are killed at any moment end, once repeated, with the rows of an undisturbed one;
//! and a second process keeps its hands off a run that is being worked on.
#![cfg(unix)]

mod common;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::place::{Place, one_line_error, recipe};
use common::rows::Copy;
use midlayer::runtime::Synthetic;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the kills of a sweep hit.
#[derive(Debug, Default)]
struct Hit {
    /// Kills, all of running processes.
    running: usize,
    /// Of these, those that left some items stored and others not.
    midway: usize,
}

fn spawn(place: &Place, line: &str) -> Child {
    let mut command = place.command(line);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Kills so many runs of a sweep, each once or twice at moments drawn from an undisturbed
/// run's duration, and lets each finish then.
fn kill_and_resume(place: &Place, sweep: &str, runs: usize, seed: u64) {
    let begun = Instant::now();
    place.run(&format!("{sweep} --out whole")).success();
    let mut duration = begun.elapsed();
    let whole = Copy::of(&place.path("whole")).unwrap();
    assert_eq!(whole.doubled(), 0);
    let (expected, items) = (whole.dump(), whole.items());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut hit = Hit::default();
    for run in 0..runs {
        let folder = format!("cut-{run}");
        let line = format!("{sweep} --out {folder}");
        let mut kills = rng.random_range(1..=2);
        while kills > 0 {
            let mut child = spawn(place, &line);
            // There is nothing to wait for: the moment is to be any.
            std::thread::sleep(duration.mul_f64(rng.random()));
            child.kill().unwrap();
            if child.wait().unwrap().code().is_some() {
                // It had ended: the machine is faster now than when the duration was measured.
                duration = duration.mul_f64(0.9);
                std::fs::remove_dir_all(place.path(&folder)).unwrap();
                continue;
            }
            kills -= 1;
            hit.running += 1;
            if let Some(left) = Copy::of(&place.path(&folder)) {
                assert_eq!(left.integrity(), "ok");
                hit.midway += usize::from((1..items).contains(&left.items()));
            }
        }
        place.run(&line).success();
        let resumed = Copy::of(&place.path(&folder)).unwrap();
        assert_eq!(resumed.doubled(), 0, "run {run}");
        assert!(resumed.dump() == expected, "run {run} has other rows");
    }
    println!("{hit:?} of {runs} runs and {} ms", duration.as_millis());
    // Kills that all come too early or too late would prove nothing.
    assert!(hit.running >= runs && hit.midway >= runs / 7, "{hit:?}");
}

const SWEEP: &str = "-t 1 --task capitals,math --shots 0 --limit 81 --manipulate random,inject \
                     --layers 2,3";

#[test]
fn killed_sweeps_resume_to_the_same_rows() {
    let place = Place::new();
    kill_and_resume(&place, &format!("sweep -m tiny.gguf {SWEEP}"), 20, 1);
}

#[test]
fn killed_straightforward_sweeps_resume_to_the_same_rows() {
    let place = Place::new();
    let sweep = format!("sweep -m tiny.gguf {SWEEP} --strategy straightforward");
    kill_and_resume(&place, &sweep.replace("--limit 81", "--limit 10"), 15, 2);
}

#[test]
fn killed_sweeps_of_two_models_resume_to_the_same_rows() {
    let place = Place::new();
    let other = Synthetic {
        seed: 2,
        ..recipe()
    };
    let model = other.build().unwrap();
    model.save(&place.path("other.gguf")).unwrap();
    let sweep = format!("sweep -m tiny.gguf,other.gguf {SWEEP}");
    kill_and_resume(&place, &sweep.replace("--limit 81", "--limit 41"), 15, 3);
}

/// Sends a signal.
fn send(signal: &str, child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &pid]).status();
    assert!(sent.unwrap().success());
}

/// Waits until a process is stopped: until then it may go on writing.
fn wait_for_stop(child: &Child) {
    let pid = child.id().to_string();
    loop {
        let state = Command::new("ps")
            .args(["-o", "state=", "-p", &pid])
            .output();
        if state.unwrap().stdout.starts_with(b"T") {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_second_process_leaves_the_first_one_s_run_alone() {
    let place = Place::new();
    let sweep = format!("sweep -m tiny.gguf {SWEEP} --strategy straightforward");
    let sweep = sweep.replace("--limit 81", "--limit 20");
    place.run(&format!("{sweep} --out whole")).success();
    let line = format!("{sweep} --out shared");
    let mut first = spawn(&place, &line);
    let shared = place.path("shared");
    while Copy::of(&shared).is_none_or(|run| run.items() == 0) {
        assert_eq!(
            first.try_wait().unwrap(),
            None,
            "it ended before it was stopped"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    send("STOP", &first);
    wait_for_stop(&first);
    let before = Copy::of(&shared).unwrap();
    let whole = Copy::of(&place.path("whole")).unwrap();
    assert!((1..whole.items()).contains(&before.items()));
    for other in [&line, &line.replace("--limit 20", "--limit 3")] {
        one_line_error(1, "in use by another midlayer")(place.run(other));
        let after = Copy::of(&shared).unwrap();
        assert!(
            after.dump() == before.dump(),
            "the first one's rows changed"
        );
    }
    send("CONT", &first);
    assert!(first.wait().unwrap().success());
    let shared = Copy::of(&shared).unwrap();
    assert_eq!(shared.doubled(), 0);
    assert!(shared.dump() == whole.dump());
}
