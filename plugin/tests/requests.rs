//! Which texts go through a host, told from rows alone.

#[path = "../src/requests.rs"]
#[allow(dead_code)]
mod requests;

use requests::{Ambiguous, Part, Row, Texts};

/// Rows from `first` to `last`; of the last one logits are wanted if `output`.
fn rows(first: u32, last: u32, output: bool) -> Vec<Row> {
    (first..=last)
        .map(|position| Row {
            position,
            output: output && position == last,
        })
        .collect()
}

fn parts(texts: &mut Texts, rows: &[Row]) -> Vec<Part> {
    let runs = texts.add(rows, 3).unwrap();
    let lengths: usize = runs.iter().map(|run| run.rows.len()).sum();
    assert_eq!(lengths, rows.len(), "every row belongs to one run");
    runs.into_iter().map(|run| run.part).collect()
}

#[test]
fn a_warm_up_is_no_text_and_generated_tokens_are_no_prompt() {
    let mut texts = Texts::default();
    assert_eq!(parts(&mut texts, &rows(0, 1, true)), [Part::WarmUp]);
    assert_eq!(parts(&mut texts, &rows(0, 25, true)), [Part::Prompt(1)]);
    assert!(!texts.may_begin(&rows(26, 26, true)));
    assert_eq!(parts(&mut texts, &rows(26, 26, true)), [Part::Generated]);
    assert_eq!(parts(&mut texts, &rows(27, 27, true)), [Part::Generated]);
    assert!(texts.may_begin(&rows(28, 40, true)));
    assert_eq!(parts(&mut texts, &rows(28, 40, true)), [Part::Prompt(2)]);
    assert_eq!(parts(&mut texts, &rows(0, 9, true)), [Part::Prompt(3)]);
}

#[test]
fn pieces_of_a_prompt_are_one_text() {
    let mut texts = Texts::default();
    assert_eq!(parts(&mut texts, &rows(0, 7, false)), [Part::Prompt(1)]);
    assert_eq!(parts(&mut texts, &rows(8, 15, false)), [Part::Prompt(1)]);
    // The last token alone, as hosts do that ask for its logits apart.
    assert_eq!(parts(&mut texts, &rows(16, 16, true)), [Part::Prompt(1)]);
    assert_eq!(parts(&mut texts, &rows(17, 17, true)), [Part::Generated]);
}

#[test]
fn a_short_piece_without_logits_is_no_warm_up() {
    let mut texts = Texts::default();
    assert_eq!(parts(&mut texts, &rows(0, 1, false)), [Part::Prompt(1)]);
    assert_eq!(parts(&mut texts, &rows(2, 9, true)), [Part::Prompt(1)]);
}

#[test]
fn sequences_in_a_batch_are_told_apart() {
    let mut texts = Texts::default();
    let batch = [rows(0, 4, true), rows(0, 6, true), rows(0, 2, false)].concat();
    let expected = [Part::Prompt(1), Part::Prompt(2), Part::Prompt(3)];
    assert_eq!(parts(&mut texts, &batch), expected);
    // Two generate, the third goes on; 5 follows an output and so begins a run of its own.
    let batch = [rows(5, 5, true), rows(7, 7, true), rows(3, 5, true)].concat();
    let expected = [Part::Generated, Part::Generated, Part::Prompt(3)];
    assert_eq!(parts(&mut texts, &batch), expected);
    // Neighbouring positions of two texts, the first with its logits wanted.
    let batch = [rows(6, 6, true), rows(7, 7, true)].concat();
    assert_eq!(texts.add(&batch, 3).unwrap().len(), 2);
}

#[test]
fn texts_that_cannot_be_told_apart_are_refused() {
    let mut texts = Texts::default();
    let batch = [rows(0, 4, false), rows(0, 4, false)].concat();
    assert_eq!(
        parts(&mut texts, &batch),
        [Part::Prompt(1), Part::Prompt(2)]
    );
    assert_eq!(texts.add(&rows(5, 9, true), 3), Err(Ambiguous(5)));
}

#[test]
fn logits_of_every_token_leave_a_text_alone() {
    let mut texts = Texts::default();
    let all: Vec<Row> = rows(0, 9, false)
        .into_iter()
        .map(|row| Row {
            output: true,
            ..row
        })
        .collect();
    let parts = parts(&mut texts, &all);
    assert!(parts.iter().all(|part| !matches!(part, Part::Prompt(_))));
}
