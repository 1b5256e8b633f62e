//! Results on file systems whose locks and memory are not one kernel's: a folder reached through
//! sshfs (SFTP, a protocol over a pipe) and through bindfs, and at the same time from below.
//!
//! Needs FUSE, Debian's bindfs, sshfs and openssh-sftp-server; see `common/require.rs` for where
//! they are not there.
#![cfg(target_os = "linux")]

mod common;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use common::kills::{kill_and_resume, send, spawn, stop_midway};
use common::namespace::{in_namespace, must, text, works};
use common::place::{Place, one_line_error};
use common::require::NETWORK_DISKS;
use common::rows::Copy;
use midlayer::store::DATABASE;
use predicates::prelude::*;
use predicates::str::contains;
use rusqlite::types::Value;

const SFTP_SERVERS: [&str; 3] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
];

/// What stands between the program and the folder.
#[derive(Clone, Copy, Debug)]
enum Way {
    Sshfs,
    Bindfs,
}

const WAYS: [Way; 2] = [Way::Sshfs, Way::Bindfs];

impl Way {
    /// Mounts `below` at a folder of the place and gives that folder's name.
    fn mount(self, place: &Place, below: &Path) -> &'static str {
        let name = match self {
            Way::Sshfs => "sshfs",
            Way::Bindfs => "bindfs",
        };
        let at = place.path(name);
        std::fs::create_dir(&at).unwrap();
        match self {
            Way::Bindfs => must("bindfs", &[text(below), text(&at)]),
            Way::Sshfs => {
                let server = SFTP_SERVERS
                    .iter()
                    .find(|server| Path::new(server).exists());
                let command = place.path("connect");
                let script = format!("#!/bin/sh\nexec {}\n", server.unwrap());
                std::fs::write(&command, script).unwrap();
                must("chmod", &["+x", text(&command)]);
                let command = format!("ssh_command={}", text(&command));
                let remote = format!("nowhere:{}", text(below));
                must("sshfs", &["-o", &command, &remote, text(&at)]);
            }
        }
        name
    }
}

fn able(way: &[&str]) -> Result<(), String> {
    for program in ["bindfs", "sshfs"] {
        if !works(program, &["--version"]) {
            return Err(format!("{program} is not installed"));
        }
    }
    if !SFTP_SERVERS.iter().any(|server| Path::new(server).exists()) {
        return Err("no SFTP server is installed (openssh-sftp-server)".into());
    }
    let script = "cd \"$(mktemp -d)\" && mkdir a b && bindfs a b && umount b";
    match works("unshare", &[way, &["sh", "-c", script]].concat()) {
        true => Ok(()),
        false => Err("FUSE file systems cannot be mounted (/dev/fuse)".into()),
    }
}

const SWEEP: &str = "sweep -m tiny.gguf -t 1 --task capitals,math --shots 0 --limit 20 \
                     --manipulate random,inject --layers 2,3 --strategy straightforward";

/// A place with a folder and a way to it: the folder's path, and its name through the way.
fn reached(way: Way) -> (Place, PathBuf, &'static str) {
    let place = Place::new();
    let below = place.path("below");
    std::fs::create_dir(&below).unwrap();
    let name = way.mount(&place, &below);
    (place, below, name)
}

fn umount(place: &Place, name: &str) {
    must("umount", &[text(&place.path(name))]);
}

#[test]
fn killed_sweeps_resume_to_the_same_rows_through_a_network() {
    const NAME: &str = "killed_sweeps_resume_to_the_same_rows_through_a_network";
    if !in_namespace(NAME, NETWORK_DISKS, able) {
        return;
    }
    for (seed, way) in (1..).zip(WAYS) {
        let (place, below, name) = reached(way);
        let sweep = SWEEP.replace("--limit 20", "--limit 8");
        kill_and_resume(&place, &sweep, &format!("{name}/"), 10, seed);
        // Said once, and with a journal that needs no shared memory.
        let assert = place.run(&format!("{sweep} --out {name}/said")).success();
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert_eq!(said.matches("(FUSE)").count(), 1, "{way:?}: {said}");
        let db = rusqlite::Connection::open(below.join("said").join(DATABASE)).unwrap();
        let mode = db.query_row("PRAGMA journal_mode", [], |row| row.get(0));
        assert_eq!(mode, Ok("delete".to_string()), "{way:?}");
        // A run that was begun on a local disk, and killed there, goes on through the network.
        let line = format!("{sweep} --out below/begun");
        let mut child = spawn(&place, &line);
        stop_midway(&mut child, &below.join("begun"));
        child.kill().unwrap();
        child.wait().unwrap();
        place
            .run(&line.replace("below/", &format!("{name}/")))
            .success();
        let begun = Copy::of(&below.join("begun")).unwrap();
        let whole = Copy::of(&place.path("whole")).unwrap();
        assert!(begun.dump() == whole.dump(), "{way:?}");
        umount(&place, name);
    }
}

#[test]
fn a_process_on_another_mount_is_refused_and_reads_without_harm() {
    const NAME: &str = "a_process_on_another_mount_is_refused_and_reads_without_harm";
    if !in_namespace(NAME, NETWORK_DISKS, able) {
        return;
    }
    for way in WAYS {
        let (place, below, name) = reached(way);
        place.run(&format!("{SWEEP} --out whole")).success();
        let whole = Copy::of(&place.path("whole")).unwrap().dump();
        for (first, second) in [(name, "below"), ("below", name)] {
            let folder = format!("by-{first}");
            let run = below.join(&folder);
            let line = format!("{SWEEP} --out {first}/{folder}");
            let mut child = spawn(&place, &line);
            stop_midway(&mut child, &run);
            let before = Copy::of(&run).unwrap().dump();
            for again in [first, second] {
                let line = format!("{SWEEP} --out {again}/{folder}");
                one_line_error(1, "in use by another midlayer")(place.run(&line));
            }
            let bytes = std::fs::read(run.join(DATABASE)).unwrap();
            for reader in [first, second] {
                let read = place.run(&format!("export -o jsonl {reader}/{folder}"));
                let rows = read.success().get_output().stdout.clone();
                assert!(!rows.is_empty());
                place
                    .run(&format!("runs {reader}"))
                    .success()
                    .stdout(contains("of 40"));
            }
            assert!(bytes == std::fs::read(run.join(DATABASE)).unwrap());
            assert!(Copy::of(&run).unwrap().dump() == before);
            send("CONT", &child);
            assert!(child.wait().unwrap().success(), "{way:?} {first}");
            let found = Copy::of(&run).unwrap();
            assert_eq!((found.doubled(), found.integrity().as_str()), (0, "ok"));
            assert!(found.dump() == whole, "{way:?} {first}");
            assert!(!run.join(".in-use").exists(), "{way:?} {first}");
        }
        umount(&place, name);
    }
}

/// Whether it holds a lock of SQLite's on any file: it looks at the version under one.
fn is_locking(child: &Child) -> bool {
    // `1: POSIX  ADVISORY  READ 1234 00:2f:56 1073741826 1073742335`, from PENDING_BYTE on.
    const LOCKS: Range<u64> = 0x4000_0000..0x4000_0200;
    let pid = child.id().to_string();
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|lock| {
        let words: Vec<_> = lock.split_whitespace().collect();
        let first = words.get(6).and_then(|first| first.parse().ok());
        words.get(4) == Some(&&*pid) && first.is_some_and(|first: u64| LOCKS.contains(&first))
    })
}

#[test]
fn what_another_wrote_is_noticed_before_the_next_commit() {
    const NAME: &str = "what_another_wrote_is_noticed_before_the_next_commit";
    if !in_namespace(NAME, NETWORK_DISKS, able) {
        return;
    }
    for way in WAYS {
        let (place, below, name) = reached(way);
        place.run(&format!("{SWEEP} --out whole")).success();
        let whole = Copy::of(&place.path("whole")).unwrap().dump();
        let line = format!("{SWEEP} --out {name}/run");
        let run = below.join("run");
        let mut command = place.command(&line);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        stop_midway(&mut child, &run);
        // Between two commits: a journal that SQLite finds below it would roll back, and what is
        // written after a look at the version and before the commit is not noticed by a writer
        // whose lock is not seen.
        while run.join(format!("{DATABASE}-journal")).exists() || is_locking(&child) {
            send("CONT", &child);
            stop_midway(&mut child, &run);
        }
        // From below, where its locks are not seen.
        let db = rusqlite::Connection::open(run.join(DATABASE)).unwrap();
        db.execute("INSERT INTO meta VALUES ('foreign', 'row')", [])
            .unwrap();
        drop(db);
        let stored = Copy::of(&run).unwrap().items();
        send("CONT", &child);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("another program wrote"), "{way:?}: {said}");
        assert_eq!(Copy::of(&run).unwrap().items(), stored, "{way:?}");
        place.run(&line).success();
        assert!(Copy::of(&run).unwrap().dump() == whole, "{way:?}");
        umount(&place, name);
    }
}

#[test]
fn a_process_of_another_machine_is_left_alone_until_the_user_says_so() {
    const NAME: &str = "a_process_of_another_machine_is_left_alone_until_the_user_says_so";
    if !in_namespace(NAME, NETWORK_DISKS, able) {
        return;
    }
    let (place, below, name) = reached(Way::Sshfs);
    let line = format!("{SWEEP} --out {name}/run");
    let run = below.join("run");
    let mut child = spawn(&place, &line);
    stop_midway(&mut child, &run);
    child.kill().unwrap();
    child.wait().unwrap();
    // As if it had run elsewhere.
    let file = run.join(".in-use");
    let mut left: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    left["boot"] = "another".into();
    left["host"] = "node17".into();
    // One whose silence says nothing.
    left["beats"] = false.into();
    std::fs::write(&file, left.to_string()).unwrap();
    let before = Copy::of(&run).unwrap().dump();
    for through in [name, "below"] {
        let line = format!("{SWEEP} --out {through}/run");
        let refused = one_line_error(1, "on node17");
        refused(
            place
                .run(&line)
                .stderr(contains(".in-use").and(contains("delete"))),
        );
        place.run(&format!("export {through}/run")).success();
    }
    assert!(Copy::of(&run).unwrap().dump() == before);
    std::fs::remove_file(&file).unwrap();
    place.run(&line).success();
    place.run(&format!("{SWEEP} --out whole")).success();
    let whole = Copy::of(&place.path("whole")).unwrap();
    assert!(Copy::of(&run).unwrap().dump() == whole.dump());
    umount(&place, name);
}

/// A finished run that was made through sshfs, what it holds, and the command that made it.
/// sshfs keeps what it was told of a path for twenty seconds, the kernel for one.
fn finished(place: &Place, below: &Path, at: &str) -> (String, PathBuf, Vec<Vec<Value>>) {
    let line = format!("{SWEEP} --out {at}");
    place.run(&line).success();
    let run = below.join(Path::new(at).file_name().unwrap());
    let rows = Copy::of(&run).unwrap().dump();
    (line, run, rows)
}

#[test]
fn a_journal_that_has_just_gone_is_no_error() {
    const NAME: &str = "a_journal_that_has_just_gone_is_no_error";
    if !in_namespace(NAME, NETWORK_DISKS, able) {
        return;
    }
    let (place, below, name) = reached(Way::Sshfs);
    let (line, run, rows) = finished(&place, &below, &format!("{name}/run"));
    let journal = format!("{DATABASE}-journal");
    let mut db = rusqlite::Connection::open(run.join(DATABASE)).unwrap();
    let transaction = db.transaction().unwrap();
    transaction.execute("DELETE FROM results", []).unwrap();
    let seen = place.path(name).join("run").join(&journal);
    assert!(seen.metadata().unwrap().len() > 0);
    transaction.rollback().unwrap();
    assert!(!run.join(&journal).exists());
    // The way to it still says that the journal is there.
    assert!(seen.exists());
    let again = place.run(&line).success();
    again.stderr(contains("were there already"));
    assert!(Copy::of(&run).unwrap().dump() == rows);
    drop(db);
    umount(&place, name);
}

#[test]
fn a_journal_that_was_seen_while_it_was_empty_is_rolled_back() {
    const NAME: &str = "a_journal_that_was_seen_while_it_was_empty_is_rolled_back";
    if !in_namespace(NAME, NETWORK_DISKS, able) {
        return;
    }
    let (place, below, name) = reached(Way::Sshfs);
    // A reader takes the journal along, the next writer rolls it back.
    for reads in [true, false] {
        let at = format!("{name}/run-{reads}");
        let (line, run, rows) = finished(&place, &below, &at);
        let before = leave_unseen_journal(&run, &place.path(&at));
        assert!(before.dump() == rows, "the journal restores all rows");
        if reads {
            let read = place.run(&format!("export -o jsonl {at}")).success();
            let lines = read.get_output().stdout.split(|byte| *byte == b'\n');
            let count = "SELECT count(*) FROM results";
            let stored: i64 = before.db.query_row(count, [], |row| row.get(0)).unwrap();
            assert_eq!(lines.count() as i64, stored + 1);
        } else {
            let again = place.run(&line).success();
            again.stderr(contains("were there already"));
            let found = Copy::of(&run).unwrap();
            assert!(found.dump() == rows && found.integrity() == "ok");
            assert!(!run.join(format!("{DATABASE}-journal")).exists());
        }
    }
    umount(&place, name);
}

/// Leaves part of a transaction in a run's database, as a killed process does, with a journal
/// that was seen through `seen` while it was empty. Gives what the run holds with the journal.
fn leave_unseen_journal(run: &Path, seen: &Path) -> Copy {
    let [database, journal] = ["", "-journal"].map(|suffix| format!("{DATABASE}{suffix}"));
    let mut db = rusqlite::Connection::open(run.join(&database)).unwrap();
    db.pragma_update(None, "cache_size", 2).unwrap();
    let transaction = db.transaction().unwrap();
    transaction.execute("DELETE FROM results", []).unwrap();
    let left = [&database, &journal].map(|file| std::fs::read(run.join(file)).unwrap());
    transaction.rollback().unwrap();
    drop(db);
    std::fs::write(run.join(&journal), "").unwrap();
    let length = || seen.join(&journal).metadata().unwrap().len();
    assert_eq!(length(), 0);
    for (file, bytes) in [&database, &journal].into_iter().zip(&left) {
        std::fs::write(run.join(file), bytes).unwrap();
    }
    assert_eq!(length(), 0, "the way to it does not know");
    Copy::of(run).unwrap()
}
