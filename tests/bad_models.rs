//! Damaged model files: whatever llama.cpp does with them, the program ends with a message.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;
use common::gguf::{damaged, noise};
use common::place::Place;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const KINDS: usize = 200;

/// Files in the order of their seeds, dealt to so many threads.
const THREADS: usize = 2;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Runs,
    Refused,
    Crashes,
    Other,
}

/// Runs the program on a file; `Err` tells what is wrong with how it ended.
fn run(place: &Place, file: &str) -> Result<End, String> {
    let line = format!("try -m {file} -p abcdefgh --layers 1 -t 1");
    // Hangs are the program's to notice; this is for a program that does not.
    let output = Command::from_std(place.command(&line))
        .timeout(Duration::from_secs(200))
        .output()
        .map_err(|error| error.to_string())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = errors.lines().collect();
    match (output.status.code(), &said[..]) {
        (Some(0), _) => Ok(End::Runs),
        (Some(1 | 2), [line]) if line.starts_with("midlayer: ") && output.stdout.is_empty() => {
            Ok(if line.contains("crashes llama.cpp") {
                End::Crashes
            } else if line.contains(file) && line.contains("(-m") {
                End::Refused
            } else {
                End::Other
            })
        }
        _ => Err(format!("{:?}: {errors}", output.status)),
    }
}

/// Seed by seed, the files of one thread.
fn share(place: &Place, whole: &[u8], thread: usize) -> Vec<(String, Result<End, String>)> {
    let mut ends = Vec::new();
    for seed in (thread..KINDS).step_by(THREADS) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
        let (bytes, what) = match seed % 20 {
            19 => (noise(whole, &mut rng), "noise".to_string()),
            _ => damaged(whole, seed, &mut rng),
        };
        let name = format!("damaged-{seed}.gguf");
        std::fs::write(place.path(&name), bytes).unwrap();
        ends.push((format!("{seed}: {what}"), run(place, &name)));
        std::fs::remove_file(place.path(&name)).unwrap();
    }
    ends
}

#[test]
fn no_damaged_file_ends_the_program_without_a_message() {
    let place = Place::new();
    let whole = std::fs::read(place.model()).unwrap();
    let ends: Vec<(String, Result<End, String>)> = std::thread::scope(|scope| {
        let (place, whole) = (&place, &whole);
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || share(place, whole, thread)))
            .collect();
        let shares = threads.into_iter().map(|thread| thread.join().unwrap());
        shares.flatten().collect()
    });
    let mut counts: BTreeMap<End, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (what, end) in ends {
        match end {
            // Shown by `cargo test -- --nocapture`.
            Ok(end @ (End::Crashes | End::Other)) => {
                println!("{what}: {end:?}");
                *counts.entry(end).or_default() += 1;
            }
            Ok(end) => *counts.entry(end).or_default() += 1,
            Err(how) => wrong.push(format!("{what}: {how}")),
        }
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The damage is of all sorts: it is refused, it goes through, and it kills the loader.
    assert!(counts[&End::Refused] > KINDS / 4, "{counts:?}");
    assert!(counts[&End::Runs] > KINDS / 10, "{counts:?}");
    assert!(counts[&End::Crashes] > 0, "{counts:?}");
}

#[test]
fn a_file_that_loads_is_tried_once() {
    let place = Place::new();
    let stamps = || match std::fs::read_dir(place.path("cache/checked")) {
        Ok(entries) => entries.count(),
        Err(_) => 0,
    };
    let line = "try -m tiny.gguf -p abcdefgh --layers 1";
    for _ in 0..2 {
        place.run(line).success();
        assert_eq!(stamps(), 1);
    }
    // Other settings are another case.
    place.run(&format!("{line} -ctk f32")).success();
    assert_eq!(stamps(), 2);
    let bytes = std::fs::read(place.model()).unwrap();
    std::fs::write(place.model(), &bytes[..1000]).unwrap();
    place.run(line).code(1);
    std::fs::write(place.model(), bytes).unwrap();
    place.run(line).success();
    // A damaged file leaves none, and the same contents are the same file.
    assert_eq!(stamps(), 2);
    assert!(Path::new(&place.path("cache/checked")).is_dir());
}
