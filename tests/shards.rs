//! Runs in parts: that the parts together are the run, whoever computes them and in whichever
//! order; and that a merge takes in what belongs together, and nothing else.
#![cfg(unix)]

mod common;
#[path = "shards/loose.rs"]
mod loose;

use std::path::Path;

use common::place::{Place, one_line_error};
use common::rows::Copy;
use midlayer::experiment::Drift;
use midlayer::store::StoredRun;
use predicates::prelude::*;
use predicates::str::contains;

/// Two tasks of several groups of items each, with items that `inject` leaves out.
const SWEEP: &str = "sweep -m tiny.gguf -t 1 --task capitals,math --shots 0 --limit 50 \
                     --manipulate random,inject --layers 2,3";

fn rows(place: &Place, run: &str) -> usize {
    place.rows(run).len()
}

fn shard(place: &Place, number: u32, count: u32) {
    place
        .run(&format!("{SWEEP} --out run --shard {number}/{count}"))
        .success()
        .stdout("");
}

/// Every table, and the rows in their order.
fn same(one: &Path, other: &Path) {
    let dump = |run: &Path| Copy::of(run).unwrap().dump();
    assert!(dump(one) == dump(other), "other rows");
    let rows = |run: &Path| {
        let variants = StoredRun::read(run).unwrap().variants.into_iter();
        variants.map(|variant| variant.rows).collect::<Vec<_>>()
    };
    assert!(rows(one) == rows(other), "another order");
    assert_eq!(drift(one), drift(other));
}

/// How far each model's states are from the first one's.
fn drift(run: &Path) -> Vec<Option<Drift>> {
    let variants = StoredRun::read(run).unwrap().variants.into_iter();
    variants.map(|variant| variant.drift).collect()
}

#[test]
fn parts_in_any_order_are_the_run() {
    let place = Place::new();
    place.run(&format!("{SWEEP} --out whole")).success();
    for number in [3, 1, 2] {
        shard(&place, number, 3);
    }
    let each: Vec<usize> = (1..=3)
        .map(|number| rows(&place, &format!("run/shards/{number}-of-3")))
        .collect();
    assert_eq!(each.iter().sum::<usize>(), rows(&place, "whole"));
    assert!(each.iter().all(|n| *n > 0), "{each:?}");
    // Reports and exports read the parts as they lie, and write no run.
    let export = |run: &str| {
        let output = place.run(&format!("export {run} -o jsonl")).success();
        let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        let records = text.lines().map(|line| {
            let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
            for own in ["run", "run_id", "started"] {
                record[own].take();
            }
            record
        });
        records.collect::<Vec<_>>()
    };
    assert_eq!(export("run"), export("whole"));
    place
        .run("report run")
        .success()
        .stdout(contains("INCOMPLETE").not());
    assert!(place.path("run/report.html").exists());
    assert!(!place.path("run/results.sqlite").exists());
    place.run("runs .").success().stdout(contains("run "));
    let of = rows(&place, "whole");
    place
        .run("merge run")
        .success()
        .stdout(contains(format!("{of} of {of} results, {of} of them new")));
    same(&place.path("run"), &place.path("whole"));
    // Once more changes nothing.
    place
        .run("merge run")
        .success()
        .stdout(contains(format!("{of} of {of} results, 0 of them new")));
    same(&place.path("run"), &place.path("whole"));
    // Going on with the whole run finds nothing to do.
    place
        .run(&format!("{SWEEP} --out run"))
        .success()
        .stderr(contains(format!("{of} results were there already")));
    place.run("runs --missing run").success().stdout("");
}

/// The first part compares all models, whichever of them it runs.
#[test]
fn the_first_part_compares_models_on_the_run_s_prompts() {
    let place = Place::new();
    let sweep = format!("{SWEEP} --cache-type f16,f32");
    place.run(&format!("{sweep} --out whole")).success();
    for number in [4, 2, 3, 1] {
        place
            .run(&format!("{sweep} --out run --shard {number}/4"))
            .success();
    }
    place.run("merge run").success();
    same(&place.path("run"), &place.path("whole"));
    assert!(drift(&place.path("run")).iter().all(Option::is_some));
    let second = drift(&place.path("run/shards/2-of-4"));
    assert!(second.iter().all(Option::is_none));
}

#[test]
fn more_parts_than_groups_leave_some_idle() {
    let place = Place::new();
    let sweep = SWEEP.replace("--limit 50", "--limit 2");
    place.run(&format!("{sweep} --out whole")).success();
    for number in 1..=4 {
        place
            .run(&format!("{sweep} --out run --shard {number}/4"))
            .success()
            .stderr(contains("2 of its 4 parts have nothing to do"));
    }
    place.run("runs --missing run").success().stdout("");
    place.run("merge run").success();
    same(&place.path("run"), &place.path("whole"));
}

#[test]
fn several_models_are_divided_too() {
    let place = Place::new();
    let sweep = SWEEP.replace("--limit 50", "--limit 41 --cache-type f16,f32");
    place.run(&format!("{sweep} --out whole")).success();
    for number in [2, 3, 1] {
        place
            .run(&format!("{sweep} --out run --shard {number}/3"))
            .success();
    }
    place.run("merge run").success();
    same(&place.path("run"), &place.path("whole"));
}

#[test]
fn what_is_missing_is_named_and_a_merge_goes_on_later() {
    let place = Place::new();
    place.run(&format!("{SWEEP} --out whole")).success();
    place
        .run("runs --missing whole")
        .failure()
        .stderr(contains("holds no part"));
    shard(&place, 4, 6);
    place
        .run("runs --missing run")
        .success()
        .stdout("--array=1-3,5-6\n");
    place
        .run("merge run")
        .success()
        .stderr(contains("not there of 6 parts: 1-3,5-6"));
    place
        .run("report run")
        .success()
        .stdout(contains("INCOMPLETE"));
    shard(&place, 1, 6);
    // The run that was made is behind its parts, and says so.
    place
        .run("report run")
        .success()
        .stderr(contains("midlayer merge run takes them in"));
    for number in [6, 5, 3, 2] {
        shard(&place, number, 6);
        place.run("merge run").success();
    }
    same(&place.path("run"), &place.path("whole"));
}

#[test]
fn a_part_of_another_run_is_refused_with_the_setting() {
    let place = Place::new();
    shard(&place, 1, 2);
    let begin = |line: &str| {
        place.run(line).success();
    };
    begin(&format!("{SWEEP} --seed 2 --out other --shard 2/2"));
    one_line_error(1, "seeds: stored [1], now [2]")(
        place.run("merge all run/shards/1-of-2 other/shards/2-of-2"),
    );
    assert!(!place.path("all").exists(), "nothing half-made is left");
    place.run("merge all run").success();
    let before = Copy::of(&place.path("all")).unwrap().dump();
    one_line_error(1, "seeds: stored [1], now [2]")(place.run("merge all other"));
    assert!(before == Copy::of(&place.path("all")).unwrap().dump());
    // Other machines compute with other numbers of threads: that is told, and no other run.
    begin(&format!(
        "{} --out run --shard 2/2",
        SWEEP.replace("-t 1", "-t 2")
    ));
    begin("merge run");
    let report = |run: &str| {
        place.run(&format!("report {run}")).success();
        std::fs::read_to_string(place.path(run).join("report.md")).unwrap()
    };
    let text = report("run");
    assert!(text.contains("computed on different machines"), "{text}");
    assert!(
        text.contains("1 thread;") && text.contains("2 threads"),
        "{text}"
    );
    assert!(!report("all").contains("different machines"));
}

#[test]
fn a_result_with_other_numbers_is_refused_and_both_are_shown() {
    let place = Place::new();
    shard(&place, 1, 2);
    shard(&place, 2, 2);
    place.run("merge run").success();
    let before = Copy::of(&place.path("run")).unwrap().dump();
    let part = place.path("run/shards/2-of-2/results.sqlite");
    let db = rusqlite::Connection::open(part).unwrap();
    let changed = "UPDATE results SET logprob = -123.5, rank = rank + 1
                   WHERE (item, cell) = (SELECT max(item), max(cell) FROM results WHERE item = (SELECT max(item) FROM results))";
    assert_eq!(db.execute(changed, []).unwrap(), 1);
    drop(db);
    let error = contains("has logprob -123.5, rank ").and(contains("run has logprob -"));
    let output = place.run("merge run").code(1).stderr(error);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("math, item "), "{text}");
    assert!(before == Copy::of(&place.path("run")).unwrap().dump());
    // Both of them alone are fine.
    place.run("merge alone run/shards/2-of-2").success();
    place.run("merge alone run/shards/1-of-2").success();
}

/// As a loop over machines does it.
#[test]
fn parts_at_the_same_time_are_the_run_and_can_be_merged_meanwhile() {
    let place = Place::new();
    place.run(&format!("{SWEEP} --out whole")).success();
    let mut parts: Vec<_> = (1..=3)
        .map(|n| common::kills::spawn(&place, &format!("{SWEEP} --out run --shard {n}/3")))
        .collect();
    // Whatever there is by then, even a part that is only being begun.
    while parts
        .iter_mut()
        .any(|part| part.try_wait().unwrap().is_none())
    {
        if place.path("run/shards").exists() {
            let merge = place.run("merge run");
            let output = merge.get_output();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let early = said.contains("holds no parts of a run");
            assert!(output.status.success() || early, "{said}");
            place.run("watch --once run");
        }
    }
    for mut part in parts {
        assert!(part.wait().unwrap().success());
    }
    place.run("merge run").success();
    same(&place.path("run"), &place.path("whole"));
    place
        .run("watch run")
        .success()
        .stdout(contains("3 of 3 parts complete"));
}

#[test]
fn a_part_that_is_only_being_begun_has_nothing_yet() {
    let place = Place::new();
    shard(&place, 1, 2);
    let begun = place.path("run/shards/2-of-2");
    std::fs::create_dir(&begun).unwrap();
    std::fs::write(begun.join("results.sqlite"), "").unwrap();
    place.run("merge run").success();
    place
        .run("runs --missing run")
        .success()
        .stdout("--array=2\n");
    place.run("report run").success();
    place
        .run("watch --once run")
        .success()
        .stdout(contains("1 of 2 parts complete"));
    one_line_error(1, "only being begun")(place.run("report run/shards/2-of-2"));
    shard(&place, 2, 2);
    place.run("runs --missing run").success().stdout("");
}

#[test]
fn two_merges_at_once_do_no_harm() {
    let place = Place::new();
    for number in 1..=2 {
        shard(&place, number, 2);
    }
    place.run(&format!("{SWEEP} --out whole")).success();
    let merges: Vec<_> = (0..4)
        .map(|_| common::kills::spawn(&place, "merge run"))
        .collect();
    let codes: Vec<_> = merges
        .into_iter()
        .map(|mut merge| merge.wait().unwrap().code())
        .collect();
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert!(
        codes.iter().all(|code| matches!(code, Some(0 | 1))),
        "{codes:?}"
    );
    same(&place.path("run"), &place.path("whole"));
    let lock = std::fs::File::create(place.path("run/.lock")).unwrap();
    lock.lock().unwrap();
    one_line_error(1, "in use by another midlayer")(place.run("merge run"));
}

#[test]
fn a_part_is_not_computed_twice_and_goes_on_where_it_was_killed() {
    let place = Place::new();
    let sweep = format!("{SWEEP} --strategy straightforward");
    place.run(&format!("{sweep} --out whole")).success();
    let line = format!("{sweep} --out run --shard 1/2");
    let mut first = common::kills::spawn(&place, &line);
    let folder = place.path("run/shards/1-of-2");
    common::kills::stop_midway(&mut first, &folder);
    one_line_error(1, "in use by another midlayer")(place.run(&line));
    // What it has can be merged meanwhile.
    place
        .run("merge run")
        .success()
        .stderr(contains("part 1 of 2 has "));
    place
        .run("runs --missing run")
        .success()
        .stdout("--array=1-2\n")
        .stderr(contains("in use by process"));
    first.kill().unwrap();
    first.wait().unwrap();
    place.run(&line).success();
    place
        .run(&format!("{sweep} --out run --shard 2/2"))
        .success();
    place.run("merge run").success();
    same(&place.path("run"), &place.path("whole"));
}

#[test]
fn what_a_part_cannot_be_is_said() {
    let place = Place::new();
    let refused = |more: &str, says: &str| {
        one_line_error(2, says)(place.run(&format!("{SWEEP} --out run {more}")));
    };
    refused("--shard 1/2 --adaptive", "--adaptive");
    refused("--shard 1/2 --until half-way:0.5", "--until");
    refused("--shard 1/2 --budget 5m", "--budget");
    refused("--shard auto", "--shard K/N");
    assert!(!place.path("run").exists());
    shard(&place, 1, 2);
    one_line_error(1, "--shard K/2")(place.run(&format!("{SWEEP} --out run --shard 1/3")));
    place
        .run(&format!("{SWEEP} --out run --shard 3/2"))
        .code(2)
        .stderr(contains("from 1 to 2"));
    let array = [("SLURM_ARRAY_TASK_ID", "2"), ("SLURM_ARRAY_TASK_MIN", "1")]
        .into_iter()
        .chain([
            ("SLURM_ARRAY_TASK_MAX", "2"),
            ("SLURM_ARRAY_TASK_COUNT", "2"),
        ]);
    let mut command = place.command(&format!("{SWEEP} --out run --shard auto"));
    command.envs(array);
    assert_cmd::Command::from_std(command).assert().success();
    place.run("runs --missing run").success().stdout("");
}
