//! A tokenized text, and where its parts are.

use std::ops::Range;

use crate::runtime::Token;

/// A text and its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The text as it was given.
    pub text: String,
    /// Its tokens, a BOS token included where the model wants one.
    pub tokens: Vec<Token>,
    /// How many tokens at the beginning are the tokenizer's own (BOS).
    pub special: usize,
    /// The bytes of all tokens in a row, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// What is wrong with a prompt, or a part of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PromptError {
    /// No tokens.
    #[error("the prompt is empty (-p)")]
    Empty,
    /// The substring does not occur.
    #[error("{0:?} is not in the prompt (--inject-at, --tokens text:)")]
    NotFound(String),
    /// The substring occurs more than once.
    #[error(
        "{text:?} occurs {count} times in the prompt; give a longer part that occurs once (--inject-at, --tokens text:)"
    )]
    Ambiguous {
        /// The substring.
        text: String,
        /// Occurrences.
        count: usize,
    },
    /// The position is that of the last token, or beyond.
    #[error("position {position} is not a prior token: prior tokens are 0 to {}, the last token is never manipulated (--tokens)", prior.saturating_sub(1))]
    NotPrior {
        /// The position.
        position: u32,
        /// Number of prior tokens.
        prior: u32,
    },
    /// A donor whose tokens cannot be put there.
    #[error(
        "the donor's tokens cannot be moved to where they should go: give a donor prompt that is not longer than what comes before them (--inject-from)"
    )]
    Move,
    /// A selector without tokens.
    #[error("'{0}' selects no prior token of this prompt (--tokens)")]
    NothingSelected(String),
    /// The substring begins or ends inside a token.
    #[error(
        "{text:?} begins or ends inside a token; the whole tokens there are {whole:?} (--inject-at, --tokens text:)"
    )]
    PartialToken {
        /// The substring.
        text: String,
        /// The tokens that it touches.
        whole: String,
    },
}

impl Prompt {
    /// A prompt from its tokens and the bytes that each stands for.
    pub fn new(text: &str, tokens: Vec<Token>, piece: impl Fn(Token) -> Vec<u8>) -> Self {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for token in &tokens {
            bytes.extend(piece(*token));
            ends.push(bytes.len());
        }
        Self {
            text: text.to_string(),
            tokens,
            special: 0,
            bytes,
            ends,
        }
    }

    /// How many tokens the text itself has, without those that the tokenizer puts first.
    pub fn own_tokens(&self) -> usize {
        self.tokens.len() - self.special
    }

    /// The indices of the tokens that make up `part`, which must occur once.
    ///
    /// # Errors
    /// [`PromptError`].
    pub fn find(&self, part: &str) -> Result<Range<usize>, PromptError> {
        let needle = part.as_bytes();
        if needle.is_empty() {
            return Err(PromptError::NotFound(part.to_string()));
        }
        let found: Vec<usize> = self
            .bytes
            .windows(needle.len())
            .enumerate()
            .filter(|(_, window)| *window == needle)
            .map(|(at, _)| at)
            .collect();
        let start = match found[..] {
            [] => return Err(PromptError::NotFound(part.to_string())),
            [start] => start,
            _ => {
                return Err(PromptError::Ambiguous {
                    text: part.to_string(),
                    count: found.len(),
                });
            }
        };
        let end = start + needle.len();
        let first = self.ends.partition_point(|&e| e <= start);
        let last = self.ends.partition_point(|&e| e < end);
        let begins = if first == 0 { 0 } else { self.ends[first - 1] };
        if begins != start || self.ends[last] != end {
            let whole = &self.bytes[begins..self.ends[last]];
            return Err(PromptError::PartialToken {
                text: part.to_string(),
                whole: String::from_utf8_lossy(whole).into_owned(),
            });
        }
        Ok(first..last + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt() -> Prompt {
        let pieces = ["<s>", "The", " capital", " of", " France", "?", " of"];
        Prompt::new(
            "The capital of France? of",
            (0..7).map(Token).collect(),
            |t| pieces[t.0 as usize].as_bytes().to_vec(),
        )
    }

    #[test]
    fn finds_whole_tokens() {
        assert_eq!(prompt().find(" France"), Ok(4..5));
        assert_eq!(prompt().find(" capital of France"), Ok(2..5));
        assert_eq!(prompt().find("The"), Ok(1..2));
    }

    #[test]
    fn refuses_what_it_cannot_place() {
        assert_eq!(
            prompt().find("France"),
            Err(PromptError::PartialToken {
                text: "France".into(),
                whole: " France".into()
            })
        );
        assert!(matches!(
            prompt().find(" Fran"),
            Err(PromptError::PartialToken { .. })
        ));
        assert!(matches!(
            prompt().find("Spain"),
            Err(PromptError::NotFound(_))
        ));
        assert!(matches!(prompt().find(""), Err(PromptError::NotFound(_))));
        assert!(matches!(
            prompt().find(" of"),
            Err(PromptError::Ambiguous { count: 2, .. })
        ));
    }
}
