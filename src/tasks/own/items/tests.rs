use super::*;
use crate::engine::{Engine, Mock, Wording};
use crate::tasks::{DataSource, TaskName};

fn set(lines: &str, toml: &str) -> ItemSet {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.jsonl");
    std::fs::write(&path, lines).unwrap();
    std::fs::write(path.with_extension("toml"), toml).unwrap();
    let own = Definition::beside(&path).unwrap();
    let spec = TaskSpec {
        task: TaskName::new("mine").unwrap(),
        version: 1,
        limit: 100,
        shots: own.shots,
        chat: false,
        chat_date: None,
        parse_special: false,
        data: Some(DataSource {
            path: Some(path),
            sha256: None,
        }),
        math_max: None,
        math_seed: None,
        own: Some(own),
    };
    let engine = Mock::new(4);
    spec.items(engine.tokenizer(), 4096, None).unwrap()
}

const THREE: &str = r#"{"id": "a", "question": "the capital of France is", "answer": "Paris", "subject": "France"}
{"id": "b", "question": "the capital of Italy is", "answer": ["Rome", "Roma"], "subject": "Italy"}
{"id": "c", "question": "the capital of Peru is", "answer": "Lima", "subject": "Chile"}
"#;

#[test]
fn templates_are_filled() {
    let value = |key: &str| match key {
        "q" => Ok("x{y}".to_string()),
        _ => Err(format!("no {key}")),
    };
    assert_eq!(fill("{{{q}}} {q}", value), Ok("{x{y}} x{y}".into()));
    assert_eq!(fill("{a}", value), Err("no a".into()));
    assert!(fill("{q", value).is_err() && fill("q}", value).is_err());
    assert!(check_template("plain").is_err() && check_template("{q}").is_ok());
}

#[test]
fn shown_records_are_not_asked_and_donors_are_found() {
    let set = set(THREE, "template = \"{question}\"\nshots = 1");
    let ids: Vec<_> = set.items.iter().map(|i| &*i.id).collect();
    assert_eq!(ids, ["b", "c"]);
    let first = &set.items[0];
    let shown = "the capital of France is Paris\nthe capital of Italy is";
    assert_eq!(first.prompt.text, shown);
    // c's subject is not in its prompt, so it can neither be swapped nor be a donor's.
    let reasons: Vec<_> = set.without_swap.iter().map(|(id, _)| &**id).collect();
    assert!(reasons.contains(&"c"), "{reasons:?}");
}

#[test]
fn a_swap_moves_the_subject_s_tokens_alone() {
    let set = set(THREE, "template = \"{question}\"");
    let item = &set.items[0];
    let swap = item.swap.as_ref().unwrap();
    assert_eq!(swap.donor.text, "the capital of Italy is");
    assert_eq!(swap.answer.text, "Rome");
    let places: Vec<u32> = item.parts[SUBJECT]
        .iter()
        .cloned()
        .flatten()
        .map(|p| p as u32)
        .collect();
    assert_eq!(
        swap.moves.iter().map(|(_, to)| *to).collect::<Vec<_>>(),
        places
    );
    assert_eq!(item.foils, std::slice::from_ref(&swap.answer));
}

#[test]
fn a_subject_is_not_swapped_for_itself() {
    let again = THREE
        .replace("\"b\"", "\"d\"")
        .replace("\"Rome\", \"Roma\"", "\"Parigi\"");
    let again = again
        .replace("of Italy", "of France")
        .replace("\"Italy", "\"France");
    let (first, rest) = again.split_once('\n').unwrap();
    let second = rest.lines().next().unwrap();
    let italy = THREE.lines().nth(1).unwrap();
    let set = set(
        &format!("{first}\n{second}\n{italy}\n"),
        "template = \"{question}\"",
    );
    let donors = set
        .items
        .iter()
        .map(|item| &*item.swap.as_ref().unwrap().donor.text);
    let (italy, france) = ("the capital of Italy is", "the capital of France is");
    assert_eq!(donors.collect::<Vec<_>>(), [italy, italy, france]);
}

#[test]
fn donors_are_of_the_same_group() {
    let set = set(
        r#"{"prompt": "the capital of Japan is", "answer": "Tokyo", "subject": "Japan", "group": "en"}
{"prompt": "the capital of Japon is", "answer": "Tokio", "subject": "Japon", "group": "fr"}
{"prompt": "the capital of Italy is", "answer": "Rome", "subject": "Italy", "group": "en"}"#,
        "",
    );
    let donor = |n: usize| set.items[n].swap.as_ref().map(|swap| &*swap.donor.text);
    assert_eq!(donor(0), Some("the capital of Italy is"));
    assert_eq!(donor(1), None);
    assert_eq!(donor(2), Some("the capital of Japan is"));
}

#[test]
fn choices_are_the_others_in_tokens() {
    let line =
        r#"{"prompt": "two plus two is", "answer": "four", "choices": ["three", "four", "five"]}"#;
    let set = set(line, "scoring = \"choices\"\nnormalise = true");
    let Scoring::Choices { others, normalised } = &set.items[0].scoring else {
        panic!("not choices")
    };
    let texts: Vec<_> = others.iter().map(|o| &*o.text).collect();
    assert_eq!((texts, *normalised), (vec!["three", "five"], true));
    assert_eq!(set.items[0].foils.len(), 2);
}

#[test]
fn parts_are_found_in_the_question_alone() {
    let engine = Mock::new(4);
    let wording = Wording::default();
    let prompt = wording
        .prompt(engine.tokenizer(), "of France is Paris\nof France is")
        .unwrap();
    let found = within(&prompt, "France", "of France is").unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].start > prompt.tokens.len() / 2);
    assert_eq!(within(&prompt, "Peru", "of France is"), None);
}
