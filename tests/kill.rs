//! Runs that are killed at any moment end, once repeated, with the rows of an undisturbed one;
//! and a second process keeps its hands off a run that is being worked on.
#![cfg(unix)]

mod common;

use common::kills::{kill_and_resume, send, spawn, stop_midway};
use common::place::{Place, one_line_error, recipe};
use common::rows::Copy;
use midlayer::runtime::Synthetic;

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
