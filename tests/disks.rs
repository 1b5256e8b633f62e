//! Full disks and failing ones, real to the program: a tmpfs of a few kilobytes, and a file
//! system on a loop device whose backing file cannot grow, so that the device answers writes
//! with EIO.
//!
//! They are mounted in a mount namespace of the test's own, so that nothing of them is left
//! however the test ends. Where the machine allows no such thing (no Linux, no root and no user
//! namespaces, no loop devices), the test says so on stderr, or fails if `MIDLAYER_REQUIRE` names
//! `disks`.
#![cfg(unix)]

mod common;

use std::io::Write;
use std::path::Path;

use common::namespace::{in_namespace, must, text, works};
use common::place::{Place, one_line_error};
use common::require::{DISKS, PANDAS, is_required};
use common::rows::Copy;
use common::served::{EXACT, Served};
use midlayer::store::DATABASE;

const SWEEP: &str = "sweep -m tiny.gguf -t 1 --task capitals,math --shots 0 --limit 12 \
                     --manipulate random,freeze --layers 2,3 --strategy straightforward";

/// The rows of a run on a good disk.
fn expected(place: &Place) -> Copy {
    place.run(&format!("{SWEEP} --out whole")).success();
    Copy::of(&place.path("whole")).unwrap()
}

/// What a failed run left is sound; items stored so far.
fn left(run: &Path) -> i64 {
    let Some(left) = Copy::of(run) else {
        return 0;
    };
    assert_eq!(left.integrity(), "ok");
    left.items()
}

fn assert_whole(run: &Path, expected: &Copy) {
    let run = Copy::of(run).unwrap();
    assert_eq!((run.doubled(), run.integrity().as_str()), (0, "ok"));
    assert!(run.dump() == expected.dump(), "other rows");
}

/// A cache without room for a requantized copy says so, leaves nothing, and is used later.
#[test]
fn a_full_cache_is_an_error_that_speaks_of_space() {
    const NAME: &str = "a_full_cache_is_an_error_that_speaks_of_space";
    if !in_namespace(NAME, DISKS, tmpfs) {
        return;
    }
    let place = Place::new();
    let disk = place.path("cache");
    std::fs::create_dir(&disk).unwrap();
    let line = "try -m tiny.gguf:q8_0 -p abc --layers 1";
    for kilobytes in [4, 16, 64, 100] {
        let size = format!("size={kilobytes}k");
        must("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", text(&disk)]);
        one_line_error(1, "no space is left in ")(place.run(line));
        let left = walk(&disk).into_iter().filter(|file| {
            let name = file.to_string_lossy().into_owned();
            name.ends_with(".part") || name.ends_with(".gguf")
        });
        assert_eq!(left.count(), 0, "half a copy is left");
        must("mount", &["-o", "remount,size=32m", text(&disk)]);
        place.run(line).success();
        must("umount", &[text(&disk)]);
    }
}

/// The page is served where nothing can be written; what cannot be read without says so, and is
/// read once there is room.
#[test]
fn a_full_disk_is_served_from() {
    const NAME: &str = "a_full_disk_is_served_from";
    if !in_namespace(NAME, DISKS, tmpfs) {
        return;
    }
    let place = Place::new();
    let disks = [(place.path("cache"), "16k"), (place.path("runs"), "8m")];
    for (disk, size) in &disks {
        std::fs::create_dir(disk).unwrap();
        let size = format!("size={size}");
        must("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", text(disk)]);
    }
    let whole = format!("{SWEEP} --no-selftest --out runs/one");
    place.run(&whole).success();
    for (disk, _) in &disks {
        let mut file = std::fs::File::create(disk.join("fill")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }
    let served = Served::of(place, &format!("runs -m tiny.gguf {EXACT}"));
    served.loaded();
    let ask = serde_json::json!({"prompt": "abcdefgh", "manipulate": ["zero"]});
    let whole = || served.tries(&ask).body.ends_with("{\"type\":\"done\"}\n");
    assert!(whole());
    let list = served.get("/v1/runs").lines().remove(0);
    let run = &list["runs"][0];
    let id = run["id"].as_str().unwrap().to_string();
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("space"), "{error}");
    for path in ["", "/items", "/items/0", "/report"] {
        let answer = served.get(&format!("/v1/runs/{id}{path}"));
        assert_eq!(answer.status, 500, "{path}: {}", answer.body);
    }
    assert!(whole());
    std::fs::remove_file(disks[1].0.join("fill")).unwrap();
    let run = served.get(&format!("/v1/runs/{id}"));
    assert_eq!(run.status, 200, "{}", run.body);
    assert!(run.lines()[0]["complete"] == true, "{}", run.body);
}

/// All files below a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Whether a tmpfs can be mounted.
fn tmpfs(way: &[&str]) -> Result<(), String> {
    let script = "mount -t tmpfs tmpfs /mnt";
    let mounts = works("unshare", &[way, &["sh", "-c", script]].concat());
    mounts
        .then_some(())
        .ok_or("tmpfs cannot be mounted".to_string())
}

#[test]
fn a_full_disk_is_an_error_at_any_size_and_the_run_goes_on_later() {
    const NAME: &str = "a_full_disk_is_an_error_at_any_size_and_the_run_goes_on_later";
    if !in_namespace(NAME, DISKS, tmpfs) {
        return;
    }
    let place = Place::new();
    let whole = expected(&place);
    let disk = place.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let run = disk.join("run");
    let line = format!("{SWEEP} --out disk/run");
    let mut partial = 0;
    for kilobytes in [4, 12, 40, 60, 80, 90, 100, 110, 120, 130, 140, 180, 220] {
        let size = format!("size={kilobytes}k");
        must("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", text(&disk)]);
        let assert = place.run(&line);
        if assert.get_output().status.code() != Some(0) {
            one_line_error(1, "(--out)")(assert);
            partial += usize::from((1..whole.items()).contains(&left(&run)));
            // The very same disk, with space.
            must("mount", &["-o", "remount,size=32m", text(&disk)]);
            place.run(&line).success();
        }
        assert_whole(&run, &whole);
        must("umount", &[text(&disk)]);
    }
    assert!(partial > 0, "no disk was full midway");
}

/// Results that are worked on elsewhere stay there when the run's folder has no room for them.
#[test]
fn what_a_full_disk_does_not_take_is_kept_and_named() {
    const NAME: &str = "what_a_full_disk_does_not_take_is_kept_and_named";
    if !in_namespace(NAME, DISKS, tmpfs) {
        return;
    }
    let place = Place::new();
    let whole = expected(&place);
    let (disk, scratch) = (place.path("disk"), place.path("scratch"));
    std::fs::create_dir(&disk).unwrap();
    std::fs::create_dir(&scratch).unwrap();
    let run = disk.join("run");
    let line = format!("{SWEEP} --scratch scratch --out disk/run");
    // Room for what is published at the beginning.
    must(
        "mount",
        &["-t", "tmpfs", "-o", "size=120k", "tmpfs", text(&disk)],
    );
    let assert = place.run(&line);
    let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    one_line_error(1, "the last results are not in disk/run")(assert);
    assert!(said.contains("no space is left"), "{said}");
    assert_eq!(left(&run), 0, "what was published at the beginning");
    let kept = walk(&scratch)
        .into_iter()
        .find(|file| file.ends_with(DATABASE));
    let kept = kept.unwrap();
    assert!(
        said.contains(text(kept.strip_prefix(place.path("")).unwrap())),
        "{said}"
    );
    must("mount", &["-o", "remount,size=32m", text(&disk)]);
    std::fs::copy(&kept, run.join(DATABASE)).unwrap();
    assert_whole(&run, &whole);
    let again = place.run(&line).success();
    let said = String::from_utf8_lossy(&again.get_output().stderr).into_owned();
    assert!(said.contains("results were there already"), "{said}");
    assert_whole(&run, &whole);
    must("umount", &[text(&disk)]);
}

#[test]
fn a_failing_disk_is_an_error_and_the_run_goes_on_later() {
    const NAME: &str = "a_failing_disk_is_an_error_and_the_run_goes_on_later";
    let loops = |way: &[&str]| {
        if !works("mkfs.ext4", &["-V"]) {
            return Err("mkfs.ext4 is not installed".to_string());
        }
        let script = "cd \"$(mktemp -d)\" && truncate -s 8M image && mkfs.ext4 -q image &&
                      mount -o loop image /mnt; end=$?; rm -f image; exit $end";
        let mounts = works("unshare", &[way, &["sh", "-c", script]].concat());
        mounts
            .then_some(())
            .ok_or("loop devices cannot be mounted (root only)".to_string())
    };
    if !in_namespace(NAME, DISKS, loops) {
        return;
    }
    let place = Place::new();
    let whole = expected(&place);
    let (back, disk) = (place.path("back"), place.path("disk"));
    std::fs::create_dir(&back).unwrap();
    std::fs::create_dir(&disk).unwrap();
    let (run, image, ballast) = (disk.join("run"), back.join("image"), back.join("ballast"));
    let line = format!("{SWEEP} --out disk/run");
    let (mut failed, mut partial) = (0, 0);
    for spare in [0, 16, 48, 80, 112, 144, 200, 300] {
        must(
            "mount",
            &["-t", "tmpfs", "-o", "size=16m", "tmpfs", text(&back)],
        );
        must("truncate", &["-s", "12M", text(&image)]);
        must(
            "mkfs.ext4",
            &[
                "-q",
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0",
                text(&image),
            ],
        );
        must("mount", &["-o", "loop", text(&image), text(&disk)]);
        must("sync", &["-f", text(&disk)]);
        // From now on the device can store so many kilobytes more.
        let mut filler = std::fs::File::create(&ballast).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
        let filled = filler.metadata().unwrap().len();
        filler.set_len(filled.saturating_sub(spare << 10)).unwrap();
        drop(filler);
        let assert = place.run(&line);
        let ended = assert.get_output().status.code();
        if ended != Some(0) {
            one_line_error(1, "(--out)")(assert);
            failed += 1;
        }
        // What the disk really holds is what counts, not what memory holds of it.
        must("umount", &[text(&disk)]);
        std::fs::remove_file(&ballast).unwrap();
        must("mount", &["-o", "loop", text(&image), text(&disk)]);
        let stored = left(&run);
        if ended == Some(0) {
            assert_eq!(stored, whole.items(), "what is said to be stored is");
        }
        partial += usize::from((1..whole.items()).contains(&stored));
        place.run(&line).success();
        assert_whole(&run, &whole);
        must("umount", &[text(&disk)]);
        must("umount", &[text(&back)]);
    }
    assert!(
        failed > 1 && partial > 0,
        "failed {failed}, midway {partial}"
    );
}

#[test]
fn what_is_required_is_named() {
    assert!(is_required("disks, pandas", PANDAS));
    assert!(!is_required("pandas", DISKS) && !is_required("", DISKS));
    assert!(std::panic::catch_unwind(|| is_required("disk", DISKS)).is_err());
}
