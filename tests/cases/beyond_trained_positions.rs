//! Texts longer than the positions of a model's training.

use midlayer::engine::{Engine, Straightforward};
use midlayer::runtime::{Architecture, ContextOptions, Synthetic, Token, Vocabulary};
use midlayer::store::StoredRun;
use predicates::prelude::*;
use predicates::str::contains;

use crate::common::place::{Place, one_line_error, recipe};

const LEARNED: &str = "tokens do not fit the model's 128 positions";

fn learned(place: &Place) {
    let model = Synthetic {
        architecture: Architecture::Gpt2,
        n_ctx: 128,
        ..recipe()
    };
    let path = place.path("gpt2.gguf");
    model.build().unwrap().save(&path).unwrap();
}

#[test]
fn learned_positions_are_a_limit() {
    let place = Place::new();
    learned(&place);
    let long = format!("try -m gpt2.gguf -t 1 --layers 1 -p {}", "a".repeat(150));
    let fits = format!("try -m gpt2.gguf -t 1 --layers 1 -p {}", "a".repeat(120));
    one_line_error(1, LEARNED)(place.run(&long));
    place.run(&fits).success();
    // What follows needs positions, too.
    one_line_error(1, LEARNED)(place.run(&format!("{long} --generate 2")));
    place.run(&format!("{fits} --generate 4")).success();
}

/// How far a text may go is known before its first token: nothing is printed.
#[test]
fn what_is_to_be_generated_must_fit() {
    let place = Place::new();
    learned(&place);
    for (line, length) in [
        ("try -m gpt2.gguf -t 1 --layers 1", 102),
        ("try -m gpt2.gguf -t 1 --layers 1,2", 102),
        ("try -m tiny.gguf -c 32 -t 1 --layers 1", 6),
    ] {
        let line = format!("{line} -p {}", "a".repeat(length));
        let whole = place.run(&format!("{line} --generate 25")).success();
        let output = String::from_utf8(whole.get_output().stdout.clone()).unwrap();
        assert!(!output.is_empty());
        let error = one_line_error(2, "generate at most 25");
        error(place.run(&format!("{line} --generate 26")));
    }
}

#[test]
fn sweeps_keep_to_learned_positions() {
    let place = Place::new();
    learned(&place);
    let article = "A dog ran. ".repeat(60);
    std::fs::write(
        place.path("a.jsonl"),
        format!("{{\"article\": \"{article}\", \"highlights\": \"A dog.\"}}\n"),
    )
    .unwrap();
    let base = "sweep -m gpt2.gguf -t 1 --layers 2 --limit 2";
    // Five examples take more than 128 bytes; none takes fewer.
    let why = "it does not fit the model's 128 positions";
    let none_fits = |task: &str| {
        let run = place.run(&format!("{base} --task {task} --out none"));
        run.code(1).stderr(contains(why));
    };
    none_fits("capitals --shots 5");
    none_fits("squad");
    place.run(&format!("{base} --shots 0 --out fit")).success();
    let stored = StoredRun::read(&place.path("fit")).unwrap();
    assert_eq!(stored.variants[0].items.len(), 2);
    // An article is cut to what the model has, not to -c.
    let cnn = "--task cnn_dailymail --data cnn_dailymail=a.jsonl";
    none_fits("cnn_dailymail --data cnn_dailymail=a.jsonl");
    let model = Synthetic {
        architecture: Architecture::Gpt2,
        n_ctx: 256,
        ..recipe()
    };
    let path = place.path("gpt2.gguf");
    model.build().unwrap().save(&path).unwrap();
    place.run(&format!("{base} {cnn} --out cut")).success();
    let item = &StoredRun::read(&place.path("cut")).unwrap().variants[0].items[0];
    let room = 256 - 100;
    // A token is a byte here, and BOS and a space come first.
    assert!(
        (room - 10..=room - 2).contains(&item.prompt.len()),
        "{}",
        item.prompt.len()
    );
    assert!(item.prompt.starts_with("Article: A dog ran. A dog"));
}

/// The library's own guard, beneath engines.
#[test]
fn no_token_is_decoded_at_a_position_that_there_is_not() {
    let model = Synthetic {
        vocabulary: Vocabulary::None,
        n_ctx: 16,
        ..Synthetic::new(Architecture::Gpt2)
    };
    let options = ContextOptions {
        n_ctx: 64,
        threads: 1,
        ..ContextOptions::default()
    };
    let model = std::sync::Arc::new(model.build().unwrap());
    let mut engine = Straightforward::new(model, &options).unwrap();
    assert_eq!(engine.context().learned_positions(), Some(16));
    let tokens: Vec<Token> = (0..10).map(Token).collect();
    assert!(engine.captured(&tokens, 6, &[]).is_ok());
    let error = engine.captured(&tokens, 7, &[]).unwrap_err().to_string();
    assert!(
        error.contains("17 tokens do not fit the model's 16"),
        "{error}"
    );
}

#[test]
fn a_context_longer_than_the_training_is_noticed_where_positions_are_rotated() {
    let place = Place::new();
    learned(&place);
    let notice = "tiny was trained on 1024";
    let run = |line: &str| place.run(line).success();
    let line = "try -m tiny.gguf -t 1 --layers 1 -p";
    run(&format!("{line} hello -c 2049")).stderr(contains(notice).count(1));
    for quiet in [
        format!("{line} hello"),
        format!("{line} hello --generate 4"),
        "try -m gpt2.gguf -t 1 -c 4096 -p hello --layers 1".into(),
    ] {
        run(&quiet).stderr(contains("was trained on").not());
    }
    // Under the default context a text that is longer than the training's.
    let long = "a".repeat(1030);
    run(&format!("{line} {long}")).stderr(contains(notice).count(1));
    let sweep = "sweep -m tiny.gguf -t 1 --shots 0 --limit 2 --layers 2 --out";
    run(&format!("{sweep} q")).stderr(contains("was trained on").not());
    run(&format!("{sweep} r -c 2049")).stderr(contains(notice).count(1));
    let report = std::fs::read_to_string(place.path("r/report.md")).unwrap();
    assert!(report.contains(notice), "{report}");
}
