//! Weights that are no numbers: logits are an error that says so, wherever they are met.

use crate::common::gguf::data_of;
use crate::common::place::{Place, recipe};
use midlayer::runtime::Vocabulary;
use predicates::prelude::*;
use predicates::str::contains;

const MESSAGE: &str = "the model's logits are not numbers (NaN)";

/// A place whose model has a weight that is no number, `at` values from a tensor's beginning.
fn poisoned(tensor: &str, at: usize) -> Place {
    let place = Place::new();
    assert_eq!(recipe().vocabulary, Vocabulary::Bytes);
    let mut file = std::fs::read(place.model()).unwrap();
    let start = data_of(&file, tensor) + 4 * at;
    file[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(place.model(), file).unwrap();
    place
}

/// Every prompt leads to NaN.
#[test]
fn a_norm_that_is_no_number_is_told_everywhere() {
    let place = poisoned("blk.2.ffn_norm.weight", 3);
    let clean = |ran: assert_cmd::assert::Assert| {
        let said = contains(MESSAGE).and(contains("panicked").not());
        let none = contains("KL").or(contains("NaN")).or(contains("nan"));
        ran.code(1).stderr(said).stdout(none.not());
    };
    let strategies = ["planned", "straightforward"];
    clean(place.run("try -m tiny.gguf -p hello --manipulate freeze --layers 1"));
    clean(place.run("try -m tiny.gguf -p hello --manipulate freeze --layers 1 --generate 4"));
    clean(place.run("selftest -m tiny.gguf"));
    for strategy in strategies {
        let sweep = format!(
            "sweep --force -m tiny.gguf --task capitals --shots 0 --limit 2 --layers 2 --out {strategy} --strategy {strategy}"
        );
        clean(place.run(&sweep));
    }
}

/// One letter leads to NaN: the sweep says which item has it.
#[test]
fn an_item_whose_prompt_leads_to_no_numbers_is_named() {
    let model = recipe().build().unwrap();
    let z = model
        .tokenize(&midlayer::runtime::Text::markup("Z"))
        .unwrap();
    let z = z.last().unwrap().0 as usize;
    // Rows of the embedding are 64 wide.
    let place = poisoned("token_embd.weight", z * 64);
    let questions: Vec<String> = (0..8)
        .map(|n| {
            let what = if n == 6 { "Z" } else { "y" };
            format!(
                r#"{{"title": "t", "paragraphs": [{{"context": "It is {what}.", "qas": [{{"id": "q{n}", "question": "What?", "answers": [{{"text": "{what}", "answer_start": 6}}]}}]}}]}}"#
            )
        })
        .collect();
    let data = format!(
        r#"{{"version": "1.1", "data": [{}]}}"#,
        questions.join(", ")
    );
    std::fs::write(place.path("d.json"), data).unwrap();
    for strategy in ["planned", "straightforward"] {
        let sweep = format!(
            "sweep --force -m tiny.gguf --task squad --data squad=d.json --shots 0 --limit 8 --manipulate random --layers 2 --out {strategy} --strategy {strategy}"
        );
        let named = contains("squad, item q6, clean: ").and(contains(MESSAGE));
        place.run(&sweep).code(1).stderr(named);
    }
}
