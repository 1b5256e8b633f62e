//! Runs that are killed and stopped.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::place::Place;
use super::rows::Copy;

/// What the kills of a sweep hit.
#[derive(Debug, Default)]
struct Hit {
    /// Kills, all of running processes.
    running: usize,
    /// Of these, those that left some items stored and others not.
    midway: usize,
}

pub fn spawn(place: &Place, line: &str) -> Child {
    let mut command = place.command(line);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Kills so many runs of a sweep, each once or twice at moments drawn from an undisturbed
/// run's duration, and lets each finish then. They are in `folder`, the undisturbed one is not.
pub fn kill_and_resume(place: &Place, sweep: &str, folder: &str, runs: usize, seed: u64) {
    place.run(&format!("{sweep} --out whole")).success();
    let whole = Copy::of(&place.path("whole")).unwrap();
    assert_eq!(whole.doubled(), 0);
    let (expected, items) = (whole.dump(), whole.items());
    let begun = Instant::now();
    place.run(&format!("{sweep} --out {folder}timed")).success();
    let mut duration = begun.elapsed();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut hit = Hit::default();
    for run in 0..runs {
        let folder = format!("{folder}cut-{run}");
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

/// Sends a signal.
pub fn send(signal: &str, child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &pid]).status();
    assert!(sent.unwrap().success());
}

/// Waits until a run holds its first items, and stops the process that works on it.
pub fn stop_midway(child: &mut Child, run: &Path) {
    while Copy::of(run).is_none_or(|run| run.items() == 0) {
        let ended = child.try_wait().unwrap();
        assert_eq!(ended, None, "it ended before it was stopped");
        std::thread::sleep(Duration::from_millis(1));
    }
    send("STOP", child);
    let pid = child.id().to_string();
    // Until then it may go on writing.
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
