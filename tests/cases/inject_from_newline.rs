//! `\n` and `\t` mean the same in every text on the command line.

use serde_json::Value;

use crate::common::place::{Place, json_lines, one_line_error};

/// The lines of `try` with these arguments, each as it is.
fn lines(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let mut command = place.command("try -m tiny.gguf --layers 1 -o json");
    command.args(arguments);
    json_lines(assert_cmd::Command::from_std(command).assert())
}

const PROMPT: &str = "Q: Spain?\nA: France?\nA:";

#[test]
fn a_line_end_is_the_same_spelled_out_and_as_it_is() {
    let place = Place::new();
    let inject = |from: &str, at: &str| {
        let arguments = [
            "-p",
            PROMPT,
            "--manipulate",
            "inject",
            "--inject-from",
            from,
            "--inject-at",
            at,
        ];
        lines(&place, &arguments)
    };
    let real = inject("It\nal\ty", "?\nA: ");
    assert_eq!(real, inject(r"It\nal\ty", r"?\nA: "));
    // As it was read before: a backslash and a letter.
    assert_ne!(real, inject(r"It\\nal\\ty", "?\nA: "));
    let select = |tokens: &str, answer: &str| {
        lines(
            &place,
            &["-p", PROMPT, "--tokens", tokens, "--answer", answer],
        )
    };
    assert_eq!(select("text:?\nA: ", "\n"), select(r"text:?\nA: ", r"\n"));
    assert_eq!(
        lines(&place, &["-p", PROMPT]),
        lines(&place, &["-p", r"Q: Spain?\nA: France?\nA:"])
    );
}

#[test]
fn a_backslash_can_be_written() {
    let place = Place::new();
    let text = |prompt: &str| lines(&place, &["-p", prompt])[0]["prompt"]["text"].clone();
    assert_eq!(text(r"a\\nb\\"), r"a\nb\");
    assert_eq!(text(r"\d+"), r"\d+");
    assert_eq!(text(r"\@home"), "@home");
}

#[test]
fn a_prompt_is_read_from_a_file_and_from_stdin_as_it_is() {
    let place = Place::new();
    let prompt = "a\\nb\n日本\tc:";
    std::fs::write(place.path("prompt.txt"), prompt).unwrap();
    let from_file = lines(&place, &["-p", "@prompt.txt"]);
    assert_eq!(from_file[0]["prompt"]["text"], prompt);
    let mut command =
        assert_cmd::Command::from_std(place.command("try -m tiny.gguf --layers 1 -o json -p -"));
    assert_eq!(json_lines(command.write_stdin(prompt).assert()), from_file);
    let donor = ["-p", "abcd", "--manipulate", "inject", "--inject-at", "b"];
    let named = [&donor[..], &["--inject-from", "@prompt.txt"]].concat();
    let spelled = [&donor[..], &["--inject-from", r"a\\nb\n日本\tc:"]].concat();
    assert_eq!(lines(&place, &named), lines(&place, &spelled));
    std::fs::write(place.path("latin1.txt"), b"caf\xe9 au lait").unwrap();
    let refused = |line: &str, text: &str| one_line_error(2, text)(place.run(line));
    refused(
        "try -m tiny.gguf -p @missing.txt",
        "missing.txt cannot be read",
    );
    refused("try -m tiny.gguf -p @latin1.txt", "not UTF-8: byte 3 (-p)");
}
