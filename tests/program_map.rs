//! `midlayer map` from outside.

mod common;

use common::place::{Place, json_lines, one_line_error};

const EXACT: &str = "-t 1 -fa off -ctk f32 -ctv f32";

/// The last token's column is what `try` says of the same token, layer by layer.
#[test]
fn a_map_says_what_try_says() {
    let place = Place::new();
    let prompt = format!("-m tiny.gguf -p abcdefgh {EXACT} --answer i -o json");
    let cells = json_lines(place.run(&format!("map {prompt}")));
    let last = cells.iter().map(|c| c["position"].as_u64().unwrap()).max();
    let last = last.unwrap();
    let tried = json_lines(place.run(&format!(
        "try {prompt} --manipulate random --tokens {last}-{last}"
    )));
    let logprob = |line: &serde_json::Value| line["answers"][0]["logprob"].as_f64().unwrap();
    assert_eq!(tried.len(), 5, "clean and four layers");
    for line in &tried[1..] {
        let layer = line["layer"].as_u64().unwrap();
        let mut cells = cells.iter();
        let cell = cells
            .find(|c| c["position"] == last && c["layer"] == layer)
            .unwrap();
        let change = logprob(line) - logprob(&tried[0]);
        assert!(
            (cell["value"].as_f64().unwrap() - change).abs() < 1e-3,
            "{line} {cell}"
        );
        assert_eq!(cell["corrupted"], serde_json::Value::Null);
    }
}

#[test]
fn it_is_shown_and_written() {
    let place = Place::new();
    let line = format!(
        "map -m tiny.gguf -p abcdefgh {EXACT} --answer i --corrupt 2-3 --seed 1,2 --out m.svg --out m.csv"
    );
    let run = place.run(&line).success();
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    assert!(
        text.contains("corrupted") && text.contains("\"c\""),
        "{text}"
    );
    assert!(
        !text.contains('\x1b'),
        "no colours where there is no terminal"
    );
    let svg = std::fs::read_to_string(place.path("m.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("one clean state put back"));
    let rows = std::fs::read_to_string(place.path("m.csv")).unwrap();
    assert!(rows.starts_with("position,token,text,layer,value,clean,corrupted,floor\n"));
}

#[test]
fn wrong_wishes_are_told() {
    let place = Place::new();
    let wrong = |arguments: &str, says: &str| {
        let line = format!("map -m tiny.gguf -p abcdefgh {EXACT} {arguments}");
        one_line_error(2, says)(place.run(&line));
    };
    wrong(
        "--out map.png",
        "a map is written as .svg, .csv or .jsonl (--out)",
    );
    wrong("--manipulate inject", "inject needs --from");
    wrong("--from abc", "--from needs --manipulate inject");
    wrong("--manipulate inject --from abc", "give a donor of as many");
    wrong("--answer i --foil i", "begins as the answer does");
    wrong("--manipulate add", "add needs --direction FILE");
    wrong(
        "--corrupt 2-3 --corrupt-by mean",
        "what corrupts a prompt is given none",
    );
    wrong(
        "--corrupt 90-91",
        "the last token is never manipulated (--corrupt)",
    );
}
