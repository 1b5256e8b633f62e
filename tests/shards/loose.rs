//! Without a scheduler: the lines of `docs/clusters.md`, as they stand there but for the sweep's
//! size: model, tasks, items, manipulations, layers, threads.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::common::place::{PROGRAM, Place};
use super::common::require::{PARALLEL, not_run};
use super::{rows, same};

const MODEL: &str = "smollm2-135m:q8_0";
const TASK: &str = "--task capitals";
const TINY: &str = "-t 1 -m tiny.gguf --task capitals,math --shots 0 --limit 50 --manipulate random,zero --layers 2,3";

/// The lines of the shell that `docs/clusters.md` has under "Without a scheduler".
fn lines() -> Vec<String> {
    let page = std::fs::read_to_string("docs/clusters.md").unwrap();
    let (_, section) = page.split_once("\n## Without a scheduler\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap().trim().to_string());
    blocks.collect()
}

/// Runs a line as a user would, with the program on the path and hosts that are this machine.
fn shell(place: &Place, line: &str) {
    let programs = place.path("programs");
    std::fs::create_dir_all(&programs).unwrap();
    let program = |name: &str, text: &str| {
        let file = programs.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("midlayer", &format!("#!/bin/sh\nexec '{PROGRAM}' \"$@\"\n"));
    // What sshd does with a command: a shell of the user's in the home folder.
    program(
        "ssh",
        "#!/bin/sh\necho \"$1\" >>\"$HOME/hosts\"\nshift\ncd\nexec sh -c \"$*\"\n",
    );
    let path = std::env::var("PATH").unwrap();
    let small = line
        .replace("-t 2 ", "")
        .replace(&format!("-m {MODEL} {TASK}"), TINY);
    assert_ne!(small, line, "the line has another model or task now");
    let output = Command::new("bash")
        .args(["-c", &small])
        .current_dir(place.0.path())
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("HOME", place.path("home"))
        .env("MIDLAYER_MODELS", place.path("cache"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{small}: {errors}");
}

fn place() -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path("home")).unwrap();
    place.run(&format!("sweep {TINY} --out whole")).success();
    place
}

#[test]
fn a_loop_over_hosts_is_the_run() {
    let place = place();
    let line = lines()
        .into_iter()
        .find(|line| line.contains("ssh "))
        .unwrap();
    shell(&place, &line);
    let mut hosts = std::fs::read_to_string(place.path("home/hosts")).unwrap();
    hosts.retain(|c| c != '\n');
    let mut hosts: Vec<char> = hosts.chars().collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ['a', 'b', 'c']);
    let each = (1..=3).map(|n| rows(&place, &format!("runs/levels/shards/{n}-of-3")));
    let each: Vec<usize> = each.collect();
    assert!(each.iter().all(|n| *n > 0), "{each:?}");
    place.run("merge runs/levels").success();
    same(&place.path("runs/levels"), &place.path("whole"));
}

#[test]
fn gnu_parallel_is_the_run() {
    let gnu = Command::new("parallel").arg("--version").output();
    if !gnu.is_ok_and(|output| output.stdout.starts_with(b"GNU parallel")) {
        return not_run(
            "gnu_parallel_is_the_run",
            PARALLEL,
            "GNU parallel is not installed",
        );
    }
    let place = place();
    let line = lines()
        .into_iter()
        .find(|line| line.contains("parallel "))
        .unwrap();
    shell(&place, &line);
    let parts = std::fs::read_dir(place.path("runs/levels/shards")).unwrap();
    assert_eq!(parts.count(), 16);
    same(&place.path("runs/levels"), &place.path("whole"));
}
