//! The folder of a run: another run's, a bad one, one in use.

use crate::common::place::{Place, one_line_error};

#[test]
fn another_run_in_the_folder_is_refused_with_the_difference() {
    let place = Place::new();
    let line = "sweep -m tiny.gguf -t 1 --shots 1 --limit 2 --layers 1,2 --out a";
    place.run(line).success();
    let refused = |changed: &str, difference: &str| {
        one_line_error(1, difference)(place.run(changed));
    };
    refused(
        &line.replace("1,2", "1,3"),
        "layers: stored [1,2], now [1,3]",
    );
    refused(
        &line.replace("-t 1", "-t 2"),
        "context.threads: stored 1, now 2",
    );
    refused(
        &line.replace("--limit 2", "--limit 3 -ub 64"),
        "context.n_ubatch: stored 512, now 64",
    );
    place.run(line).success();
}

#[test]
fn bad_folders_are_refused() {
    let place = Place::new();
    let line = "sweep -m tiny.gguf --shots 1 --limit 2 --layers 1 --out";
    one_line_error(1, "--out")(place.run(&format!("{line} /dev/null/run")));
    std::fs::create_dir(place.path("notes")).unwrap();
    std::fs::write(place.path("notes/todo.txt"), "mine").unwrap();
    one_line_error(1, "is not empty and holds no run")(place.run(&format!("{line} notes")));
    assert_eq!(std::fs::read_dir(place.path("notes")).unwrap().count(), 1);
    one_line_error(1, "holds no run")(place.run("report notes"));
    // A folder that may not be written to: made read-only, or, for root whom that does not
    // stop, one of the kernel's.
    let folder = place.path("sealed");
    std::fs::create_dir(&folder).unwrap();
    let mut permissions = folder.metadata().unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&folder, permissions).unwrap();
    let sealed = if std::fs::write(folder.join("probe"), "").is_ok() {
        std::fs::remove_file(folder.join("probe")).unwrap();
        "/sys/kernel".to_string()
    } else {
        "sealed/run".to_string()
    };
    let assert = place.run(&format!("{line} {sealed}"));
    one_line_error(1, "--out")(assert);
}

#[test]
fn a_folder_in_use_is_refused() {
    let place = Place::new();
    let line = "sweep -m tiny.gguf -t 1 --shots 1 --limit 2 --layers 1 --out a";
    place.run(line).success();
    let lock = std::fs::File::create(place.path("a/.lock")).unwrap();
    lock.lock().unwrap();
    one_line_error(1, "in use by another midlayer")(place.run(line));
}

#[test]
fn a_sweep_that_cannot_begin_leaves_nothing() {
    let place = Place::new();
    let sweep =
        "sweep -m tiny.gguf --task capitals --manipulate freeze --layers 1 --limit 2 --out run";
    one_line_error(1, "(-c)")(place.run(&format!("{sweep} -c 20")));
    assert!(!place.path("run").exists());
    let data =
        "sweep -m tiny.gguf --task squad --manipulate freeze --data squad=none.json --out run";
    one_line_error(1, "(--data squad=FILE)")(place.run(data));
    assert!(!place.path("run").exists());
}
