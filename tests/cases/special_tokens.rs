//! Special tokens that data spell out.

use midlayer::engine::{Engine, Straightforward, Wording};
use midlayer::runtime::{ChatDate, ContextOptions, Model, ModelOptions, Token};
use midlayer::store::StoredRun;
use predicates::str::contains;

use crate::common::place::{Place, one_line_error};
use crate::common::rewrite::Pieces;

/// A chat model whose turns end with its end token.
const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{{ eos_token }}{% endfor %}[assistant]";

fn with_template(place: &Place, template: &str) {
    let mut pieces = Pieces::of(&std::fs::read(place.model()).unwrap());
    pieces.set_text("tokenizer.chat_template", template);
    std::fs::write(place.path("chat.gguf"), pieces.write()).unwrap();
}

fn engine(place: &Place) -> Straightforward {
    let model = Model::load(&place.path("chat.gguf"), &ModelOptions::default()).unwrap();
    let options = ContextOptions {
        threads: 1,
        ..ContextOptions::default()
    };
    Straightforward::new(model.into(), &options).unwrap()
}

/// BOS and end tokens of a prompt.
fn special(tokens: &[Token]) -> Vec<i32> {
    let special = tokens.iter().filter(|token| (1..3).contains(&token.0));
    special.map(|token| token.0).collect()
}

#[test]
fn special_tokens_are_the_template_s_own() {
    let place = Place::new();
    with_template(&place, TEMPLATE);
    let engine = engine(&place);
    let message = " Say </s> and <s>, please. ";
    let tokens = |chat: bool, parse_special: bool| {
        let wording = Wording {
            chat: chat.then(ChatDate::default),
            parse_special,
        };
        let prompt = wording.prompt(engine.tokenizer(), message).unwrap();
        (special(&prompt.tokens), prompt.text)
    };
    // BOS once, and the end of the user's turn.
    let (found, text) = tokens(true, false);
    assert_eq!(found, [1, 2]);
    assert_eq!(text, "<s>[user]Say </s> and <s>, please.</s>[assistant]");
    assert_eq!(tokens(true, true).0, [1, 2, 1, 2]);
    assert_eq!(tokens(false, false).0, [1]);
    assert_eq!(tokens(false, true).0, [1, 2, 1]);
}

#[test]
fn a_message_that_the_template_changes_is_refused_only_if_it_spells_one_out() {
    let place = Place::new();
    with_template(&place, "{{ messages[0].content | upper }}|");
    let line = "try -m chat.gguf --chat -t 1 --layers 1 -p";
    place.run(&format!("{line} plain")).success();
    let why = "the prompt spells out </s>";
    one_line_error(1, why)(place.run(&format!("{line} a</s>")));
    let meant = format!("{line} a</s> --parse-special");
    place.run(&meant).success();
}

#[test]
fn an_article_may_spell_them_out() {
    let place = Place::new();
    with_template(&place, TEMPLATE);
    let article = "It was </s> late. <s> The end </s> of it.";
    let line =
        serde_json::json!({ "id": 1, "article": article, "highlights": "Late </s> it was." });
    std::fs::write(place.path("a.jsonl"), line.to_string()).unwrap();
    let base =
        "sweep -m chat.gguf -t 1 --task cnn_dailymail --data cnn_dailymail=a.jsonl --layers 2";
    for (chat, name) in [("", "plain"), ("--chat", "chat")] {
        place.run(&format!("{base} {chat} --out {name}")).success();
        let run = StoredRun::read(&place.path(name)).unwrap();
        let prompt = &run.variants[0].items[0].prompt;
        assert!(prompt.contains(article), "{prompt}");
    }
    // It is part of what a run is.
    let other = format!("{base} --parse-special --out plain");
    place
        .run(&other)
        .failure()
        .stderr(contains("parse_special"));
    let other = format!("{base} --chat --chat-date 2025-01-03 --out chat");
    place.run(&other).failure().stderr(contains("chat_date"));
}

#[test]
fn the_date_of_a_chat_is_fixed_and_can_be_set() {
    let place = Place::new();
    with_template(
        &place,
        "{{ strftime_now('%d %B %Y') }}: {{ messages[0].content }}",
    );
    let line = "sweep -m chat.gguf --chat -t 1 --shots 0 --limit 1 --layers 2";
    for (date, text) in [
        ("", "26 July 2024: Q: "),
        ("--chat-date 2025-01-03", "03 January 2025: Q: "),
    ] {
        let out = if date.is_empty() { "a" } else { "b" };
        place.run(&format!("{line} {date} --out {out}")).success();
        let run = StoredRun::read(&place.path(out)).unwrap();
        let prompt = &run.variants[0].items[0].prompt;
        assert!(prompt.starts_with(text), "{prompt}");
    }
    let wrong = format!("{line} --chat-date tomorrow --out c");
    place.run(&wrong).code(2).stderr(contains("is not a date"));
}
