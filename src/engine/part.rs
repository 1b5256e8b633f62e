//! A part of a prompt's text, as a user names it.

use std::convert::Infallible;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::{Prompt, PromptError};

/// Which occurrences of a text are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// The only one: more are an error.
    Only,
    /// The first is 1.
    Nth(usize),
    /// Every one.
    All,
}

/// A part of a prompt's text: ` France` where it occurs once, `#2: France` for the second,
/// `#all: France` for all. A text that itself begins with `#` is written with a backslash
/// before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPart {
    /// The text, spaces included.
    pub text: String,
    /// Which of its occurrences.
    pub which: Occurrence,
}

impl TextPart {
    /// A text that occurs once.
    pub fn only(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            which: Occurrence::Only,
        }
    }

    /// The part's tokens in `prompt`: a range for each occurrence that is meant. Only
    /// occurrences that begin and end with a token count.
    ///
    /// # Errors
    /// [`PromptError`].
    pub fn find(&self, prompt: &Prompt) -> Result<Vec<Range<usize>>, PromptError> {
        let found = prompt.occurrences(&self.text)?;
        let text = || self.text.clone();
        match self.which {
            Occurrence::All => Ok(found),
            Occurrence::Nth(n) => match n.checked_sub(1).and_then(|n| found.get(n)) {
                Some(range) => Ok(vec![range.clone()]),
                None => Err(PromptError::NoSuchOccurrence {
                    text: text(),
                    asked: n,
                    count: found.len(),
                }),
            },
            Occurrence::Only if found.len() > 1 => Err(PromptError::Ambiguous {
                text: text(),
                count: found.len(),
            }),
            Occurrence::Only => Ok(found),
        }
    }

    /// Reads what stands between `text` and the colon of a selector: nothing, `#2` or `#all`.
    pub(super) fn occurrence(mark: &str) -> Option<Occurrence> {
        match mark.strip_prefix('#') {
            None if mark.is_empty() => Some(Occurrence::Only),
            None => None,
            Some("all") => Some(Occurrence::All),
            Some(n) => n.parse().ok().filter(|n| *n > 0).map(Occurrence::Nth),
        }
    }
}

impl FromStr for TextPart {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let marked = text.split_once(':').and_then(|(mark, text)| {
            let which = Self::occurrence(mark).filter(|_| !mark.is_empty())?;
            Some((which, text))
        });
        let (which, text) = marked.unwrap_or((Occurrence::Only, text));
        let literal = match which {
            Occurrence::Only => text.strip_prefix('\\').filter(|t| t.starts_with('#')),
            _ => None,
        };
        Ok(Self {
            text: literal.unwrap_or(text).to_string(),
            which,
        })
    }
}

impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Occurrence::Only => Ok(()),
            Occurrence::Nth(n) => write!(f, "#{n}"),
            Occurrence::All => f.write_str("#all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Token;

    fn prompt() -> Prompt {
        let pieces = ["The", " capital", " of", " the", " of", "fice", " of"];
        let tokens = (0..7).map(Token).collect();
        Prompt::new("", tokens, |t| pieces[t.0 as usize].as_bytes().to_vec())
    }

    fn find(part: &str) -> Result<Vec<Range<usize>>, PromptError> {
        let part: TextPart = part.parse().expect("any text is one");
        part.find(&prompt())
    }

    #[test]
    fn occurrences_are_told_apart() {
        assert_eq!(find(" capital"), Ok(vec![1..2]));
        assert_eq!(find("#2: of"), Ok(vec![4..5]));
        assert_eq!(find("#all: of"), Ok(vec![2..3, 4..5, 6..7]));
        assert_eq!(find("#1: capital of"), Ok(vec![1..3]));
        assert!(matches!(
            find(" of"),
            Err(PromptError::Ambiguous { count: 3, .. })
        ));
        assert!(matches!(
            find("#4: of"),
            Err(PromptError::NoSuchOccurrence {
                asked: 4,
                count: 3,
                ..
            })
        ));
        assert!(matches!(find("#all: Rome"), Err(PromptError::NotFound(_))));
    }

    #[test]
    fn a_mark_can_be_text() {
        let part = |text: &str| text.parse::<TextPart>().unwrap();
        for text in ["#", "#x: y", "# heading: two", "#0: y", "plain: text"] {
            assert_eq!(part(text).text, text);
            assert_eq!(part(text).which, Occurrence::Only);
        }
        let literal = part(r"\#2: y");
        assert_eq!((&*literal.text, literal.which), ("#2: y", Occurrence::Only));
        assert_eq!(part(r"\d").text, r"\d");
    }
}
