//! Text that comes from elsewhere (names of files, ids, answers) as people are shown it.

use std::borrow::Cow;
use std::fmt::Write;

/// A token's text in quotes, as people read it: control characters escaped, and bytes that are
/// no text on their own as `<E3>`.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let quoted = format!("{:?}", chunk.valid());
        text.push_str(&quoted[1..quoted.len() - 1]);
        for byte in chunk.invalid() {
            write!(text, "<{byte:02X}>").expect("a String takes any text");
        }
    }
    text.push('"');
    text
}

/// The text of tokens in JSON: bytes that are no text on their own as `<E3>`.
pub fn plain(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "<{byte:02X}>").expect("a String takes any text");
        }
    }
    text
}

/// What a terminal would obey, or what turns the direction of writing, made visible: `␛` for an
/// escape, `<U+202E>` for what has no picture. Line breaks and tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match u32::from(c) {
            _ if !is_hidden(c) => shown.push(c),
            // Pictures of the control characters are in the same order.
            n @ ..0x20 => shown.extend(char::from_u32(0x2400 + n)),
            0x7f => shown.push('␡'),
            n => write!(shown, "<U+{n:04X}>").expect("a String"),
        }
    }
    Cow::Owned(shown)
}

/// JSON with the same in its strings escaped: for programs it says what it said.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match is_hidden(c) {
            true => write!(shown, "\\u{:04x}", u32::from(c)).expect("a String"),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

fn is_hidden(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\n' && c != '\t')
}

/// Text as Markdown that shows it on one line: what Markdown would read as its own gets a
/// backslash, and what a terminal would obey is made [`visible`].
pub fn markdown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut last = ' ';
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let next = characters.peek().copied().unwrap_or(' ');
        match c {
            '\r' if next == '\n' => {}
            '\r' | '\n' => shown.push_str("<br>"),
            // Within a word it means nothing, as in cnn_dailymail.
            '_' if last.is_alphanumeric() && next.is_alphanumeric() => shown.push('_'),
            '\\' | '|' | '`' | '*' | '_' | '~' | '[' | ']' | '<' | '>' | '&' | '$' => {
                shown.extend(['\\', c]);
            }
            _ if is_hidden(c) => {
                shown.push_str(&visible(c.encode_utf8(&mut [0; 4])).replace('<', "\\<"))
            }
            _ => shown.push(c),
        }
        last = c;
    }
    shown
}

/// A text with other names for the settings that it names, as `n_ctx` between backticks. `names`
/// has (setting, what takes its place, backticks included).
pub fn renamed(text: &str, names: &[(&str, &str)]) -> String {
    let mut parts = text.split('`');
    let mut renamed = parts.next().unwrap_or_default().to_string();
    // Whether a backtick is due before the next part: the one before it did not close a name.
    let mut due = true;
    for part in parts {
        let name = names.iter().find(|(setting, _)| *setting == part);
        match name.filter(|_| due) {
            Some((_, name)) => {
                renamed += name;
                due = false;
            }
            None => {
                if due {
                    renamed.push('`');
                }
                renamed += part;
                due = true;
            }
        }
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_told_apart() {
        assert_eq!(shown("日".as_bytes()), "\"日\"");
        assert_eq!(shown(&[0xe3]), "\"<E3>\"");
        assert_eq!(
            shown(b" a\n\x1b[31m\xe3\x81"),
            "\" a\\n\\u{1b}[31m<E3><81>\""
        );
        assert_eq!(plain(b"a\n\xe3"), "a\n<E3>");
    }

    #[test]
    fn what_a_terminal_would_obey_is_seen() {
        for (text, shown) in [
            ("é 日本\n\tשלום", "é 日本\n\tשלום"),
            ("\x1b[31mred\x1b]0;title\x07", "␛[31mred␛]0;title␇"),
            ("a\rb\0c\x7f", "a␍b␀c␡"),
            ("\u{9b}31m\u{202e}", "<U+009B>31m<U+202E>"),
        ] {
            assert_eq!(visible(text), shown, "{text:?}");
        }
    }

    #[test]
    fn json_says_what_it_said() {
        let text = "a\x7f\u{9b}\u{202e}é\x1b";
        let json = serde_json::to_string(text).unwrap();
        let shown = super::json(&json);
        assert!(!shown.chars().any(is_hidden), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn markdown_shows_any_text_as_it_is() {
        for (text, shown) in [
            ("a|b", r"a\|b"),
            (r"a\|b", r"a\\\|b"),
            ("a\nb\r\nc\rd", "a<br>b<br>c<br>d"),
            ("cnn_dailymail _a_", r"cnn_dailymail \_a\_"),
            ("<b> `x` &amp;", r"\<b\> \`x\` \&amp;"),
            ("\0\x1b[1m\u{9b}", r"␀␛\[1m\<U+009B>"),
        ] {
            assert_eq!(markdown(text), shown, "{text:?}");
        }
    }

    #[test]
    fn settings_have_other_names_elsewhere() {
        let names = [("n_ctx", "-c"), ("at", "`where`")];
        let of = |text| renamed(text, &names);
        assert_eq!(of("raise `n_ctx`"), "raise -c");
        assert_eq!(of("`at`, `n_ctx` 8"), "`where`, -c 8");
        assert_eq!(of("a `question` and `n_ctx`"), "a `question` and -c");
        assert_eq!(of("`a``n_ctx`"), "`a`-c");
        assert_eq!(of("no n_ctx` here"), "no n_ctx` here");
    }
}
