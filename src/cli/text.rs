//! Texts on the command line, and tokens on the terminal.

use std::convert::Infallible;
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;

use super::Usage;
use crate::engine::{TextPart, TokenSelector};
use crate::intervention::LayerList;

/// The text that an argument stands for: `\n` is a line end, `\t` a tab, `\\` a backslash; any
/// other backslash is itself.
fn unescaped(argument: &str) -> String {
    let mut text = String::with_capacity(argument.len());
    let mut rest = argument.chars();
    while let Some(c) = rest.next() {
        let meant = match (c, rest.as_str().chars().next()) {
            ('\\', Some('n')) => '\n',
            ('\\', Some('t')) => '\t',
            ('\\', Some('\\')) => '\\',
            _ => {
                text.push(c);
                continue;
            }
        };
        text.push(meant);
        rest.next();
    }
    text
}

/// Layers, or steps that are written as layers are, for clap, which names the option itself.
pub fn layers(argument: &str) -> Result<LayerList, String> {
    let parsed: Result<LayerList, _> = argument.parse();
    parsed.map_err(|error| error.to_string().replace(" (`layers`)", ""))
}

/// A text, for clap.
pub fn literal(argument: &str) -> Result<String, Infallible> {
    Ok(unescaped(argument))
}

/// A part of a prompt, for clap.
pub fn part(argument: &str) -> Result<TextPart, Infallible> {
    unescaped(argument).parse()
}

/// A choice of tokens, for clap.
pub fn selector(argument: &str) -> Result<TokenSelector, String> {
    unescaped(argument).parse()
}

/// Where a prompt comes from: the argument itself, a file (`@FILE`), stdin (`-`). What is read
/// is taken as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Argument(String),
    File(PathBuf),
    Stdin,
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(argument: &str) -> Result<Self, Infallible> {
        Ok(match argument.strip_prefix('@') {
            _ if argument == "-" => Source::Stdin,
            Some(file) => Source::File(file.into()),
            None => {
                // A backslash takes the meaning from a first @ and from a sole -.
                let plain = argument.strip_prefix('\\');
                let plain = plain.filter(|text| text.starts_with('@') || *text == "-");
                Source::Argument(unescaped(plain.unwrap_or(argument)))
            }
        })
    }
}

impl Source {
    /// The text; `option` is what an error names.
    pub fn read(&self, option: &str) -> anyhow::Result<String> {
        let (name, bytes) = match self {
            Source::Argument(text) => return Ok(text.clone()),
            Source::File(path) => {
                let bytes = std::fs::read(path).map_err(|error| {
                    let path = path.display();
                    Usage(format!(
                        "{path} cannot be read: {error} ({option} @FILE; a text that begins with @ is written \\@)"
                    ))
                })?;
                (path.display().to_string(), bytes)
            }
            Source::Stdin => {
                let mut bytes = Vec::new();
                let read = std::io::stdin().read_to_end(&mut bytes);
                read.map_err(|error| Usage(format!("stdin cannot be read: {error} ({option} -)")))?;
                ("stdin".to_string(), bytes)
            }
        };
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Usage(format!("{name} is not UTF-8: byte {at} ({option})"))
        })?;
        if text.contains('\0') {
            return Err(Usage(format!(
                "{name} holds a byte 0, which ends a text ({option})"
            ))
            .into());
        }
        Ok(text)
    }
}

/// The text cut to so many columns, with an ellipsis where something is missing.
pub fn cut(text: &str, columns: usize) -> String {
    use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

    if text.width() <= columns {
        return text.to_string();
    }
    let mut short = String::new();
    let mut left = columns.saturating_sub(1);
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if width > left {
            break;
        }
        left -= width;
        short.push(c);
    }
    short + "…"
}

/// The text with spaces behind it, so that it takes so many columns.
pub fn padded(text: &str, columns: usize) -> String {
    use unicode_width::UnicodeWidthStr;

    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_mean_the_same_everywhere() {
        assert_eq!(unescaped(r"a\nb\tc\\n\d\"), "a\nb\tc\\n\\d\\");
        assert_eq!(unescaped(r"A regex: \\d+\\n"), r"A regex: \d+\n");
        assert_eq!(literal(r"\n").unwrap(), "\n");
        assert_eq!(part(r"#2:?\nA").unwrap().text, "?\nA");
        assert_eq!(
            selector(r"text:?\nA").unwrap(),
            TokenSelector::Text(TextPart::only("?\nA"))
        );
    }

    #[test]
    fn a_prompt_names_its_source() {
        let source = |argument: &str| argument.parse::<Source>().unwrap();
        let text = |text: &str| Source::Argument(text.into());
        assert_eq!(source("-"), Source::Stdin);
        assert_eq!(source("@a/b.txt"), Source::File("a/b.txt".into()));
        assert_eq!(source(r"\@home"), text("@home"));
        assert_eq!(source(r"\-"), text("-"));
        assert_eq!(source(r"\-1"), text(r"\-1"));
        assert_eq!(source("a@b"), text("a@b"));
        assert_eq!(source(r"Q\nA"), text("Q\nA"));
    }

    #[test]
    fn cut_texts_keep_to_their_columns() {
        assert_eq!(cut("Paris", 5), "Paris");
        assert_eq!(cut("Paris", 4), "Par…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(padded("日", 4), "日  ");
    }

    proptest! {
        #[test]
        fn every_text_can_be_written(text in "[a\\\\nt@#\n\t-]{0,12}") {
            let argument = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t");
            let escaped = if argument.starts_with('@') || argument == "-" {
                format!("\\{argument}")
            } else {
                argument
            };
            prop_assert_eq!(escaped.parse::<Source>().unwrap(), Source::Argument(text));
        }
    }
}
