//! `midlayer attach`, and the plans that it carries out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use midlayer::intervention::{Intervention, PositionSet};
use midlayer::plan::Plan;
use predicates::prelude::*;
use predicates::str::contains;

use super::plugin;
use crate::common::place::Place;

#[test]
fn try_saves_its_plan() {
    let place = Place::new();
    let line = "try -m tiny.gguf -p abcdefgh --manipulate random@1+freeze@2 --seed 5 --tokens skip:2 --save-plan plan.json";
    place.run(line).success();
    let plan = Plan::read(&place.path("plan.json")).unwrap();
    let expected = [
        Intervention::random(1, 5).at(PositionSet::all_but_first(2)),
        Intervention::freeze(2).at(PositionSet::all_but_first(2)),
    ];
    let steps = plan.interventions(Path::new(".")).unwrap();
    assert_eq!(format!("{steps:?}"), format!("{expected:?}"));
    assert_eq!(plan.model.map(|shape| shape.layers), Some(4));
    let line = "try -m tiny.gguf -p abcdefgh --layers 1-2 --save-plan other.json";
    place.run(line).code(2).stderr(contains("--save-plan"));
    assert!(!place.path("other.json").exists());
}

#[test]
fn attach_says_why_not() {
    let place = Place::new();
    let own = env!("CARGO_BIN_EXE_midlayer");
    let check = format!("attach --check -- {own} doctor");
    place
        .run(&check)
        .success()
        .stdout(contains("linked into itself"));
    place
        .run("attach --check -- true")
        .success()
        .stdout(contains("ended without"));
    place
        .run("attach --plan none.json -- true")
        .code(1)
        .stderr(contains("none.json"));
    place
        .run("attach --check -- no-such-program")
        .code(2)
        .stderr(contains("not on the path"));
    let plan = r#"{"midlayer_plan": 1, "interventions": [{"manipulation": "freeze", "layer": 1}]}"#;
    std::fs::write(place.path("plan.json"), plan).unwrap();
    let line = format!("attach --plan plan.json -- {own} doctor");
    place
        .run(&line)
        .code(1)
        .stderr(contains("linked into itself"));
    place
        .run("attach --plan plan.json -- printenv MIDLAYER_PLAN")
        .success()
        .stdout(contains("plan.json"));
}

/// What would keep the plugin from being loaded is said before the program runs.
#[test]
fn attach_refuses_what_the_loader_would_not_find() {
    let place = Place::new();
    let plan = r#"{"midlayer_plan": 1, "interventions": [{"manipulation": "freeze", "layer": 1}]}"#;
    std::fs::write(place.path("plan.json"), plan).unwrap();
    let attach = |arguments: &[&OsStr]| {
        let mut command = place.command("attach");
        command.args(arguments);
        assert_cmd::Command::from_std(command).assert()
    };
    for folder in ["lib dir", "lib:dir"] {
        std::fs::create_dir(place.path(folder)).unwrap();
        let library = place.path(folder).join("libmidlayer_plugin.so");
        std::fs::copy(plugin(), &library).unwrap();
        let arguments = ["--library".as_ref(), library.as_os_str()];
        let rest = ["--plan", "plan.json", "--", "touch", "ran"].map(OsStr::new);
        attach(&[&arguments[..], &rest].concat())
            .code(2)
            .stderr(contains(folder).and(contains("(--library)")));
        assert!(!place.path("ran").exists());
    }
    // Any other byte is none of the loader's.
    let folder = place.0.path().join(OsStr::from_bytes(b"lib\xff"));
    std::fs::create_dir(&folder).unwrap();
    let library = folder.join("libmidlayer_plugin.so");
    std::fs::copy(plugin(), &library).unwrap();
    let plan = folder.join("a plan: one.json");
    std::fs::copy(place.path("plan.json"), &plan).unwrap();
    let line = ["--library", "--plan", "--", "cat", "/proc/self/maps"].map(OsStr::new);
    let arguments = [
        line[0],
        library.as_os_str(),
        line[1],
        plan.as_os_str(),
        line[2],
        line[3],
        line[4],
    ];
    // The map holds the folder's name as it is.
    let maps = attach(&arguments).success().get_output().stdout.clone();
    assert!(String::from_utf8_lossy(&maps).contains("libmidlayer_plugin.so"));
}

#[test]
fn attach_names_what_it_cannot_run_and_waits_no_longer_than_it_is_told() {
    let place = Place::new();
    std::fs::write(place.path("script"), "#!/bin/sh\n").unwrap();
    place
        .run("attach --check -- ./script")
        .code(2)
        .stderr(contains("./script may not be executed"));
    place
        .run("attach --check --seconds 1 -- sleep 1000")
        .success()
        .stdout(contains("in 1 s llama.cpp computed nothing in").and(contains("--seconds")));
    for (step, why) in [
        (r#""layer": 4294967295"#, "layer 4294967295 is out of range"),
        (
            r#""layer": 1, "extent": {"window": 0}"#,
            "a window of 0 layers",
        ),
    ] {
        let step = format!(r#"{{"manipulation": "freeze", {step}}}"#);
        let plan = format!(r#"{{"midlayer_plan": 1, "interventions": [{step}]}}"#);
        std::fs::write(place.path("plan.json"), plan).unwrap();
        place
            .run("attach --plan plan.json -- true")
            .code(1)
            .stderr(contains(why));
    }
}

/// What midlayer sets for its own threads is not the program's.
#[test]
fn attach_leaves_the_program_its_environment() {
    let place = Place::new();
    let plan = r#"{"midlayer_plan": 1, "interventions": [{"manipulation": "freeze", "layer": 1}]}"#;
    std::fs::write(place.path("plan.json"), plan).unwrap();
    let seen = |value: Option<&str>| {
        let mut command = place.command("attach --plan plan.json -- env");
        command.env_remove("GOMP_SPINCOUNT");
        command.env_remove("OMP_WAIT_POLICY");
        command.envs(value.map(|value| ("GOMP_SPINCOUNT", value)));
        let assert = assert_cmd::Command::from_std(command).assert().success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let own = seen(None);
    assert!(own.contains("MIDLAYER_PLAN="), "{own}");
    assert!(!own.contains("SPIN"), "{own}");
    assert!(seen(Some("7")).contains("GOMP_SPINCOUNT=7\n"));
}
