//! Several models behind one page: each answers as it would alone.

mod common;

use common::place::Place;
use common::served::{EXACT, Served, of_type};
use serde_json::{Value, json};

/// The lines of an answer to one model.
fn lines(served: &Served, path: &str, mut ask: Value, model: Value) -> Vec<Value> {
    ask["model"] = model;
    let answer = served.post(path, &ask.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.lines()
}

#[test]
fn each_model_answers_as_it_would_alone() {
    let served = Served::of(
        Place::with_six_layers(),
        &format!("-m tiny.gguf,six.gguf {EXACT}"),
    );
    let about = served.loaded();
    // Who knows nothing of several reads of the first.
    assert_eq!(
        (&about["model"], &about["layers"]),
        (&json!("tiny.gguf"), &json!(4))
    );
    let of = |n: usize| [&about["models"][n]["name"], &about["models"][n]["layers"]];
    assert_eq!(of(0), [&json!("tiny.gguf"), &json!(4)]);
    assert_eq!(of(1), [&json!("six.gguf"), &json!(6)]);
    assert_eq!(about["models"][1]["cache_type_k"], "f32");
    let ask = json!({"prompt": "abcdefgh", "manipulate": ["zero"], "answer": ["x"]});
    let mut clean = Vec::new();
    for (number, name) in ["tiny.gguf", "six.gguf"].into_iter().enumerate() {
        let of = lines(&served, "/v1/try", ask.clone(), json!(name));
        let by_number = lines(&served, "/v1/try", ask.clone(), json!(number));
        assert_eq!(of, by_number);
        assert!(
            of[0]["command"]
                .as_str()
                .unwrap()
                .contains(&format!("-m {name}"))
        );
        let mut cells = of_type(&of, "cell");
        cells.sort_by_key(|cell| cell["layer"].as_i64());
        assert_eq!(cells, served.printed(&of[0]["command"]));
        assert_eq!(cells[0]["kl"], 0.0, "from its own clean run");
        assert_eq!(of_type(&of, "noise").len(), 1);
        clean.push(cells.swap_remove(0));
        let map = json!({"prompt": "abcd", "lens": true});
        let of = lines(&served, "/v1/map", map, json!(name));
        assert_eq!(of_type(&of, "state"), served.printed(&of[0]["command"]));
        let one = json!({"prompt": "abc", "manipulate": ["zero"], "layers": "2"});
        let of = lines(&served, "/v1/generate", one, json!(name));
        assert!(of[0]["command"].as_str().unwrap().contains(name));
        lines(&served, "/v1/tokens", json!({"prompt": "abc"}), json!(name));
    }
    assert_ne!(clean[0], clean[1]);
    // The first is meant where none is named.
    let first = served.tries(&ask).lines();
    assert_eq!(of_type(&first, "cell")[0], clean[0]);
    for none in [json!("seven.gguf"), json!(2), json!(-1), json!([0])] {
        let answer = served.tries(&json!({"prompt": "abc", "model": none}));
        assert_eq!(answer.status, 400, "{none}: {}", answer.body);
    }
}

#[test]
fn caches_are_compared() {
    let arguments = "-m tiny.gguf -t 1 -fa off --cache-type f32,f16";
    let served = Served::of(Place::new(), arguments);
    let about = served.loaded();
    let models = about["models"].as_array().unwrap();
    let names: Vec<&str> = models.iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["tiny.gguf -ctk f32 -ctv f32", "tiny.gguf -ctk f16 -ctv f16"]
    );
    let ask = json!({"prompt": "abcdefgh", "manipulate": ["zero"]});
    let mut all = Vec::new();
    for name in names {
        let of = lines(&served, "/v1/try", ask.clone(), json!(name));
        let mut cells = of_type(&of, "cell");
        cells.sort_by_key(|cell| cell["layer"].as_i64());
        assert_eq!(cells, served.printed(&of[0]["command"]));
        all.push(cells);
    }
    assert_ne!(all[0], all[1]);
}

#[test]
fn a_model_that_cannot_be_served_leaves_the_others() {
    let place = Place::with_six_layers();
    std::fs::write(place.path("bad.gguf"), "no model").unwrap();
    let served = Served::of(place, &format!("-m tiny.gguf,bad.gguf,six.gguf {EXACT}"));
    let about = served.loaded();
    let states: Vec<&Value> = (0..3).map(|n| &about["models"][n]["state"]).collect();
    assert_eq!(states, ["ready", "failed", "ready"]);
    assert!(
        about["models"][1]["error"]
            .as_str()
            .unwrap()
            .contains("bad.gguf")
    );
    let ask = |model: &str| served.tries(&json!({"prompt": "abc", "model": model}));
    assert_eq!(ask("six.gguf").status, 200);
    let answer = ask("bad.gguf");
    assert_eq!((answer.status, &*answer.code()), (500, "failed"));
    // What is no model's name, or one twice, is known before any is loaded.
    for (models, said) in [
        ("tiny.gguf,nothing", "nothing"),
        ("tiny.gguf,tiny.gguf", "twice"),
    ] {
        let line = format!("serve -m {models} --no-open --port 0");
        let output = served.place.command(&line).output().unwrap();
        assert!(!output.status.success());
        let said_there = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said_there.contains(said), "{said_there}");
    }
}

#[test]
fn plans_and_python_are_those_of_the_question() {
    let served = Served::of(
        Place::with_six_layers(),
        &format!("-m tiny.gguf,six.gguf --device none {EXACT}"),
    );
    served.loaded();
    let inject = json!({"prompt": "it's \"abc\"\n\u{1f999}", "manipulate": ["inject"], "layers": "2",
        "inject_from": "xyz", "inject_at": "b", "answer": [" x"]});
    let stack = json!({"prompt": "abcdef", "manipulate": ["scale:factor=0.25@1+random"], "layers": "3",
        "seed": [4], "tokens": "1-3", "extent": "only"});
    for ask in [inject, stack] {
        let of = lines(&served, "/v1/plan", ask.clone(), json!("six.gguf"));
        let words = shlex::split(of[0]["command"].as_str().unwrap()).unwrap();
        let mut program = served.place.command("");
        program.args(&words[1..]).args(["--save-plan", "plan.json"]);
        assert!(program.output().unwrap().status.success());
        let plan = std::fs::read_to_string(served.place.path("plan.json")).unwrap();
        assert_eq!(of_type(&of, "plan")[0]["text"], plan);
        let python = of[0]["python"].as_str().unwrap();
        for said in [
            "ml.Model(\"six.gguf\", threads=1, flash_attn=\"off\"",
            ", device=\"none\")",
            "m.prompt(\"",
        ] {
            assert!(python.contains(said), "{python}");
        }
        let call = match ask["seed"].is_null() {
            true => r#"ml.inject("2", donor="xyz", at="b"), answers=[" x"])"#,
            false => {
                r#"ml.scale(1, factor=0.25, tokens="1-3", extent="only") + ml.random("3", seed=4, tokens="1-3", extent="only")"#
            }
        };
        assert!(python.contains(call), "{python}");
    }
    let all = json!({"prompt": "abc", "manipulate": ["zero"]}).to_string();
    assert_eq!(served.post("/v1/plan", &all).status, 400);
}

#[test]
fn positions_are_another_model_s() {
    let served = Served::of(
        Place::with_pairs(),
        &format!("-m tiny.gguf,pairs.gguf {EXACT}"),
    );
    served.loaded();
    // Bytes of the first model, and what the second reads of the same text: a space of its own
    // comes first in both.
    for (prompt, tokens, of_pairs) in [
        ("abcdefgh", "4-6", "3-4"),
        ("ab cdef", "1,5", "1-1,4-4"),
        ("ab\u{1f999}cdef", "3-4", "2-3"),
    ] {
        let ask = json!({"prompt": prompt, "manipulate": ["zero"], "tokens": tokens, "tokens_of": "tiny.gguf"});
        let same = lines(&served, "/v1/try", ask.clone(), json!("tiny.gguf"));
        let command = same[0]["command"].as_str().unwrap();
        assert!(command.contains(&format!("--tokens {tokens}")), "{command}");
        let of = lines(&served, "/v1/try", ask.clone(), json!("pairs.gguf"));
        let command = of[0]["command"].as_str().unwrap();
        assert!(
            command.contains(&format!("--tokens {of_pairs}")),
            "{command}"
        );
        let mut cells = of_type(&of, "cell");
        cells.sort_by_key(|cell| cell["layer"].as_i64());
        assert_eq!(cells, served.printed(&of[0]["command"]));
        let texts = |line: &Value| -> String {
            let tokens = line["tokens"].as_array().unwrap().iter();
            let chosen = tokens.filter(|token| token["selected"] == true);
            chosen.map(|t| t["text"].as_str().unwrap()).collect()
        };
        let (theirs, own) = (texts(&same[0]), texts(&of[0]));
        // A byte that is no text by itself is shown as <F0>.
        let readable = theirs.split('<').next().unwrap();
        assert!(own.contains(readable), "{own:?} holds {theirs:?}");
        for path in ["/v1/generate", "/v1/plan"] {
            let mut one = ask.clone();
            one["layers"] = json!("2");
            let of = lines(&served, path, one, json!("pairs.gguf"));
            let command = of[0]["command"].as_str().unwrap();
            assert!(
                command.contains(&format!("--tokens {of_pairs}")),
                "{command}"
            );
        }
    }
    for (tokens, of) in [("99", "tiny.gguf"), ("1", "nothing"), ("x", "tiny.gguf")] {
        let ask = json!({"prompt": "abc", "tokens": tokens, "tokens_of": of, "model": 1});
        let answer = served.tries(&ask);
        assert_eq!(answer.status, 400, "{ask}: {}", answer.body);
    }
}
