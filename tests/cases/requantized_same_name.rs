//! Models of the same file name, and a file that another one replaces: each has a requantized
//! copy of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use midlayer::models::requantized;
use midlayer::runtime::{Architecture, Level, Synthetic};

use crate::common::place::{Place, json_lines, recipe};
use crate::common::rewrite::Pieces;

/// A folder with `a/model.gguf` and `b/model.gguf`, which are two models.
fn two() -> Place {
    let place = Place::new();
    for (folder, seed) in [("a", 1), ("b", 2)] {
        fs::create_dir(place.path(folder)).unwrap();
        let recipe = Synthetic { seed, ..recipe() };
        let file = place.path(&format!("{folder}/model.gguf"));
        recipe.build().unwrap().save(&file).unwrap();
    }
    place
}

/// What a model answers, in numbers.
fn answers(place: &Place, model: &str) -> Vec<serde_json::Value> {
    let line = format!("try -m {model} -p hello --layers 1 -t 1 -o json");
    let lines = json_lines(place.run(&line));
    lines.iter().map(|line| line["top"].clone()).collect()
}

/// What they answer, each requantized by itself.
fn expected(place: &Place) -> [Vec<serde_json::Value>; 2] {
    ["a", "b"].map(|folder| {
        let line = format!("quantize -m {folder}/model.gguf --levels q8_0 --out levels-{folder}");
        place.run(&line).success();
        answers(
            place,
            &format!("levels-{folder}/model.requantized-q8_0.gguf"),
        )
    })
}

fn copies(cache: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(cache.join("requantized"))
        .into_iter()
        .flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|e| e == "gguf"))
        .collect()
}

#[test]
fn two_files_of_one_name_are_two_models() {
    let place = two();
    let [a, b] = expected(&place);
    assert_ne!(a, b);
    assert_eq!(answers(&place, "a/model.gguf:q8_0"), a);
    assert_eq!(answers(&place, "b/model.gguf:q8_0"), b);
    assert_eq!(copies(&place.path("cache")).len(), 2);
    // Both in one run, they are variants with rows of their own.
    let line =
        "sweep -m a/model.gguf:q8_0,b/model.gguf:q8_0 -t 1 --shots 0 --limit 2 --layers 1 --out r";
    place.run(line).success();
    let run = midlayer::store::StoredRun::read(&place.path("r")).unwrap();
    let [one, other] = &run.variants[..] else {
        panic!("two variants");
    };
    assert_ne!(one.spec.model.sha256, other.spec.model.sha256);
    let numbers = |rows: &[midlayer::store::ResultRow]| {
        rows.iter().map(|row| row.logprob).collect::<Vec<_>>()
    };
    assert_ne!(numbers(&one.rows), numbers(&other.rows));
}

#[test]
fn a_file_that_takes_the_place_of_another_is_another_model() {
    let place = two();
    let [a, b] = expected(&place);
    let model = "a/model.gguf:q8_0";
    assert_eq!(answers(&place, model), a);
    // An older file, moved here.
    let old = SystemTime::now() - Duration::from_secs(1_000_000);
    let moved = place.path("moved.gguf");
    fs::copy(place.path("b/model.gguf"), &moved).unwrap();
    File::options()
        .write(true)
        .open(&moved)
        .unwrap()
        .set_modified(old)
        .unwrap();
    fs::rename(&moved, place.path("a/model.gguf")).unwrap();
    assert_eq!(answers(&place, model), b);
    // The same file written over, as long, and with its old time.
    let bytes = {
        let recipe = Synthetic {
            seed: 1,
            ..recipe()
        };
        recipe.build().unwrap().save(&moved).unwrap();
        fs::read(&moved).unwrap()
    };
    assert_eq!(
        bytes.len() as u64,
        fs::metadata(place.path("a/model.gguf")).unwrap().len()
    );
    fs::write(place.path("a/model.gguf"), bytes).unwrap();
    let file = File::options().write(true).open(place.path("a/model.gguf"));
    file.unwrap().set_modified(old).unwrap();
    assert_eq!(answers(&place, model), a);
}

#[test]
fn a_copy_that_is_not_what_it_should_be_is_made_again() {
    let place = two();
    let cache = place.path("cache");
    let make = |folder: &str| {
        let source = place.path(&format!("{folder}/model.gguf"));
        let mut said = Vec::new();
        let copy = requantized(&cache, &source, Level::Q8_0, &mut |text| {
            said.push(text.to_string())
        });
        (copy.unwrap(), said.len())
    };
    let ((a, made), (b, _)) = (make("a"), make("b"));
    let (whole, other) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
    assert_eq!((made, make("a")), (1, (a.clone(), 0)), "made once");
    let note = |key: &str| {
        let mut pieces = Pieces::of(&whole);
        pieces.set_text(key, "other");
        pieces.write()
    };
    let untouched = Pieces::of(&whole).write();
    for (what, bytes, made) in [
        ("another model's copy", other, 1),
        ("half a copy", whole[..whole.len() / 2].to_vec(), 1),
        ("all but its end", whole[..whole.len() - 64].to_vec(), 1),
        ("nothing", vec![], 1),
        ("of another source", note("midlayer.source_sha256"), 1),
        ("of another level", note("midlayer.level"), 1),
        ("of another version", note("midlayer.quantizer"), 1),
        ("the same", untouched, 0),
    ] {
        fs::write(&a, bytes).unwrap();
        assert_eq!(make("a"), (a.clone(), made), "{what}");
        assert!(fs::read(&a).unwrap() == whole, "{what}");
    }
}

#[test]
fn of_two_makers_one_makes_and_the_other_waits() {
    let place = two();
    let (cache, source) = (place.path("cache"), place.path("a/model.gguf"));
    let (begun, has_begun) = channel();
    let (waits, is_waiting) = channel();
    let (first, second) = std::thread::scope(|scope| {
        let (cache, source) = (&cache, &source);
        let first = scope.spawn(move || {
            // Half-way: the other one is let in, and goes on only when that one waits.
            requantized(cache, source, Level::Q8_0, &mut |text| {
                assert!(text.starts_with("requantizing model to q8_0"), "{text}");
                begun.send(()).unwrap();
                is_waiting.recv_timeout(Duration::from_secs(60)).unwrap();
            })
        });
        has_begun.recv().unwrap();
        let second = requantized(cache, source, Level::Q8_0, &mut |text| {
            assert_eq!(
                text,
                "another midlayer is requantizing model; waiting for it"
            );
            waits.send(()).unwrap();
        });
        (first.join().unwrap().unwrap(), second.unwrap())
    });
    assert_eq!(first, second);
    assert_eq!(copies(&cache), [first]);
}

#[test]
fn what_a_killed_maker_left_blocks_nobody_and_goes() {
    let place = two();
    let (cache, source) = (place.path("cache"), place.path("a/model.gguf"));
    let make = || requantized(&cache, &source, Level::Q8_0, &mut |_| ()).unwrap();
    let copy = make();
    let folder = copy.parent().unwrap();
    let left = folder.join(".midlayer-xyz.part");
    fs::write(&left, "half a file").unwrap();
    assert!(
        folder.join(".lock").is_file(),
        "its lock file stays, and is free"
    );
    // In a folder where somebody makes a copy, nothing is touched.
    let busy = cache.join("requantized/busy");
    fs::create_dir(&busy).unwrap();
    fs::write(busy.join(".midlayer-abc.part"), "half a file").unwrap();
    let lock = File::create(busy.join(".lock")).unwrap();
    lock.lock().unwrap();
    fs::remove_file(&copy).unwrap();
    assert_eq!(make(), copy);
    assert!(!left.exists() && busy.join(".midlayer-abc.part").exists());
    drop(lock);
    make();
    assert!(!busy.join(".midlayer-abc.part").exists());
}

#[test]
fn a_source_that_cannot_be_quantized_leaves_nothing() {
    let place = Place::new();
    let cache = place.path("cache");
    let file = place.path("not.gguf");
    fs::write(&file, "GGUF, but nothing else that is long enough").unwrap();
    requantized(&cache, &file, Level::Q8_0, &mut |_| ()).unwrap_err();
    assert_eq!(copies(&cache), [""; 0].map(PathBuf::from));
    let whole = Synthetic::new(Architecture::Llama).build().unwrap();
    whole.save(&file).unwrap();
    requantized(&cache, &file, Level::Q8_0, &mut |_| ()).unwrap();
    assert_eq!(copies(&cache).len(), 1);
}
