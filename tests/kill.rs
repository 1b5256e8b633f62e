//! Runs that are killed at any moment end, once repeated, with the rows of an undisturbed one;
//! and a second process keeps its hands off a run that is being worked on.
#![cfg(unix)]

mod common;

use std::path::PathBuf;
use std::process::Child;

use common::kills::{kill_and_resume, send, spawn, stop_midway};
use common::place::{Place, one_line_error, recipe};
use common::rows::Copy;
use midlayer::runtime::Synthetic;
use midlayer::store::DATABASE;
use predicates::str::contains;

const SWEEP: &str = "-t 1 --task capitals,math --shots 0 --limit 81 --manipulate random,inject \
                     --layers 2,3";

#[test]
fn killed_sweeps_resume_to_the_same_rows() {
    let place = Place::new();
    kill_and_resume(&place, &format!("sweep -m tiny.gguf {SWEEP}"), "", 20, 1);
}

#[test]
fn killed_straightforward_sweeps_resume_to_the_same_rows() {
    let place = Place::new();
    let sweep = format!("sweep -m tiny.gguf {SWEEP} --strategy straightforward");
    kill_and_resume(
        &place,
        &sweep.replace("--limit 81", "--limit 10"),
        "",
        15,
        2,
    );
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
    kill_and_resume(
        &place,
        &sweep.replace("--limit 81", "--limit 41"),
        "",
        15,
        3,
    );
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
    stop_midway(&mut first, &shared);
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

/// The only working folder in a place's scratch folder.
fn working(place: &Place) -> Option<PathBuf> {
    let mut found = std::fs::read_dir(place.path("scratch")).unwrap();
    let folder = found.next()?.unwrap().path();
    assert!(found.next().is_none(), "a second working folder");
    Some(folder)
}

/// Waits until a run that is worked on elsewhere holds more than so many items, and stops it.
fn stop_elsewhere(place: &Place, child: &mut Child, items: i64) -> PathBuf {
    loop {
        let folder = working(place);
        let has_more = |folder: &PathBuf| Copy::of(folder).is_some_and(|run| run.items() > items);
        if let Some(folder) = folder.filter(has_more) {
            stop_midway(child, &folder);
            return folder;
        }
        assert_eq!(child.try_wait().unwrap(), None, "it ended too early");
    }
}

#[test]
fn results_worked_on_elsewhere_are_published_whole() {
    let place = Place::new();
    std::fs::create_dir(place.path("scratch")).unwrap();
    let sweep = format!("sweep -m tiny.gguf {SWEEP} --strategy straightforward");
    let sweep = sweep.replace("--limit 81", "--limit 20");
    place.run(&format!("{sweep} --out whole")).success();
    let whole = Copy::of(&place.path("whole")).unwrap();
    // To its end, in one go.
    let line = format!("{sweep} --scratch scratch --out once");
    let said = place.run(&line).success();
    said.stderr(contains("every 5 minutes and at the end"));
    let files = |run: &str| {
        let files = std::fs::read_dir(place.path(run)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut of_store: Vec<_> = names.filter(|name| name.starts_with(DATABASE)).collect();
        of_store.sort();
        of_store
    };
    assert_eq!(files("once"), [DATABASE]);
    assert!(Copy::of(&place.path("once")).unwrap().dump() == whole.dump());
    assert_eq!(working(&place), None);
    for signal in ["TERM", "KILL"] {
        // Begun without, and killed: its log is taken along.
        let run = format!("cut-{signal}");
        let plain = format!("{sweep} --out {run}");
        let mut child = spawn(&place, &plain);
        stop_midway(&mut child, &place.path(&run));
        child.kill().unwrap();
        child.wait().unwrap();
        let begun = Copy::of(&place.path(&run)).unwrap();
        let line = format!("{plain} --scratch scratch");
        let mut child = spawn(&place, &line);
        let folder = stop_elsewhere(&place, &mut child, begun.items());
        // Others find what was published, and are refused.
        let published = Copy::of(&place.path(&run)).unwrap();
        assert_eq!(published.items(), begun.items());
        one_line_error(1, "in use by another midlayer")(place.run(&plain));
        send(signal, &child);
        send("CONT", &child);
        let code = child.wait().unwrap().code();
        let left = Copy::of(&place.path(&run)).unwrap();
        assert_eq!((left.doubled(), left.integrity().as_str()), (0, "ok"));
        match signal {
            "TERM" => {
                assert_eq!(code, Some(75));
                let items = [begun.items(), left.items(), whole.items()];
                assert!(items[0] < items[1] && items[1] < items[2], "{items:?}");
                assert_eq!(working(&place), None);
            }
            _ => {
                assert_eq!(code, None);
                assert_eq!(left.items(), begun.items(), "what was published");
                std::fs::remove_dir_all(folder).unwrap();
            }
        }
        assert_eq!(files(&run), [DATABASE]);
        place.run(&format!("export -o jsonl {run}")).success();
        // With and without, it goes on to the same rows.
        place
            .run(if code.is_some() { &plain } else { &line })
            .success();
        assert!(Copy::of(&place.path(&run)).unwrap().dump() == whole.dump());
    }
    // A folder for it that is not there.
    let line = line.replace("--scratch scratch", "--scratch nowhere");
    one_line_error(1, "nowhere takes no results")(place.run(&line.replace("once", "new")));
    assert!(!place.path("new").exists());
}
