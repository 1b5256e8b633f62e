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

/// Where the donor has another length, tokens meet those that they are aligned with.
/// In the figure and in the page, those cells are hatched whose values are within the floor that
/// the map names.
#[test]
fn what_rounding_explains_is_hatched() {
    let place = Place::new();
    let mut both = [0, 0];
    for manipulation in ["self", "zero"] {
        let map = format!(
            "map -m tiny.gguf -p abcd {EXACT} --answer e --manipulate {manipulation} --layers 1,2"
        );
        let cells = json_lines(place.run(&format!("{map} -o json")));
        let number = |cell: &serde_json::Value, name: &str| cell[name].as_f64().unwrap();
        let within =
            |cell: &&serde_json::Value| number(cell, "value").abs() <= number(cell, "floor");
        let hatched = cells.iter().filter(within).count();
        place
            .run(&format!("{map} --out m.svg --out m.html"))
            .success();
        let read = |file: &str| std::fs::read_to_string(place.path(file)).unwrap();
        let (svg, page) = (read("m.svg"), read("m.html"));
        assert_eq!(page.matches("data-n=").count(), cells.len());
        assert_eq!(
            svg.matches("<polyline").count(),
            3 * hatched,
            "{manipulation}"
        );
        assert_eq!(svg.contains("hatched: no more than rounding"), hatched > 0);
        assert_eq!(
            page.matches(" hatched\"").count(),
            hatched,
            "{manipulation}"
        );
        both[0] += hatched;
        both[1] += cells.len() - hatched;
    }
    assert!(both.iter().all(|n| *n > 0), "{both:?}");
}

#[test]
fn a_donor_of_another_length_is_aligned() {
    let place = Place::new();
    let map = format!("map -m tiny.gguf -p abcdefgh {EXACT} --answer i -o json --layers 0");
    let number = |row: &serde_json::Value, key: &str| row[key].as_f64().unwrap();
    let of = |rows: &[serde_json::Value], text: &str| {
        let row = rows.iter().find(|row| row["text"] == text);
        row.unwrap_or_else(|| panic!("{text}")).clone()
    };
    let patched = format!("{map} --from");
    let rows = json_lines(place.run(&format!("{patched} abXYdefgh")));
    // What enters layer 0 is the token: that of "c" becomes the donor's "Y".
    let swapped = map.replace("abcdefgh", "abYdefgh");
    let swapped = json_lines(place.run(&format!("{swapped} --manipulate self")));
    let c = of(&rows, "c");
    let expected = number(&swapped[0], "clean") - number(&c, "clean");
    assert!(
        expected.abs() > 0.01 && (number(&c, "value") - expected).abs() < 1e-3,
        "{c}"
    );
    for same in ["a", "b", "d", "g"] {
        assert!(number(&of(&rows, same), "value").abs() < 1e-3, "{same}");
    }
    let run = place.run(&format!("{patched} abdefgh")).success();
    let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(said.contains("left out: 1 (--from)"), "{said}");
    let shorter = json_lines(place.run(&format!("{patched} abdefgh")));
    assert_eq!(shorter.len(), rows.len() - 1);
    assert!(shorter.iter().all(|row| row["text"] != "c"));
}

/// A head's cell is what `try` says of that head at all prior tokens.
#[test]
fn a_map_of_heads_says_what_try_says() {
    let place = Place::new();
    let prompt = format!("-m tiny.gguf -p abcdefgh {EXACT} --answer i");
    let lines = format!("map --heads --manipulate zero {prompt} -o json --out h.svg --out h.csv");
    let cells = json_lines(place.run(&lines));
    assert_eq!(cells.len(), 16, "four heads, four layers");
    let tried = json_lines(place.run(&format!(
        "try {prompt} -o json --manipulate zero --site heads:2 --layers 0-2"
    )));
    let logprob = |line: &serde_json::Value| line["answers"][0]["logprob"].as_f64().unwrap();
    for line in &tried[1..] {
        let mut cells = cells.iter();
        let cell = cells.find(|c| c["head"] == 2 && c["layer"] == line["layer"]);
        let value = cell.unwrap()["value"].as_f64().unwrap();
        let change = logprob(line) - logprob(&tried[0]);
        assert!((value - change).abs() < 1e-3, "{line} {value}");
    }
    assert!(
        cells[3]["value"].is_null(),
        "nothing reads the last layer's"
    );
    let svg = std::fs::read_to_string(place.path("h.svg")).unwrap();
    assert!(svg.contains("head 3") && svg.contains("zero of one head at a time"));
    let rows = std::fs::read_to_string(place.path("h.csv")).unwrap();
    assert!(rows.starts_with("head,layer,value,clean,corrupted,floor\n"));
    let shown = place.run(&format!("map --heads --corrupt 2-3 {prompt}"));
    let shown = String::from_utf8(shown.success().get_output().stdout.clone()).unwrap();
    assert!(
        shown.contains("one clean head put back") && shown.contains("head 3 "),
        "{shown}"
    );
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
        "a map is written as .svg, .html, .csv, .jsonl or .parquet (--out)",
    );
    wrong("--manipulate inject", "inject needs --from");
    wrong(
        "--heads --manipulate skip-attention",
        "attention as a whole",
    );
    wrong(
        "--heads --manipulate add --direction d.gguf",
        "add does not rewrite heads",
    );
    wrong(
        "--from abc --manipulate zero",
        "--from needs --manipulate inject",
    );
    wrong(
        "--steps 24",
        "continues the prompt by 24 tokens, steps 0 to 23 (--steps)",
    );
    wrong(
        "--steps 0 --manipulate inject",
        "which generated tokens do not have (--steps)",
    );
    wrong("--from abc", "give a donor of as many");
    wrong("--answer i --foil i", "begins as the answer does");
    wrong("--answer i --foil", "--foil needs a text");
    wrong("--manipulate add", "add needs --direction FILE");
    wrong(
        "--corrupt 2-3 --corrupt-by mean",
        "what corrupts a prompt is given none",
    );
    wrong(
        "--lens --answer ij",
        "and a state says which one comes next",
    );
    wrong("--lens --layers 4", "out of range");
    wrong(
        "--lens --out lens.png",
        "a map is written as .svg, .html, .csv, .jsonl or .parquet (--out)",
    );
    for other in [
        "--kl",
        "--foil i",
        "--manipulate zero",
        "--corrupt 2-3",
        "--seed 2",
        "--site kv",
        "--heads",
    ] {
        let line = format!("map -m tiny.gguf -p abcdefgh --lens {other}");
        place
            .run(&line)
            .code(2)
            .stderr(predicates::str::contains("cannot be used with"));
    }
    wrong(
        "--corrupt 90-91",
        "the last token is never manipulated (--corrupt)",
    );
}

/// Where a manipulation acts from the first step on, the value of a continuation of one token is
/// what `try` says of it.
#[test]
fn a_map_of_steps_says_what_try_says() {
    let place = Place::new();
    std::fs::write(place.path("scaffold.txt"), "hgfedcba\n").unwrap();
    let splice = "--manipulate splice --scaffold scaffold.txt --site kv --extent from";
    let prompt = format!("-m tiny.gguf -p abcdefgh {EXACT} {splice} -o json");
    let cells = json_lines(place.run(&format!("map {prompt} --steps 0 --generate 1")));
    let tried = json_lines(place.run(&format!("try {prompt} --layers all")));
    let logprob = |line: &serde_json::Value| line["answers"][0]["logprob"].as_f64().unwrap();
    assert_eq!((cells.len(), tried.len()), (4, 5), "clean and four layers");
    for (cell, line) in cells.iter().zip(&tried[1..]) {
        assert_eq!((&cell["step"], &cell["layer"]), (&0.into(), &line["layer"]));
        let change = logprob(line) - logprob(&tried[0]);
        let value = cell["value"].as_f64().unwrap();
        assert!((value - change).abs() < 1e-3, "{line} {cell}");
        assert!(value.abs() > 1e-2, "a scaffold is another text: {cell}");
    }
    let shown =
        format!("map -m tiny.gguf -p abcdefgh {EXACT} --steps 0-4+2 --generate 6 --out m.svg");
    let shown = place.run(&shown).success();
    let text = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.contains('"')).collect();
    assert!(rows.len() == 3 && rows[1].starts_with("2 \""), "{text}");
    let svg = std::fs::read_to_string(place.path("m.svg")).unwrap();
    assert!(svg.contains("random from a step on"));
}

/// What leaves the last layer says what the model says.
#[test]
fn a_lens_ends_with_what_try_says() {
    let place = Place::new();
    let prompt = format!("-m tiny.gguf -p abcdefgh {EXACT} --answer i -o json");
    let states = json_lines(place.run(&format!("map --lens {prompt}")));
    let tried = json_lines(place.run(&format!("try {prompt} --layers 1")));
    let tokens = states.iter().map(|s| s["position"].as_u64().unwrap()).max();
    let last = tokens.unwrap();
    assert_eq!(
        states.len(),
        (last as usize + 1) * 5,
        "four layers and what leaves them"
    );
    let own = states.last().unwrap();
    assert_eq!(
        (own["position"].as_u64(), own["layer"].as_u64()),
        (Some(last), Some(4))
    );
    assert_eq!(own["stays"], true);
    let (clean, answer) = (&tried[0], &tried[0]["answers"][0]);
    let near = |a: &serde_json::Value, b: &serde_json::Value| {
        let apart = a.as_f64().unwrap() - b.as_f64().unwrap();
        assert!(apart.abs() < 1e-3, "{own} {clean}");
    };
    near(&own["answer_logprob"], &answer["logprob"]);
    assert_eq!(own["answer_rank"], answer["rank"]);
    assert_eq!(own["top"].as_array().unwrap().len(), 5);
    let some = format!("map --lens {prompt} --tokens first:2 --layers 1,3");
    let some = json_lines(place.run(&some));
    let place_of = |s: &serde_json::Value| {
        (
            s["position"].as_u64().unwrap(),
            s["layer"].as_u64().unwrap(),
        )
    };
    let found: Vec<_> = some.iter().map(place_of).collect();
    let rows = [0, 1, last];
    let expected: Vec<_> = rows
        .iter()
        .flat_map(|at| [1, 3, 4].map(|l| (*at, l)))
        .collect();
    assert_eq!(found, expected);
    for state in &some {
        let same = states
            .iter()
            .find(|s| place_of(s) == place_of(state))
            .unwrap();
        assert_eq!(same["top"], state["top"]);
    }
}

#[test]
fn a_lens_is_shown_and_written() {
    let place = Place::new();
    let line = format!("map --lens -m tiny.gguf -p abcdefgh {EXACT} --out l.svg --out l.csv");
    let run = place.run(&line).success();
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    assert!(
        text.contains("logit lens") && text.contains("out"),
        "{text}"
    );
    assert!(
        text.contains("from which it stays") && !text.contains('\x1b'),
        "{text}"
    );
    place
        .run(&format!(
            "map --lens -m tiny.gguf -p abcdefgh {EXACT} --out l.html --out l.parquet"
        ))
        .success();
    let page = std::fs::read_to_string(place.path("l.html")).unwrap();
    assert!(
        page.contains("layer out") && page.contains("entropy"),
        "{page}"
    );
    let rows = std::fs::read(place.path("l.parquet")).unwrap();
    assert!(rows.starts_with(b"PAR1") && rows.ends_with(b"PAR1"));
    let svg = std::fs::read_to_string(place.path("l.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("stays from"));
    let rows = std::fs::read_to_string(place.path("l.csv")).unwrap();
    assert!(rows.starts_with(
        "position,token,text,layer,top_token,top_text,top_logprob,stays,entropy,answer_logprob,answer_rank\n"
    ));
    // One token has no prior ones, and is looked at.
    let one = place.run("map --lens -m tiny.gguf -p a --answer b -o json");
    assert!(!json_lines(one).is_empty());
}
