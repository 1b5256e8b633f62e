//! Files that are replaced or written to while a sweep of several models runs.
#![cfg(unix)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use midlayer::engine::{Engine, Mock};
use midlayer::models::{Held, HeldError, Remember};
use midlayer::runtime::Synthetic;
use midlayer::store::StoredRun;
use midlayer::tasks::TaskError;

use crate::common::kills::stop_midway;
use crate::common::place::{Place, recipe};

/// A folder with the models `a.gguf` and `b.gguf`, another one `c.gguf`, and two data files.
fn place() -> Place {
    let place = Place::new();
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        let recipe = Synthetic { seed, ..recipe() };
        let file = place.path(&format!("{name}.gguf"));
        recipe.build().unwrap().save(&file).unwrap();
    }
    for (file, answer) in [("d.json", "red"), ("e.json", "blue")] {
        let text = format!(
            r#"{{"data":[{{"title":"t","paragraphs":[{{"context":"It is {answer}.","qas":[{{"id":"1","question":"What?","answers":[{{"text":"{answer}","answer_start":6}}]}}]}}]}}]}}"#
        );
        fs::write(place.path(file), text).unwrap();
    }
    place
}

/// A sweep that stands still at the line of stderr that says so.
struct Stopped {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

impl Stopped {
    fn at(place: &Place, arguments: &str, line: &str) -> Self {
        let command = format!("sweep -m a.gguf,b.gguf -t 1 --layers 1-3 --out r {arguments}");
        let mut child = place
            .command(&command)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut read = String::new();
        while !read.ends_with(&format!("{line}\n")) {
            let n = errors.read_line(&mut read).unwrap();
            assert!(n > 0, "ended without {line}: {read}");
        }
        signal(&child, "-STOP");
        Self { child, errors }
    }

    /// Lets it go on to its end: the exit code, and what is said.
    fn ends(mut self) -> (Option<i32>, String) {
        signal(&self.child, "-CONT");
        let mut errors = String::new();
        self.errors.read_to_string(&mut errors).unwrap();
        (self.child.wait().unwrap().code(), errors)
    }

    fn fails_with(self, text: &str) {
        let (code, errors) = self.ends();
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains(text), "{errors} does not say {text}");
    }
}

/// Rows of each of the two variants.
fn rows(place: &Place) -> Vec<usize> {
    if !place.path("r").exists() {
        return vec![0, 0];
    }
    let run = StoredRun::read(&place.path("r")).unwrap();
    run.variants.iter().map(|v| v.rows.len()).collect()
}

const CAPITALS: &str = "--shots 0 --limit 8";

#[test]
fn a_model_replaced_before_its_turn_is_an_error_and_gets_no_rows() {
    let place = place();
    let stopped = Stopped::at(&place, CAPITALS, "(1 of 2)");
    fs::rename(place.path("b.gguf"), place.path("kept.gguf")).unwrap();
    fs::copy(place.path("c.gguf"), place.path("b.gguf")).unwrap();
    stopped.fails_with("b.gguf is another file than at the beginning of the run");
    let stored = rows(&place);
    assert!(stored[0] > 0 && stored[1] == 0, "{stored:?}");
    // Put back, the same command goes on.
    fs::rename(place.path("kept.gguf"), place.path("b.gguf")).unwrap();
    let again = format!("sweep -m a.gguf,b.gguf -t 1 --layers 1-3 --out r {CAPITALS}");
    place.run(&again).success();
    assert_eq!(rows(&place), [stored[0]; 2]);
}

#[test]
fn a_model_written_to_in_its_turn_is_an_error_and_gets_no_rows() {
    let place = place();
    let stopped = Stopped::at(&place, CAPITALS, "(1 of 2)");
    let mut file = File::options()
        .append(true)
        .open(place.path("a.gguf"))
        .unwrap();
    file.write_all(b"more").unwrap();
    drop(file);
    // It stands before it opens the file or after: another file, or written to while in use.
    stopped.fails_with("put the file back");
    assert_eq!(rows(&place), [0, 0]);
}

/// A model is mapped from its file, so what is written to the file is looked for at each commit,
/// long after the model was loaded.
#[test]
fn a_model_written_to_between_two_commits_gets_no_more_rows() {
    let place = place();
    let line = "sweep -m a.gguf -t 1 --no-selftest --shots 0 --limit 30 --layers 2,3 \
                --strategy straightforward --out r";
    let mut command = place.command(line);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    stop_midway(&mut child, &place.path("r"));
    let mut file = File::options()
        .append(true)
        .open(place.path("a.gguf"))
        .unwrap();
    file.write_all(b"more").unwrap();
    drop(file);
    signal(&child, "-CONT");
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let written = "a.gguf was replaced or written to while it was in use";
    assert!(errors.contains(written), "{errors}");
    let run = StoredRun::read(&place.path("r")).unwrap();
    let stored = run.variants[0].items.len();
    assert!((1..30).contains(&stored), "{stored}");
}

/// Data are read before the first model runs, for all of them.
#[test]
fn a_data_file_replaced_between_two_models_changes_no_row() {
    let place = place();
    let arguments = "--task squad --data squad=d.json";
    let stopped = Stopped::at(&place, arguments, "(2 of 2)");
    let stored = rows(&place);
    assert!(stored[0] > 0 && stored[1] == 0, "{stored:?}");
    fs::rename(place.path("e.json"), place.path("d.json")).unwrap();
    let (code, errors) = stopped.ends();
    assert_eq!(code, Some(0), "{errors}");
    let run = StoredRun::read(&place.path("r")).unwrap();
    for variant in &run.variants {
        let prompts: Vec<&str> = variant.items.iter().map(|i| i.prompt.as_str()).collect();
        assert!(!prompts.is_empty() && prompts.iter().all(|p| p.contains("It is red")));
    }
    // What the specification says of the data is held against the file at each reading.
    let task = &run.variants[0].spec.tasks[0];
    let error = task.items(Mock::new(4).tokenizer(), 512, None).unwrap_err();
    let another = matches!(&error, TaskError::Changed(HeldError::Another { .. }));
    assert!(another, "{error}");
    let again = format!("sweep -m a.gguf,b.gguf -t 1 --layers 1-3 --out r {arguments}");
    place.run(&again).code(1);
}

#[test]
fn a_held_file_is_what_was_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, cache) = (folder.path().join("f"), folder.path().join("cache"));
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    let write = |text: &str| {
        fs::write(&path, text).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(old).unwrap();
    };
    let open = || Held::open_in(&path, &cache, Remember::Hash).unwrap();
    let remembered = || {
        let hashes = fs::read_dir(cache.join("hashes")).into_iter().flatten();
        hashes.map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    write("one");
    let one = open();
    let memory = remembered();
    assert_eq!(memory.len(), 1);
    // What is remembered is what is taken, as long as the file is the same.
    let forged = fs::read_to_string(&memory[0])
        .unwrap()
        .replace(one.sha256(), "known");
    fs::write(&memory[0], forged).unwrap();
    assert_eq!(open().sha256(), "known");
    one.check_path().unwrap();
    one.check_contents().unwrap();
    // Written over with as many bytes and the old time.
    write("two");
    assert!(open().sha256() != one.sha256() && open().sha256() != "known");
    assert!(matches!(one.check_path(), Err(HeldError::Changed(_))));
    // Another file in its place: the one that is open is what it was.
    let two = open();
    fs::write(folder.path().join("g"), "three").unwrap();
    fs::rename(folder.path().join("g"), &path).unwrap();
    two.check_contents().unwrap();
    assert!(two.check_path().is_err());
    // One that was written just now is not remembered.
    fs::remove_dir_all(&cache).unwrap();
    open();
    assert_eq!(remembered().len(), 0);
    // Neither a folder nor a device has contents to go by.
    assert!(Held::open_in(folder.path(), &cache, Remember::Hash).is_err());
    assert!(Held::open_in("/dev/zero".as_ref(), &cache, Remember::Hash).is_err());
}
