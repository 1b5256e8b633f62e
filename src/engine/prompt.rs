//! A tokenized text, and where its parts are.

use std::ops::Range;

use super::{EngineError, Tokenizer};
use crate::runtime::{ChatDate, Text, Token};

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
    /// The text with what of it is markup.
    source: Text,
}

/// How a text becomes a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wording {
    /// The day on which a chat is held, where the text goes into the model's chat template.
    pub chat: Option<ChatDate>,
    /// Whether special tokens that the text spells out are these tokens, not text.
    pub parse_special: bool,
}

impl Wording {
    /// The prompt that a tokenizer makes of a text.
    ///
    /// # Errors
    /// The tokenizer's; a model without a chat template, where one is asked for.
    pub fn prompt(self, tokenizer: &dyn Tokenizer, text: &str) -> Result<Prompt, EngineError> {
        tokenizer.tokenized(&match self.chat {
            Some(date) => tokenizer.chat(text, date, self.parse_special)?,
            None if self.parse_special => Text::markup(text),
            None => Text::data(text),
        })
    }
}

/// What is wrong with a prompt, or a part of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PromptError {
    /// The texts of a mean have nothing for a token.
    #[error(
        "no mean is known for the token at position {position}: {}",
        if *.by_token { "it is in none of the texts" } else { "all texts are shorter" }
    )]
    NoMean {
        /// The token's position.
        position: u32,
        /// Whether means are by token.
        by_token: bool,
    },
    /// No tokens.
    #[error("the prompt is empty (`prompt`)")]
    Empty,
    /// The substring does not occur.
    #[error("{0:?} is not in the prompt (`inject_at`, `tokens` text:)")]
    NotFound(String),
    /// The substring occurs more than once.
    #[error(
        "{text:?} occurs {count} times in the prompt; give a longer part that occurs once, or say which: the second is `inject_at` '#2:{text}' or `tokens` 'text#2:{text}', all are #all"
    )]
    Ambiguous {
        /// The substring.
        text: String,
        /// Occurrences.
        count: usize,
    },
    /// The substring does not occur so often.
    #[error(
        "{text:?} occurs {count} times in the prompt, so there is no #{asked} (`inject_at`, `tokens` text:)"
    )]
    NoSuchOccurrence {
        /// The substring.
        text: String,
        /// Which one was asked for; the first is 1.
        asked: usize,
        /// Occurrences.
        count: usize,
    },
    /// A part that no item, or not this one, names.
    #[error(
        "the prompt has no part called '{0}' (`tokens`; items of tasks name their subject, other tokens are named as 'text: France')"
    )]
    NoPart(String),
    /// The position is that of the last token, or beyond.
    #[error("position {position} is not a prior token: prior tokens are 0 to {}, the last token is never manipulated (`tokens`)", prior.saturating_sub(1))]
    NotPrior {
        /// The position.
        position: u32,
        /// Number of prior tokens.
        prior: u32,
    },
    /// The position is that of no token.
    #[error("position {position} is outside the prompt, whose tokens are 0 to {} (`tokens`)", tokens.saturating_sub(1))]
    Outside {
        /// The position.
        position: u32,
        /// Number of tokens.
        tokens: u32,
    },
    /// Keys and values that would have to go to an earlier position.
    #[error(
        "keys and values hold their token's position and can only be moved to later ones: the donor's token {from} cannot go to position {to}; give a donor prompt in which no more tokens come before, or rewrite the residual stream (`inject_from`, `site`)"
    )]
    MoveBack {
        /// The position in the donor prompt.
        from: u32,
        /// The position in the prompt.
        to: u32,
    },
    /// Keys and values that would have to go by different distances.
    #[error(
        "keys and values hold their token's position, so one donor's cannot be moved by different distances: replace one part at a time, or rewrite the residual stream (`inject_at`, `site`)"
    )]
    MoveApart,
    /// A selector without tokens.
    #[error("'{0}' selects no prior token of this prompt (`tokens`)")]
    NothingSelected(String),
    /// Positions are those of another text.
    #[error(
        "the two models read unlike texts, so positions of one are none of the other (`tokens_of`)"
    )]
    OtherText,
    /// The substring begins or ends inside a token.
    #[error(
        "{text:?} begins or ends inside a token; the whole tokens there are {whole:?} (`inject_at`, `tokens` text:)"
    )]
    PartialToken {
        /// The substring.
        text: String,
        /// The tokens that it touches.
        whole: String,
    },
}

impl Prompt {
    /// A prompt from its tokens and the bytes that each stands for; the text is markup.
    pub fn new(text: &str, tokens: Vec<Token>, piece: impl Fn(Token) -> Vec<u8>) -> Self {
        Self::of(&Text::markup(text), tokens, piece)
    }

    /// A prompt from its tokens and the bytes that each stands for.
    pub fn of(text: &Text, tokens: Vec<Token>, piece: impl Fn(Token) -> Vec<u8>) -> Self {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for token in &tokens {
            bytes.extend(piece(*token));
            ends.push(bytes.len());
        }
        Self {
            text: text.as_str().to_string(),
            tokens,
            special: 0,
            bytes,
            ends,
            source: text.clone(),
        }
    }

    /// The text with what of it is markup: what was tokenized.
    pub fn source(&self) -> &Text {
        &self.source
    }

    /// The bytes of all tokens in a row.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each token ends among [`Self::bytes`].
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// How many tokens the text itself has, without those that the tokenizer puts first.
    pub fn own_tokens(&self) -> usize {
        self.tokens.len() - self.special
    }

    /// The tokens that make up `part`, as [`Self::occurrences`] finds them, inside the last place
    /// of `text` in the prompt.
    pub fn occurrences_within(&self, part: &str, text: &str) -> Vec<Range<usize>> {
        let mut windows = self.bytes.windows(text.len().max(1));
        let Some(start) = windows.rposition(|window| window == text.as_bytes()) else {
            return Vec::new();
        };
        let begins = |range: &Range<usize>| match range.start {
            0 => 0,
            first => self.ends[first - 1],
        };
        // A space before the text may be its first token's.
        let inside = |range: &Range<usize>| {
            begins(range) + 1 >= start && self.ends[range.end - 1] <= start + text.len()
        };
        let found = self.occurrences(part).unwrap_or_default();
        found.into_iter().filter(inside).collect()
    }

    /// The tokens that make up `part`, a range for each place where it begins and ends with a
    /// token: at least one.
    ///
    /// # Errors
    /// [`PromptError::NotFound`], [`PromptError::PartialToken`] where no occurrence does.
    pub fn occurrences(&self, part: &str) -> Result<Vec<Range<usize>>, PromptError> {
        let needle = part.as_bytes();
        let windows = self.bytes.windows(needle.len().max(1)).enumerate();
        let starts = windows.filter(|(_, window)| *window == needle);
        let mut partial = None;
        let mut found = Vec::new();
        for (start, _) in starts {
            let end = start + needle.len();
            let first = self.ends.partition_point(|&e| e <= start);
            let last = self.ends.partition_point(|&e| e < end);
            let begins = if first == 0 { 0 } else { self.ends[first - 1] };
            if begins == start && self.ends[last] == end {
                found.push(first..last + 1);
            } else {
                partial = partial.or(Some(begins..self.ends[last]));
            }
        }
        match partial {
            _ if !found.is_empty() => Ok(found),
            None => Err(PromptError::NotFound(part.to_string())),
            Some(whole) => Err(PromptError::PartialToken {
                text: part.to_string(),
                whole: String::from_utf8_lossy(&self.bytes[whole]).into_owned(),
            }),
        }
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
        assert_eq!(prompt().occurrences(" France"), Ok(vec![4..5]));
        assert_eq!(prompt().occurrences(" capital of France"), Ok(vec![2..5]));
        assert_eq!(prompt().occurrences("The"), Ok(vec![1..2]));
        assert_eq!(prompt().occurrences(" of"), Ok(vec![3..4, 6..7]));
    }

    #[test]
    fn refuses_what_it_cannot_place() {
        assert_eq!(
            prompt().occurrences("France"),
            Err(PromptError::PartialToken {
                text: "France".into(),
                whole: " France".into()
            })
        );
        assert!(matches!(
            prompt().occurrences(" Fran"),
            Err(PromptError::PartialToken { .. })
        ));
        assert!(matches!(
            prompt().occurrences("Spain"),
            Err(PromptError::NotFound(_))
        ));
        assert!(matches!(
            prompt().occurrences(""),
            Err(PromptError::NotFound(_))
        ));
    }
}
