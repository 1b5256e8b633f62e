//! Readers that go away, databases that others have locked, and names that hold anything: what a
//! run has computed is kept, and what is shown is harmless.
#![cfg(unix)]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use common::place::{PROGRAM, Place, one_line_error};
use common::rows::Copy;
use midlayer::store::DATABASE;
use predicates::prelude::*;
use predicates::str::contains;
use rusqlite::Connection;

const SWEEP: &str = "sweep -m tiny.gguf -t 1 --shots 0 --limit 6 --manipulate freeze,random \
                     --layers 2,3";

/// Runs a line of bash in a place, where `midlayer` is the program; its end, stdout and stderr.
fn bash(place: &Place, line: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new("bash");
    let script = format!("midlayer() {{ '{PROGRAM}' \"$@\"; }}; set -o pipefail; {line}");
    let output = command
        .args(["-c", &script])
        .current_dir(place.0.path())
        .env("MIDLAYER_MODELS", place.path("cache"))
        .env("HF_HOME", place.path("hub"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn a_reader_that_goes_away_costs_no_report_and_is_not_mentioned() {
    let place = Place::new();
    // The reader has gone before the first line comes.
    let gone = "> >(exec 0<&-; exit)";
    for (n, closed) in [
        format!("2{gone}"),
        gone.to_string(),
        format!("{gone} 2>&1"),
        "2>&-".to_string(),
        ">&-".to_string(),
        "| head -1".to_string(),
        "2>&1 | head -1".to_string(),
    ]
    .iter()
    .enumerate()
    {
        let line = format!("{SWEEP} --out run{n} {closed}");
        let line = line.replacen("sweep", "midlayer sweep", 1);
        let (code, _, said) = bash(&place, &line);
        assert_eq!(code, Some(0), "{closed}: {said}");
        assert!(
            !said.contains("ipe") && !said.contains("panicked"),
            "{said}"
        );
        for file in ["report.html", "report.md", DATABASE] {
            let path = place.path(&format!("run{n}")).join(file);
            assert!(path.is_file(), "{closed}: {}", path.display());
        }
        assert_eq!(
            Copy::of(&place.path(&format!("run{n}"))).unwrap().items(),
            6
        );
        let report = format!("midlayer report run{n} --out again{n}.html {closed}");
        assert_eq!(bash(&place, &report).0, Some(0), "{closed}");
        assert!(place.path(&format!("again{n}.html")).is_file(), "{closed}");
    }
    for format in ["csv", "jsonl", "md", "sql", "parquet"] {
        let line = format!("midlayer export run0 -o {format} {gone}");
        let (code, _, said) = bash(&place, &line);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{format}");
    }
    // Any other failure of stdout is one, and costs no report either.
    fs::remove_file(place.path("run0/report.html")).unwrap();
    let (code, _, said) = bash(&place, "midlayer report run0 > /dev/full");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("No space left"), "{said}");
    assert!(place.path("run0/report.html").is_file());
}

#[test]
fn a_database_that_another_has_locked_is_waited_for() {
    let place = Place::new();
    place.run(&format!("{SWEEP} --out run")).success();
    let database = place.path("run").join(DATABASE);
    let rows = Copy::of(&place.path("run")).unwrap().dump();
    for line in [&format!("{SWEEP} --out run"), "export run"] {
        let db = Connection::open(&database).unwrap();
        db.pragma_update(None, "journal_mode", "DELETE").unwrap();
        db.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let mut command = place.command(line);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        // It says so while the lock is held; only then is it given up.
        let told = said.any(|line| line.unwrap().contains("waiting for it"));
        assert!(told, "{line}");
        db.execute_batch("COMMIT").unwrap();
        drop(db);
        said.for_each(drop);
        assert!(child.wait().unwrap().success(), "{line}");
    }
    assert!(Copy::of(&place.path("run")).unwrap().dump() == rows);
}

/// A file system without locks, as far as the program can see.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_locks_is_refused_and_nothing_is_left_there() {
    let place = Place::new();
    let source = "#include <errno.h>\nint flock(int f, int o) { (void)f, (void)o; errno = ENOSYS; return -1; }\n";
    fs::write(place.path("locks.c"), source).unwrap();
    let library = place.path("locks.so");
    let mut cc = Command::new("cc");
    // What is preloaded comes before a sanitizer's runtime, so it must need none.
    cc.args(["-shared", "-fPIC", "-fno-sanitize=all", "-o"]);
    cc.arg(&library);
    assert!(cc.arg(place.path("locks.c")).status().unwrap().success());
    let line = format!("{SWEEP} --out run");
    let mut command = place.command(&line);
    command.env("LD_PRELOAD", &library);
    let refused = one_line_error(1, "files cannot be locked");
    refused(assert_cmd::Command::from_std(command).assert());
    assert!(!place.path("run").exists());
    place.run(&line).success();
}

#[test]
fn folders_may_have_any_name() {
    let place = Place::new();
    for name in [
        &b"not utf-8 \xff"[..],
        b"with: colon",
        b"new\nline",
        b"\x1b[31m",
        "日本".as_bytes(),
    ] {
        let folder = place.0.path().join(OsStr::from_bytes(name));
        fs::create_dir(&folder).unwrap();
        fs::copy(place.model(), folder.join("tiny.gguf")).unwrap();
        let data = r#"{"data": [{"title": "t", "paragraphs": [{"context": "A cat sat.",
            "qas": [{"id": "q", "question": "Who sat?", "answers": [{"text": "cat",
            "answer_start": 2}]}]}]}]}"#;
        fs::write(folder.join("s.json"), data).unwrap();
        let run = |line: &str| {
            let mut command = place.command(line);
            command.current_dir(&folder);
            assert_cmd::Command::from_std(command).assert()
        };
        let line = "sweep -m tiny.gguf -t 1 -c 1400 --task squad --data squad=s.json --limit 1 \
                    --layers 2 --out r";
        let output = run(line).success().get_output().clone();
        assert!(!output.stderr.contains(&0x1b), "{name:?}");
        let first = Copy::of(&folder.join("r")).unwrap().dump();
        run(line)
            .success()
            .stderr(contains("3 results were there already"));
        assert!(Copy::of(&folder.join("r")).unwrap().dump() == first);
        for line in ["report r", "export r", "runs ."] {
            run(line).success();
        }
        // The whole path of the folder as an argument.
        let mut command = place.command("sweep -m tiny.gguf -t 1 --limit 2 --layers 2 --out");
        command.arg(folder.join("other"));
        let assert = assert_cmd::Command::from_std(command).assert().success();
        assert!(!assert.get_output().stderr.contains(&0x1b), "{name:?}");
        assert!(folder.join("other/report.html").is_file());
    }
}

#[test]
fn a_cache_whose_name_is_not_utf_8_is_refused_before_anything_is_written() {
    let place = Place::new();
    for variable in ["MIDLAYER_MODELS", "HF_HOME"] {
        let cache = place.0.path().join(OsStr::from_bytes(b"cache\xff"));
        for line in [
            "sweep -m tiny.gguf:q8_0 --limit 2 --layers 2 --out run",
            "try -m tiny.gguf:q8_0 -p x --layers 2",
            "selftest -m tiny.gguf:q8_0",
            "quantize -m tiny.gguf --levels q8_0 --out files",
            "pull smollm2-135m",
        ] {
            let mut command = place.command(line);
            command.env(variable, &cache);
            let assert = assert_cmd::Command::from_std(command).assert();
            one_line_error(2, "is not UTF-8")(assert.stderr(contains(variable)));
            for left in [&cache, &place.path("run"), &place.path("files")] {
                assert!(!left.exists(), "{line}: {}", left.display());
            }
        }
    }
}

#[test]
fn what_a_terminal_would_obey_is_shown_and_not_sent() {
    let place = Place::new();
    let name = "x\x1b]0;title\x07<img src=x onerror=y>|`a`";
    fs::copy(place.model(), place.path(&format!("{name}.gguf"))).unwrap();
    let mut command = place.command("sweep -t 1 --limit 2 --layers 2 --out run -m");
    command.arg(format!("{name}.gguf"));
    let assert = assert_cmd::Command::from_std(command).assert().success();
    let output = assert.get_output();
    for bytes in [&output.stdout, &output.stderr] {
        assert!(!bytes.contains(&0x1b) && !bytes.contains(&7));
    }
    assert!(String::from_utf8_lossy(&output.stderr).contains("x␛]0;title␇"));
    let report = fs::read_to_string(place.path("run/report.md")).unwrap();
    assert!(!report.contains('\x1b') && !report.replace("\\<", "").contains("<img"));
    assert!(
        report.contains(r"x␛\]0;title␇\<img src=x onerror=y\>\|\`a\`"),
        "{report}"
    );
    place
        .run("export run -o md")
        .success()
        .stdout(contains("\x1b").not().and(contains("\\<img")));
    place
        .run("runs run")
        .success()
        .stdout(contains("\x1b").not());
    // For programs it is what it is.
    place
        .run("export run -o csv")
        .success()
        .stdout(contains(name));
}
