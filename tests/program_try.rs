//! `midlayer try` and `midlayer tokens` from outside.

mod common;

use common::place::{Place, json_lines, one_line_error};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

const EXACT: &str = "-t 1 -fa off -ctk f32 -ctv f32";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The probability of each answer in the clean run and in the last one.
fn chances(place: &Place, prompt: &str, arguments: &str) -> [Vec<f64>; 2] {
    let line = format!("try -m tiny.gguf -p {prompt} {EXACT} --layers 2 -o json {arguments}");
    let lines = json_lines(place.run(&line));
    [&lines[0], &lines[1]].map(|line| {
        let answers = line["answers"].as_array().unwrap();
        answers.iter().map(|a| number(&a["probability"])).collect()
    })
}

#[test]
fn answers_are_followed() {
    let place = Place::new();
    let [clean, frozen] = chances(&place, "abcdefgh", "--answer i --answer xy --answer x");
    // A whole answer's probability is the product over its tokens.
    let [after, _] = chances(&place, "abcdefghx", "--answer y");
    assert!(
        (clean[1] / (clean[2] * after[0]) - 1.0).abs() < 1e-4,
        "{clean:?}"
    );
    assert!(frozen[1] < frozen[2] && frozen.iter().zip(&clean).all(|(a, b)| a != b));
    // Without one, the clean run's likeliest token is followed.
    let line = format!("try -m tiny.gguf -p abcdefgh {EXACT} -o json");
    let lines = json_lines(place.run(&line));
    assert_eq!(
        lines.len(),
        4,
        "clean, and freeze at layers 1 to 3: all is the default"
    );
    let likeliest = &lines[0]["argmax"];
    for line in &lines {
        let answer = &line["answers"][0];
        assert_eq!(answer["tokens"][0]["id"], likeliest["id"]);
        let top = line["top"].as_array().unwrap();
        if let Some(of) = top.iter().find(|t| t["id"] == likeliest["id"]) {
            assert_eq!(of["probability"], answer["probability"]);
        }
        let sum: f64 = top.iter().map(|t| number(&t["probability"])).sum();
        assert!(sum > 0.0 && sum < 1.0 + 1e-9);
    }
    assert_eq!(lines[0]["answers"][0]["rank"], 1);
    assert_eq!(
        lines[0]["answers"][0]["probability"],
        likeliest["probability"]
    );
}

/// The manipulation goes on while an answer's tokens are appended, as in a sweep.
#[test]
fn long_answers_are_the_same_by_both_strategies() {
    use midlayer::engine::{Engine, Request, log_softmax};
    use midlayer::intervention::Intervention;

    let place = Place::new();
    let [_, frozen] = chances(&place, "abcdefgh", "--answer xyz");
    let mut engine = common::engine_of(&place.model(), &common::exact_options());
    let prompt = engine.prompt("abcdefgh").unwrap();
    let answer = engine.prompt("abcdefghxyz").unwrap().tokens[prompt.tokens.len()..].to_vec();
    let request = Request {
        continuations: vec![answer[..2].to_vec()],
        ..Request::new(&prompt).with(Intervention::freeze(2))
    };
    let outcome = engine.run(&request).unwrap();
    let logprobs = (0..3).map(|n| log_softmax(outcome.after(0, n))[answer[n].0 as usize]);
    let expected = logprobs.sum::<f64>().exp();
    assert!(
        (frozen[0] / expected - 1.0).abs() < 1e-3,
        "{frozen:?} {expected}"
    );
}

#[test]
fn every_field_of_json_is_explained() {
    fn keys(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                found.push(key.clone());
                keys(value, found);
            }),
            Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }
    let place = Place::new();
    let check = |line: &str, help: &str| {
        let mut found = Vec::new();
        for line in json_lines(place.run(line)) {
            keys(&line, &mut found);
        }
        let help = place.run(help).success().get_output().stdout.clone();
        let help = String::from_utf8(help).unwrap();
        let fields = help.split("Fields of -o json").nth(1).expect("explained");
        let words: Vec<&str> = fields.split(|c: char| !c.is_alphanumeric()).collect();
        assert!(found.len() > 4);
        for key in found {
            assert!(words.contains(&&*key), "{key} is not explained");
        }
    };
    let line = "try -m tiny.gguf -p abcdefgh --manipulate random --seed 1,2 --answer xy --generate 3 -o json";
    check(line, "try --help");
    check(
        "tokens -m tiny.gguf -p abc --tokens 1 -o json",
        "tokens --help",
    );
}

#[test]
fn lists_keep_to_the_order_and_to_the_terminal() {
    let place = Place::new();
    let answers = "--answer x --answer yz --answer 0 --answer 1 --answer 2";
    let line = format!(
        "try -m tiny.gguf -p abcdefgh --manipulate random,freeze@2,random@1+freeze@3 --seed 1,2 --generate 30 {answers}"
    );
    for columns in [60, 80, 120] {
        let mut command = place.command(&line);
        command.env("COLUMNS", columns.to_string());
        let output = assert_cmd::Command::from_std(command).assert().success();
        let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        for line in text.lines() {
            let width = line.chars().count();
            assert!(width <= columns, "{width} > {columns}: {line}");
        }
        let at = |title: &str| {
            let found = text.lines().position(|line| line.trim() == title);
            found.unwrap_or_else(|| panic!("{title} is missing in\n{text}"))
        };
        let titles = [
            "random, seed 1",
            "random, seed 2",
            "freeze",
            "random@1+freeze@3, seed 1",
        ];
        let places: Vec<usize> = titles.iter().map(|title| at(title)).collect();
        assert!(places.is_sorted(), "{text}");
        assert!(text.contains("2 tokens; % is the product"), "{text}");
    }
}

/// Numbers are numbers, and who asked for all layers has not asked for one where nothing is.
#[test]
fn what_was_written_is_said_in_layers() {
    let place = Place::new();
    let line = "try -m tiny.gguf -p abcdefgh --layers 2";
    let written = contains("l_out-1 to l_out-2 (the states entering layers 2 to 3)");
    place.run(line).success().stdout(written);
    let line = "try -m tiny.gguf -p abcdefgh --manipulate random@1+freeze@3";
    place
        .run(line)
        .success()
        .stdout(contains("random@1+freeze@3, seed 1").and(contains("at 3").not()));
    let defined = contains("left out where it is not defined (layers 0)");
    let all = place.run("try -m tiny.gguf -p abcdefgh").success();
    all.stderr(defined.clone().not());
    let listed = place
        .run("try -m tiny.gguf -p abcdefgh --layers 0-2")
        .success();
    listed.stderr(defined.count(1));
}

#[test]
fn tokens_are_listed() {
    let place = Place::new();
    let mut command = place.command("tokens -m tiny.gguf -o json");
    command.args(["-p", r"a日\n", "--tokens", "text:日"]);
    let lines = json_lines(assert_cmd::Command::from_std(command).assert());
    let texts: Vec<&str> = lines.iter().map(|l| l["text"].as_str().unwrap()).collect();
    // The tokenizer of the tiny model is one of bytes, with tokens of its own before them.
    assert!(
        texts.ends_with(&["a", "<E6>", "<97>", "<A5>", "\n"]),
        "{texts:?}"
    );
    let positions: Vec<u64> = lines
        .iter()
        .map(|l| l["position"].as_u64().unwrap())
        .collect();
    assert_eq!(positions, (0..lines.len() as u64).collect::<Vec<_>>());
    let selected: Vec<bool> = lines.iter().map(|l| l["selected"] == true).collect();
    assert!(
        selected.ends_with(&[false, true, true, true, false]),
        "{selected:?}"
    );
    let prior = lines.iter().filter(|l| l["prior"] == true).count();
    assert_eq!(
        (prior, &lines[prior]["prior"]),
        (lines.len() - 1, &Value::Bool(false))
    );
    let mut command = place.command("tokens -m tiny.gguf --tokens 0 -p");
    command.arg(r"a日\n");
    let text = contains("\"<E6>\"")
        .and(contains(r#""\n""#))
        .and(contains("last"));
    assert_cmd::Command::from_std(command)
        .assert()
        .success()
        .stdout(text);
    one_line_error(2, "not a prior token")(place.run("tokens -m tiny.gguf -p ab --tokens 9"));
}

#[test]
fn misspelt_commands_get_a_suggestion() {
    let place = Place::new();
    for (typed, meant) in [("tyr", "try"), ("seep", "sweep"), ("rnus", "runs")] {
        let suggestion = contains(format!("'{meant}'"));
        place.run(typed).code(2).stderr(suggestion);
    }
    place
        .run("xylophone")
        .code(2)
        .stderr(contains("similar").not());
}

/// All layers are asked for by default, those without attention included.
#[test]
fn layers_without_a_place_are_left_out_unless_they_are_named() {
    use midlayer::runtime::{Architecture, Synthetic};

    let place = Place::new();
    let layers =
        |a: &Architecture| -> Vec<u32> { (0..4).filter(|l| a.has_attention(*l)).collect() };
    let mut hybrids = Architecture::ALL.iter().filter(|a| a.is_recurrent());
    let architecture = hybrids.find(|a| (1..4).contains(&layers(a).len())).unwrap();
    let recipe = Synthetic {
        architecture: *architecture,
        ..common::place::recipe()
    };
    let model = recipe.build().unwrap();
    model.save(&place.path("hybrid.gguf")).unwrap();
    let skip = "try -m hybrid.gguf -p abcdefgh --manipulate skip-attention -o json";
    let assert = place.run(skip).success();
    let errors = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(
        errors.contains("skip-attention is left out where it has no place"),
        "{errors}"
    );
    let shown: Vec<u32> = json_lines(assert)[1..]
        .iter()
        .map(|line| line["layer"].as_u64().unwrap() as u32)
        .collect();
    assert_eq!(shown, layers(architecture));
    let without = (0..4).find(|layer| !shown.contains(layer)).unwrap();
    let named = place.run(&format!("{skip} --layers {without}")).failure();
    named.stderr(contains("attention"));
}

#[test]
fn devices_that_are_not_there_are_named() {
    let place = Place::new();
    one_line_error(1, "there is no device CUDA7; there are: none (--device)")(
        place.run("try -m tiny.gguf -p a --device CUDA7"),
    );
    place
        .run("try -m tiny.gguf -p a --layers 2 -dev none")
        .success();
    #[cfg(not(feature = "rpc"))]
    one_line_error(1, "build it with the feature rpc (--rpc)")(
        place.run("try -m tiny.gguf -p a --rpc 127.0.0.1:9"),
    );
}
