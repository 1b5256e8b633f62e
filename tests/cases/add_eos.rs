//! Tokenizers that put an end token behind every text.

use midlayer::runtime::{Model, ModelOptions, Text, Token};
use midlayer::store::StoredRun;
use predicates::prelude::*;
use predicates::str::contains;

use crate::common::place::{Place, json_lines};
use crate::common::rewrite::Pieces;

fn ending(place: &Place) -> Pieces {
    let mut pieces = Pieces::of(&std::fs::read(place.model()).unwrap());
    pieces.set_bool("tokenizer.ggml.add_eos_token", true);
    pieces
}

#[test]
fn a_text_to_be_continued_gets_no_end() {
    let place = Place::new();
    std::fs::write(place.path("ends.gguf"), ending(&place).write()).unwrap();
    let notice = "ends puts </s> behind every text";
    let once = |errors: &[u8]| String::from_utf8_lossy(errors).matches(notice).count() == 1;

    // The same tokens as without the flag, so the same numbers.
    let line = |model: &str| format!("try -m {model} -p hello --layers 2 -o json");
    let ended = place.run(&line("ends.gguf"));
    assert!(once(&ended.get_output().stderr));
    let plain = place.run(&line("tiny.gguf"));
    plain.stderr(contains("behind every text").not());
    assert_eq!(
        json_lines(ended)[0]["top"],
        json_lines(place.run(&line("tiny.gguf")))[0]["top"]
    );

    let sweep = "sweep -m ends.gguf -t 1 --shots 0 --limit 3 --layers 2 --out r";
    let run = place.run(sweep).success();
    assert!(once(&run.get_output().stderr));
    let stored = StoredRun::read(&place.path("r")).unwrap();
    assert_eq!(stored.variants[0].items.len(), 3);
    let notices = stored.variants[0].spec.notices();
    assert!(notices.iter().any(|n| n.contains(notice)), "{notices:?}");
    let report = std::fs::read_to_string(place.path("r/report.md")).unwrap();
    assert!(report.contains("behind every text"), "{report}");
}

/// WordPiece vocabularies have a separator behind every text, whatever the file says.
#[test]
fn a_separator_counts_as_an_end() {
    let place = Place::new();
    let mut pieces = ending(&place);
    pieces.remove("tokenizer.ggml.scores");
    pieces.set_bool("tokenizer.ggml.add_eos_token", false);
    pieces.set_text("tokenizer.ggml.model", "bert");
    let n = 260;
    let mut tokens: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u{2581}hello"]
        .map(String::from)
        .to_vec();
    tokens.extend((tokens.len()..n).map(|i| format!("\u{2581}w{i}")));
    let mut types = vec![1; n];
    types[..4].copy_from_slice(&[3, 2, 3, 3]);
    pieces.set_texts("tokenizer.ggml.tokens", &tokens);
    pieces.set_i32s("tokenizer.ggml.token_type", &types);
    for (name, id) in [("bos", 2), ("cls", 2), ("seperator", 3), ("unknown", 1)] {
        pieces.set_u32(&format!("tokenizer.ggml.{name}_token_id"), id);
    }
    let path = place.path("words.gguf");
    std::fs::write(&path, pieces.write()).unwrap();
    let model = Model::load(&path, &ModelOptions::default()).unwrap();
    let tokens = model.tokenize(&Text::data("hello w10")).unwrap();
    assert_eq!(tokens, [2, 4, 10].map(Token));
    let notice = model.facts().end_notice().unwrap();
    assert!(notice.contains("[SEP]"), "{notice}");
}
