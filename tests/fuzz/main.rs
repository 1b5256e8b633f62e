//! Hostile input: files that this program reads, damaged in ways drawn from a seed. Whatever is
//! in them, reading ends with a value or an error.
//!
//! As tests the targets run a few hundred inputs each. For longer, one after the other:
//!
//! ```text
//! MIDLAYER_FUZZ_SECONDS=300 cargo test --release --test fuzz -- --test-threads 1 --nocapture
//! ```
//!
//! `MIDLAYER_FUZZ_FROM=123456` begins at another input, which is how a finding is repeated: each
//! input follows from its number alone. The last input of a target is kept in a file while it
//! runs, for findings that end the process.

#[path = "../common/mod.rs"]
mod common;
mod database;
mod mutate;
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use common::gguf::damaged;
use common::place::{PROGRAM, Place};
use midlayer::report;
use midlayer::store::StoredRun;
use midlayer::tasks::TaskName;
use midlayer::tasks::data::{DataError, read_cnn_dailymail, read_squad};
use midlayer::tasks::own::Definition;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Inputs that a quick target and a slow one get as a test.
const MANY: u64 = 600;
const FEW: u64 = 120;
/// Where each input that is taken measures the machine's speed for seconds.
const A_FEW: u64 = 12;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs a target on input after input. `make` gives the input of a number, and `target` returns
/// whether it was taken (read, not refused); some must be, and some not, or the damage is
/// too great or too small to be of use.
fn fuzz(
    name: &str,
    extension: &str,
    inputs: u64,
    mut make: impl FnMut(&mut ChaCha8Rng) -> Vec<u8>,
    mut target: impl FnMut(&Path) -> bool,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("input.{extension}"));
    let from = number("MIDLAYER_FUZZ_FROM").unwrap_or(0);
    let seconds = number("MIDLAYER_FUZZ_SECONDS").map(Duration::from_secs);
    let begun = Instant::now();
    let (mut taken, mut refused) = (0u64, 0u64);
    for n in from.. {
        let done = match seconds {
            Some(limit) => begun.elapsed() >= limit,
            None => n >= from + inputs,
        };
        if done {
            break;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(n);
        let input = make(&mut rng);
        std::fs::write(&path, &input).unwrap();
        match catch_unwind(AssertUnwindSafe(|| target(&path))) {
            Ok(true) => taken += 1,
            Ok(false) => refused += 1,
            Err(_) => {
                let kept = std::env::temp_dir().join(format!("midlayer-{name}-{n}.{extension}"));
                std::fs::write(&kept, &input).unwrap();
                panic!("{name}: input {n} panics; it is in {}", kept.display());
            }
        }
    }
    println!("{name}: {taken} inputs taken, {refused} refused");
    assert!(taken > 0 && refused > 0, "{name}: {taken} and {refused}");
}

/// The options that name files of data.
const DATA: &str = "(`data` ";
const OWN: &str = "(`task` mine=FILE)";

/// A reader of task data: what it refuses, it refuses with the file and the option.
fn reader<T, E: std::fmt::Display>(
    name: &str,
    extension: &str,
    option: &str,
    seeds: &[Vec<u8>],
    read: impl Fn(&Path) -> Result<Vec<T>, E>,
) {
    fuzz(
        name,
        extension,
        MANY,
        |rng| mutate::bytes(&seeds[rng.random_range(0..seeds.len())], rng),
        |path| match read(path) {
            Ok(records) => {
                assert!(!records.is_empty());
                true
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.starts_with(&path.display().to_string()), "{text}");
                assert!(text.contains(option), "{text}");
                assert!(text.len() < 2000 && !text.contains('\n'), "{text}");
                false
            }
        },
    );
}

#[test]
fn squad_json() {
    reader("squad-json", "json", DATA, &seeds::squad_json(), read_squad);
}

#[test]
fn squad_parquet() {
    let seeds = seeds::squad_parquet();
    reader("squad-parquet", "parquet", DATA, &seeds, read_squad);
}

#[test]
fn cnn_dailymail_lines() {
    let seeds = seeds::cnn_lines();
    reader("cnn-lines", "jsonl", DATA, &seeds, read_cnn_dailymail);
}

#[test]
fn cnn_dailymail_csv() {
    let seeds = seeds::cnn_csv();
    reader("cnn-csv", "csv", DATA, &seeds, read_cnn_dailymail);
}

#[test]
fn cnn_dailymail_parquet() {
    let seeds = seeds::cnn_parquet();
    reader("cnn-parquet", "parquet", DATA, &seeds, read_cnn_dailymail);
}

/// What a task of the user's own is read from.
fn own(path: &Path) -> Result<Vec<()>, DataError> {
    let task = TaskName::new("mine").unwrap();
    let records = Definition::default().count(task, path)?;
    Ok(vec![(); records])
}

#[test]
fn own_lines() {
    reader("own-lines", "jsonl", OWN, &seeds::own_lines(), own);
}

#[test]
fn own_csv() {
    reader("own-csv", "csv", OWN, &seeds::own_csv(), own);
}

/// Options in a file, through the program: whatever they are, a dry run or an error.
#[test]
fn configurations() {
    let place = Place::new();
    let seeds = seeds::configurations();
    fuzz(
        "configurations",
        "toml",
        A_FEW,
        |rng| mutate::bytes(&seeds[rng.random_range(0..seeds.len())], rng),
        |path| {
            let mut program = place.command("sweep -m tiny.gguf -t 1 --dry-run --config");
            let output = Command::from_std({
                program.arg(path);
                program
            })
            .timeout(Duration::from_secs(300))
            .output()
            .unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            assert!(matches!(code, Some(0..=2)), "{code:?} {errors}");
            if code != Some(0) {
                assert!(!errors.trim().is_empty() && output.stdout.is_empty());
            }
            code == Some(0)
        },
    );
}

/// Reads a run, and writes its report if it can be read.
fn reported(folder: &Path, threshold: f64) -> bool {
    match StoredRun::read(folder) {
        Ok(run) => {
            let options = report::Options {
                threshold: Some(threshold),
                ..report::Options::default()
            };
            let of = report::Report::new(&run, options);
            assert!(report::terminal(&of, Some(60)).len() < 100_000_000);
            report::write(&of).unwrap();
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&folder.display().to_string()), "{text}");
            false
        }
    }
}

/// Databases with bytes changed.
#[test]
fn database_bytes() {
    let whole = database::whole();
    fuzz(
        "database-bytes",
        "sqlite",
        FEW,
        |rng| mutate::pages(&whole, rng),
        |path| reported(&database::as_run(path), 0.95),
    );
}

/// Well-formed databases with values that no run has.
#[test]
fn database_values() {
    let whole = database::whole();
    fuzz(
        "database-values",
        "sqlite",
        FEW,
        |rng| database::with_hostile_values(&whole, rng),
        |path| reported(&database::as_run(path), 0.95),
    );
}

/// Model files, through the program: what crashes llama.cpp must be an error of the program.
#[test]
fn model_files() {
    let place = Place::new();
    let seeds = seeds::models();
    let line = "-p abcdefgh --layers 1 -t 1";
    fuzz(
        "model-files",
        "gguf",
        FEW,
        |rng| {
            let kind = rng.random_range(0..1000);
            damaged(&seeds[rng.random_range(0..seeds.len())], kind, rng).0
        },
        |path| {
            let mut program = place.command("try -m");
            program.arg(path).args(line.split(' '));
            let output = Command::from_std(program)
                .timeout(Duration::from_secs(200))
                .output()
                .unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                return true;
            }
            let code = output.status.code();
            assert!(matches!(code, Some(1 | 2)), "{PROGRAM}: {code:?} {errors}");
            assert_eq!(errors.lines().count(), 1, "{errors}");
            assert!(errors.starts_with("midlayer: "), "{errors}");
            false
        },
    );
}
