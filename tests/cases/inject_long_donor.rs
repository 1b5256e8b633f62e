//! Donor prompts longer than what comes before the part that is replaced.

use midlayer::engine::{Engine, Request, TextPart, kl};
use midlayer::intervention::{Intervention, PositionSet};
use midlayer::runtime::ContextOptions;
use serde_json::Value;

use crate::common::engine_of;
use crate::common::place::{Place, json_lines, one_line_error};

const TRY: &str = "try -m tiny.gguf -p abcdefgh -t 1 -fa off -ctk f32 -ctv f32 --layers 2 --manipulate inject -o json";

fn last_kl(place: &Place, arguments: &str) -> f64 {
    let lines: Vec<Value> = json_lines(place.run(&format!("{TRY} {arguments}")));
    lines[1]["kl"].as_f64().unwrap()
}

/// The divergence when the tokens of `to` get the states entering layer 2 that `from` has in
/// the donor prompt, by the library.
fn expected(place: &Place, donor: &str, from: &str, to: &str) -> f64 {
    let options = ContextOptions {
        threads: 1,
        ..crate::common::exact_options()
    };
    let mut engine = engine_of(&place.model(), &options);
    let prompt = engine.prompt("abcdefgh").unwrap();
    let donor = engine.prompt(donor).unwrap();
    let states = engine.states(&donor).unwrap();
    let range = |part: &str, of| TextPart::only(part).find(of).unwrap().remove(0);
    let pairs = range(from, &donor).zip(range(to, &prompt));
    let moves: Vec<(u32, u32)> = pairs.map(|(a, b)| (a as u32, b as u32)).collect();
    let at = PositionSet::ranges(moves.iter().map(|(_, to)| *to..to + 1));
    let given = Intervention::given(2, states.moved(&moves).into(), at);
    let clean = engine.run(&Request::new(&prompt)).unwrap();
    let outcome = engine.run(&Request::new(&prompt).with(given)).unwrap();
    kl(&clean.logits, &outcome.logits)
}

#[test]
fn the_residual_stream_takes_states_from_any_position() {
    let place = Place::new();
    // Longer than what comes before `bc`, and longer than the prompt.
    for donor in ["uvwxyz", "some-words-before-the-name-xyz"] {
        let found = last_kl(&place, &format!("--inject-at bc --inject-from {donor}"));
        let expected = expected(&place, donor, "yz", "bc");
        assert!(
            expected > 1e-3 && (found - expected).abs() < 1e-4 * expected.max(1.0),
            "{donor}: {found} {expected}"
        );
    }
    // The prompt's very first token.
    let found = last_kl(&place, "--inject-at a --inject-from uvwxyz");
    assert!((found - expected(&place, "uvwxyz", "z", "a")).abs() < 1e-4);
}

#[test]
fn the_donors_tokens_are_chosen_by_text() {
    let place = Place::new();
    let chosen = |from_at: &str| {
        let donor = "--inject-at bc --inject-from uvwxyuvz --inject-from-at";
        last_kl(&place, &format!("{donor} {from_at}"))
    };
    let by_library = expected(&place, "uvwxyuvz", "wx", "bc");
    assert!((chosen("wx") - by_library).abs() < 1e-4 * by_library.max(1.0));
    assert_ne!(chosen("#1:uv"), chosen("#2:uv"));
    let refused = |arguments: &str, text: &str| {
        let line = format!("{TRY} --inject-at bc --inject-from uvwxyuvz {arguments}");
        one_line_error(2, text)(place.run(&line));
    };
    refused(
        "--inject-from-at uv",
        "occurs 2 times in the donor prompt; say which",
    );
    refused(
        "--inject-from-at q",
        "is not in the donor prompt (--inject-from-at)",
    );
    refused(
        "--inject-from-at w",
        "1 tokens in the donor prompt and \"bc\" 2",
    );
    refused("--inject-from-at #3:uv", "no #3 (--inject-from-at)");
}

#[test]
fn keys_and_values_say_why_they_cannot_move_back() {
    let place = Place::new();
    let donor = "--site kv --inject-from uvwxyz --inject-at";
    assert!(last_kl(&place, &format!("{donor} fg")) > 1e-6);
    let line = format!("{TRY} {donor} bc");
    one_line_error(2, "the donor's token 6 cannot go to position 3")(place.run(&line));
}

#[test]
fn a_part_that_occurs_twice_is_replaced_in_one_place_or_in_all() {
    let place = Place::new();
    let at = |part: &str| {
        let line = format!(
            "try -m tiny.gguf -p abcdabce --layers 2 --manipulate inject -o json --inject-from xyz --inject-at {part}"
        );
        json_lines(place.run(&line))[1]["kl"].as_f64().unwrap()
    };
    let (first, second, all) = (at("#1:bc"), at("#2:bc"), at("#all:bc"));
    assert!(first > 0.0 && first != second && all != first && all != second);
    let line = "try -m tiny.gguf -p abcdabce --manipulate inject --inject-from xyz --inject-at bc";
    one_line_error(2, "occurs 2 times in the prompt; give a longer part")(place.run(line));
    // The same for the tokens that are manipulated.
    let select = |tokens: &str| {
        let line = format!("try -m tiny.gguf -p abcdabce --layers 2 -o json --tokens {tokens}");
        let lines = json_lines(place.run(&line));
        let tokens = lines[0]["prompt"]["tokens"].as_array().unwrap().clone();
        let taken = tokens.iter().filter(|t| t["selected"] == true);
        taken
            .map(|t| t["position"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let first = select("text#1:bc")[0];
    assert_eq!(select("text#1:bc"), [first, first + 1]);
    assert_eq!(select("text#2:bc"), [first + 4, first + 5]);
    assert_eq!(
        select("text#all:bc"),
        [first, first + 1, first + 4, first + 5]
    );
}
