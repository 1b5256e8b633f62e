//! Chat templates of any kind that models' files hold.

use std::path::Path;

use midlayer::runtime::{ChatDate, ChatError, ChatMessage, ChatTemplate, ChatTokens};
use midlayer::store::StoredRun;
use serde_json::{Value, json};

use crate::common::place::{Place, one_line_error};
use crate::common::python::Python;
use crate::common::require::{JINJA2, not_run};
use crate::common::rewrite::Pieces;

/// The tiny model with a template.
fn with_template(place: &Place, key: &str, template: &str) {
    let mut pieces = Pieces::of(&std::fs::read(place.model()).unwrap());
    pieces.set_text(key, template);
    std::fs::write(place.path("chat.gguf"), pieces.write()).unwrap();
}

const TEMPLATE: &str = "tokenizer.chat_template";
const BASE: &str = "sweep -m chat.gguf --chat -t 1 --shots 0 --limit 1 --layers 2 --out r";

fn prompt_of(place: &Place) -> String {
    place.run(BASE).success();
    let stored = StoredRun::read(&place.path("r")).unwrap();
    stored.variants[0].items[0].prompt.clone()
}

#[test]
fn a_default_system_message_is_there() {
    let place = Place::new();
    let template = "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}{{ '<sys>Be brief.</sys>\n' }}{% endif %}{{ '<' + m.role + '>' + m['content'] + '\n' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    with_template(&place, TEMPLATE, template);
    let prompt = prompt_of(&place);
    let question = "<sys>Be brief.</sys>\n<user>Q: What is the capital of ";
    assert!(prompt.starts_with(question), "{prompt}");
    assert!(prompt.ends_with("?\nA:\n<assistant>"), "{prompt}");
}

#[test]
fn a_format_of_its_own_is_rendered() {
    let place = Place::new();
    let template =
        "{% for m in messages %}### {{ m['role'] }}\n{{ m['content'] }}\n{% endfor %}### answer\n";
    with_template(&place, TEMPLATE, template);
    let prompt = prompt_of(&place);
    assert!(prompt.starts_with("### user\nQ: What is"), "{prompt}");
    assert!(prompt.ends_with("?\nA:\n### answer"), "{prompt}");
}

#[test]
fn what_cannot_be_rendered_says_why() {
    let place = Place::new();
    let line = "try -m chat.gguf --chat -t 1 -p hello --layers 1";
    for (template, why) in [
        (
            "{{ raise_exception('Only the system may speak!') }}",
            "Only the system may speak!",
        ),
        ("{% for m in messages %}", "line 1: syntax error"),
        (
            "a\n{{ messages | never_heard_of }}",
            "line 2: unknown filter",
        ),
        ("{{ messages[0].parts.first }}", "undefined value"),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
            "it does not come to an end",
        ),
    ] {
        with_template(&place, TEMPLATE, template);
        one_line_error(1, why)(place.run(line));
    }
    let tiny = line.replace("chat.gguf", "tiny.gguf");
    one_line_error(1, "has no chat template")(place.run(&tiny));
}

#[test]
fn of_several_templates_the_default_is_taken() {
    let place = Place::new();
    let named = format!("{TEMPLATE}.tool_use");
    with_template(&place, &named, "never");
    let line = "try -m chat.gguf --chat -t 1 -p hello --layers 1";
    one_line_error(1, "only tool_use")(place.run(line));
    let mut pieces = Pieces::of(&std::fs::read(place.path("chat.gguf")).unwrap());
    pieces.set_text(TEMPLATE, "{{ messages[0].content }} default");
    std::fs::write(place.path("chat.gguf"), pieces.write()).unwrap();
    let prompt = prompt_of(&place);
    assert!(prompt.ends_with("default"), "{prompt}");
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/templates"))
}

fn recorded() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("recorded.json")).unwrap()).unwrap()
}

/// `scripts/record-templates` wrote what Python's jinja2 makes of the same.
#[test]
fn templates_are_rendered_as_jinja2_renders_them() {
    let recorded = recorded();
    let date: ChatDate = recorded["date"].as_str().unwrap().parse().unwrap();
    let mut compared = 0;
    for (name, expected) in recorded["templates"].as_object().unwrap() {
        let source = std::fs::read_to_string(folder().join(format!("{name}.jinja"))).unwrap();
        let tokens = ChatTokens {
            special: vec![("bos_token", "<s>".into()), ("eos_token", "</s>".into())],
        };
        let template = ChatTemplate::new(&source, tokens, date).unwrap();
        for (conversation, expected) in expected.as_object().unwrap() {
            let messages = recorded["conversations"][conversation].as_array().unwrap();
            let messages: Vec<ChatMessage> = messages
                .iter()
                .map(|m| {
                    ChatMessage::new(m["role"].as_str().unwrap(), m["content"].as_str().unwrap())
                })
                .collect();
            let found = match template.render(&messages) {
                Ok(text) => json!({ "text": text }),
                Err(ChatError::Raised(message)) => json!({ "raised": message }),
                Err(error) => json!({ "failed": error.to_string() }),
            };
            assert_eq!(&found, expected, "{name}, {conversation}");
            compared += 1;
        }
    }
    assert!(compared >= 35 * 7, "{compared}");
}

/// Where Python has jinja2, what was recorded is still what it makes.
#[test]
fn what_was_recorded_is_what_jinja2_makes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/record-templates");
    let python = match Python::with_jinja2() {
        Ok(python) => python,
        Err(why) => return not_run("what_was_recorded_is_what_jinja2_makes", JINJA2, &why),
    };
    let output = python.command().arg(script).arg("--check").output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
}
