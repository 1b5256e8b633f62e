//! A GGUF file of an old conversion, which does not say how its tokenizer splits text.

use midlayer::store::StoredRun;
use predicates::prelude::*;
use predicates::str::contains;

use crate::common::place::Place;
use crate::common::rewrite::Pieces;

#[test]
fn it_runs_with_a_notice_that_is_stored_with_the_run() {
    let place = Place::new();
    let old = Pieces::of(&std::fs::read(place.model()).unwrap()).with_bpe();
    std::fs::write(place.path("old.gguf"), old.write()).unwrap();
    let mut new = old.clone();
    new.set_text("tokenizer.ggml.pre", "gpt-2");
    std::fs::write(place.path("new.gguf"), new.write()).unwrap();
    let notice = contains("old does not say how its tokenizer splits text");
    let run = |line: &str| place.run(line).success();
    run("try -m old.gguf -p hello --layers 2").stderr(notice.clone());
    run("try -m new.gguf -p hello --layers 2").stderr(contains("does not say how").not());

    run("sweep -m old.gguf -t 1 --shots 0 --limit 2 --layers 2 --out r").stderr(notice.clone());
    let stored = StoredRun::read(&place.path("r")).unwrap();
    let facts = &stored.variants[0].spec.model.facts;
    assert!(facts.notices().iter().any(|stored| notice.eval(stored)));
    let report = std::fs::read_to_string(place.path("r/report.md")).unwrap();
    assert!(notice.eval(&report), "{report}");
}
