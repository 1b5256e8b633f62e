//! The program's own command line, as a shell takes it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;

/// The command with these arguments, to be repeated in a shell: any bytes that a name may have.
pub fn command_line(arguments: impl Iterator<Item = OsString>) -> String {
    let words = arguments.map(|argument| word(&argument));
    let words = std::iter::once("midlayer".to_string()).chain(words);
    words.collect::<Vec<_>>().join(" ")
}

/// The same arguments without `--shard` and its value: the command of the whole run.
pub fn without_shard(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut value = false;
    arguments.filter(move |argument| {
        let text = argument.to_string_lossy();
        let skip = value || text == "--shard" || text.starts_with("--shard=");
        value = !value && text == "--shard";
        !skip
    })
}

/// An argument as a shell takes it.
pub fn word(argument: &OsStr) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+@%".contains(c);
    match argument.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_string(),
        Some(text) if !text.chars().any(char::is_control) => {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
        _ => escaped(argument.as_encoded_bytes()),
    }
}

/// Bytes in the quotes of bash, ksh and zsh.
fn escaped(bytes: &[u8]) -> String {
    let mut word = String::from("$'");
    for byte in bytes {
        match byte {
            b'\'' | b'\\' => word.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => word.push(char::from(*byte)),
            // Three digits, so that none of what follows is taken for a fourth.
            _ => write!(word, "\\{byte:03o}").expect("a String"),
        }
    }
    word + "'"
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn the_command_of_the_whole_run_has_no_part() {
        let given = "sweep --shard 1/2 -m x --shard=auto --out --shard=1/2 y --shard 3/4 z";
        let words = given.split(' ').map(OsString::from);
        assert_eq!(
            command_line(without_shard(words)),
            "midlayer sweep -m x --out y z"
        );
    }

    #[test]
    fn a_shell_gives_the_same_arguments_back() {
        let arguments: [&[u8]; 7] = [
            b"sweep",
            b"--out",
            b"a b'c$(d)",
            b"",
            b"bad\xff1",
            b"new\nline \\'",
            "é\x1b[1m".as_bytes(),
        ];
        let given = arguments.map(|bytes| OsString::from_vec(bytes.to_vec()));
        let line = command_line(given.into_iter());
        let script = format!("midlayer() {{ printf '%s\\0' \"$@\"; }}; {line}");
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .env("LC_ALL", "C")
            .output()
            .expect("bash");
        let expected: Vec<u8> = arguments.join(&0u8).into_iter().chain([0]).collect();
        assert_eq!(output.stdout, expected, "{line}");
    }
}
