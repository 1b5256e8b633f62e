//! Models in several files: what they are is in all of them.

use std::fs;
use std::path::Path;

use midlayer::models::{ModelFiles, Remember};
use midlayer::runtime::Synthetic;
use midlayer::store::StoredRun;
use predicates::str::contains;

use crate::common::place::{Place, json_lines, one_line_error, recipe};
use crate::common::rewrite::Pieces;

/// Writes a model in parts, with so many tensors in the first ones; returns their names.
fn split(model: &Pieces, first: &[usize], folder: &Path) -> Vec<String> {
    fs::create_dir_all(folder).unwrap();
    let parts = model.split(first);
    let names = (1..=parts.len()).map(|n| format!("model-{n:05}-of-{:05}.gguf", parts.len()));
    let names: Vec<String> = names.collect();
    for (part, name) in parts.iter().zip(&names) {
        fs::write(folder.join(name), part.write()).unwrap();
    }
    names
}

fn model(place: &Place, seed: u64) -> Pieces {
    let file = place.path("seed.gguf");
    let recipe = Synthetic { seed, ..recipe() };
    recipe.build().unwrap().save(&file).unwrap();
    Pieces::of(&fs::read(file).unwrap())
}

fn answers(place: &Place, model: &str) -> Vec<serde_json::Value> {
    let line = format!("try -m {model} -p hello --layers 1 -t 1 -o json");
    let lines = json_lines(place.run(&line));
    lines.iter().map(|line| line["top"].clone()).collect()
}

#[test]
fn two_models_that_share_their_first_part_are_two() {
    let place = Place::new();
    let (a, b) = (model(&place, 1), model(&place, 2));
    let names = split(&a, &[9], &place.path("a"));
    split(&b, &[9], &place.path("b"));
    fs::copy(
        place.path("a").join(&names[0]),
        place.path("b").join(&names[0]),
    )
    .unwrap();
    let line = |folder: &str| {
        format!(
            "sweep -m {folder}/{} -t 1 --shots 0 --limit 2 --layers 2 --out x",
            names[0]
        )
    };
    place.run(&line("a")).success();
    one_line_error(1, "x holds another run: model.")(place.run(&line("b")));
    place
        .run(&line("a"))
        .success()
        .stderr(contains("there already"));
    let stored = StoredRun::read(&place.path("x")).unwrap();
    let model = &stored.variants[0].spec.model;
    assert_eq!((model.parts.len(), model.facts.name.as_str()), (2, "model"));
    assert!(model.facts.weights.types.values().sum::<u64>() > 0);
    // Requantized too.
    let level = |folder: &str| answers(&place, &format!("{folder}/{}:q8_0", names[0]));
    assert_ne!(level("a"), level("b"));
}

#[test]
fn parts_give_what_the_whole_gives_also_when_the_first_holds_no_weights() {
    let place = Place::new();
    let whole = Pieces::of(&fs::read(place.model()).unwrap());
    for (n, first) in [vec![5], vec![0], vec![0, 7, 3]].iter().enumerate() {
        let folder = format!("parts-{n}");
        let names = split(&whole, first, &place.path(&folder));
        let part = format!("{folder}/{}", names[0]);
        assert_eq!(answers(&place, &part), answers(&place, "tiny.gguf"));
        let level = |model: &str| answers(&place, &format!("{model}:q8_0"));
        assert_eq!(level(&part), level("tiny.gguf"));
    }
}

#[test]
fn what_a_model_in_parts_lacks_is_said() {
    let place = Place::new();
    let whole = Pieces::of(&fs::read(place.model()).unwrap());
    let names = split(&whole, &[0, 5], &place.path("m"));
    let run = |model: &str| place.run(&format!("try -m m/{model} -p ab --layers 1"));
    one_line_error(1, "give the first of them, m/model-00001-of-00003.gguf")(run(&names[1]));
    fs::rename(
        place.path("m/model-00001-of-00003.gguf"),
        place.path("m/first.gguf"),
    )
    .unwrap();
    one_line_error(1, "must end in -00001-of-00003.gguf")(run("first.gguf"));
    fs::rename(
        place.path("m/first.gguf"),
        place.path("m/model-00001-of-00003.gguf"),
    )
    .unwrap();
    fs::remove_file(place.path("m/model-00003-of-00003.gguf")).unwrap();
    one_line_error(1, "m/model-00003-of-00003.gguf is not there")(run(&names[0]));
    // No weights and no other parts is a vocabulary still.
    let vocabulary = Pieces {
        tensors: vec![],
        ..whole
    };
    fs::write(place.path("m/vocabulary.gguf"), vocabulary.write()).unwrap();
    one_line_error(1, "a vocabulary only")(run("vocabulary.gguf"));
}

/// The stamp that a model loads is of all its parts: a damaged one is tried apart again.
#[test]
fn a_damaged_part_is_noticed_after_the_whole_has_loaded() {
    let place = Place::new();
    let whole = Pieces::of(&fs::read(place.model()).unwrap());
    let names = split(&whole, &[5], &place.path("m"));
    let line = format!("try -m m/{} -p ab --layers 1", names[0]);
    let stamps = || fs::read_dir(place.path("cache/checked")).unwrap().count();
    place.run(&line).success();
    place.run(&line).success();
    assert_eq!(stamps(), 1);
    let second = place.path("m").join(&names[1]);
    let bytes = fs::read(&second).unwrap();
    fs::write(&second, &bytes[..bytes.len() - 4096]).unwrap();
    place.run(&line).code(1);
    fs::write(&second, &bytes).unwrap();
    place.run(&line).success();
    assert_eq!(stamps(), 1);
}

#[test]
fn the_hash_of_a_model_in_parts_is_that_of_its_parts_hashes() {
    let place = Place::new();
    let whole = Pieces::of(&fs::read(place.model()).unwrap());
    let names = split(&whole, &[5], &place.path("m"));
    let files = ModelFiles::open_in(
        &place.path("m").join(&names[0]),
        &place.path("cache"),
        Remember::Hash,
    )
    .unwrap();
    let lines: String = names
        .iter()
        .map(|name| {
            crate::hub_server::sha256(&fs::read(place.path("m").join(name)).unwrap()) + "\n"
        })
        .collect();
    assert_eq!(files.sha256(), crate::hub_server::sha256(lines.as_bytes()));
    assert_eq!(files.parts().join("\n") + "\n", lines);
    let one = ModelFiles::open_in(&place.model(), &place.path("cache"), Remember::Hash).unwrap();
    assert_eq!(
        one.sha256(),
        crate::hub_server::sha256(&fs::read(place.model()).unwrap())
    );
    assert!(one.parts().is_empty());
}
