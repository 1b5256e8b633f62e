//! A file that states another type than its weights have.

use std::fs;

use midlayer::store::StoredRun;
use predicates::prelude::*;
use predicates::str::contains;

use crate::common::place::Place;
use crate::common::rewrite::Pieces;

/// `general.file_type` of Q8_0, and of a mixture that midlayer itself does not make.
const STATED: [(&str, u32); 2] = [("q8_0", 7), ("Q4_K - Small", 14)];

#[test]
fn labels_and_the_reason_go_by_what_it_holds() {
    let place = Place::new();
    place
        .run("quantize -m tiny.gguf --levels q4_1,q8_0 --out .")
        .success();
    let honest = fs::read(place.path("tiny.requantized-q4_1.gguf")).unwrap();
    for (n, (stated, code)) in STATED.iter().enumerate() {
        let mut wrong = Pieces::of(&honest);
        wrong.set_u32("general.file_type", *code);
        fs::write(place.path("wrong.gguf"), wrong.write()).unwrap();
        let line = format!(
            "sweep -m wrong.gguf,tiny.requantized-q8_0.gguf -t 1 --shots 0 --limit 2 --layers 2 --out r{n}"
        );
        let reason = contains("but holds Q4_1 100%").and(contains("general.file_type"));
        let wrong_reason = contains("256").or(contains("k-quant"));
        place
            .run(&line)
            .success()
            .stderr(reason.and(contains(*stated)).and(wrong_reason.not()));
        let run = StoredRun::read(&place.path(&format!("r{n}"))).unwrap();
        let labels: Vec<&str> = run.variants.iter().map(|v| v.label.as_str()).collect();
        assert_eq!(labels, ["q4_1", "q8_0"]);
    }
}

/// A level that the model's widths do not admit is no statement gone wrong.
#[test]
fn widths_are_the_reason_where_they_are() {
    let place = Place::new();
    place
        .run("quantize -m tiny.gguf --levels q2_k --out .")
        .success()
        .stderr(contains("is called q2_k but holds").and(contains("multiples of 256")));
    // Two levels that are nearly the same in bits, which their names hide.
    let line = "sweep -m tiny.gguf:q2_k,tiny.gguf:q5_0 -t 1 --shots 0 --limit 2 --layers 2 --out r";
    let bits = contains("hardly differ");
    place.run(line).success().stderr(bits.clone());
    let apart = "sweep -m tiny.gguf,tiny.gguf:q8_0 -t 1 --shots 0 --limit 2 --layers 2 --out s";
    place.run(apart).success().stderr(bits.not());
}
