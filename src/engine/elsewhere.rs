//! Tokens of a text that another vocabulary reads, found by the text that they hold.

use std::ops::Range;

use super::{Prompt, PromptError, TokenSelector};
use crate::intervention::PositionSet;

impl TokenSelector {
    /// The selector that takes of `prompt` what this one takes of `theirs`, the same text read by
    /// another vocabulary. Positions become those of the tokens that hold any of the same text;
    /// selectors that name no positions mean the same in both.
    ///
    /// # Errors
    /// [`PromptError::NotPrior`] for a position that is none of `theirs`,
    /// [`PromptError::OtherText`] where the texts are unlike, [`PromptError::NothingSelected`]
    /// where no prior token of `prompt` holds any of it.
    pub fn elsewhere(&self, theirs: &Prompt, prompt: &Prompt) -> Result<Self, PromptError> {
        let TokenSelector::Ranges(ranges) = self else {
            return Ok(match self {
                TokenSelector::Not(kept) => {
                    TokenSelector::Not(Box::new(kept.elsewhere(theirs, prompt)?))
                }
                other => other.clone(),
            });
        };
        let chosen = self.positions(theirs)?;
        if theirs.spans().eq(prompt.spans()) && theirs.special == prompt.special {
            return Ok(TokenSelector::Ranges(ranges.clone()));
        }
        let held = prompt.holding(theirs, &chosen)?;
        // The last token is never manipulated.
        let prior = prompt.tokens.len() as u32 - 1;
        let held = held.into_iter().filter(|position| *position < prior);
        let held = PositionSet::ranges(held.map(|position| position..position + 1));
        match held.as_ranges() {
            [] => Err(PromptError::NothingSelected(self.to_string())),
            ranges => {
                let ranges = ranges.iter().map(|range| (range.start, range.end - 1));
                Ok(TokenSelector::Ranges(ranges.collect()))
            }
        }
    }
}

impl Prompt {
    /// The positions whose tokens hold any of the bytes of `theirs`' tokens at `chosen`.
    fn holding(&self, theirs: &Prompt, chosen: &PositionSet) -> Result<Vec<u32>, PromptError> {
        if !self.same_text(theirs) {
            return Err(PromptError::OtherText);
        }
        let chosen = |position: usize| chosen.contains(position as u32);
        let spans: Vec<Range<usize>> = theirs.spans().collect();
        let own = self.spans().enumerate();
        let held = own.filter(|(n, span)| {
            // What a tokenizer puts first holds nothing of the text.
            if *n < self.special {
                return *n < theirs.special && chosen(*n);
            }
            let of_text = spans.iter().enumerate().skip(theirs.special);
            let meets = |of: &Range<usize>| of.start < span.end && span.start < of.end;
            of_text.into_iter().any(|(m, of)| chosen(m) && meets(of))
        });
        Ok(held.map(|(n, _)| n as u32).collect())
    }

    /// Where each token is, in bytes from the end of the text: some vocabularies begin a text
    /// with a space of their own.
    fn spans(&self) -> impl Iterator<Item = Range<usize>> {
        let all = self.bytes().len();
        let starts = std::iter::once(0).chain(self.ends().iter().copied());
        let ends = self.ends().iter().copied();
        starts.zip(ends).map(move |(a, b)| all - b..all - a)
    }

    /// Whether the tokens hold the same bytes, but for spaces at the beginning.
    fn same_text(&self, other: &Prompt) -> bool {
        fn own(prompt: &Prompt) -> &[u8] {
            let special = prompt.special.checked_sub(1);
            let start = special.map_or(0, |last| prompt.ends()[last]);
            let bytes = &prompt.bytes()[start..];
            let spaces = bytes.iter().take_while(|byte| **byte == b' ').count();
            &bytes[spaces..]
        }
        own(self) == own(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Token;

    /// A prompt of these pieces, the first `special` of which are the tokenizer's.
    fn prompt(pieces: &[&[u8]], special: usize) -> Prompt {
        let tokens = (0..pieces.len() as i32).map(Token).collect();
        let mut prompt = Prompt::new("", tokens, |t| pieces[t.0 as usize].to_vec());
        prompt.special = special;
        prompt
    }

    fn bytes(text: &str) -> Prompt {
        let pieces: Vec<[u8; 1]> = text.bytes().map(|b| [b]).collect();
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
        prompt(&pieces, 0)
    }

    fn elsewhere(selector: &str, theirs: &Prompt, own: &Prompt) -> Result<String, PromptError> {
        let selector: TokenSelector = selector.parse().unwrap();
        Ok(selector.elsewhere(theirs, own)?.to_string())
    }

    #[test]
    fn tokens_that_hold_the_same_text_are_taken() {
        let words = prompt(&[b"The", b" capital", b" of", b" France"], 0);
        // One begins a text with a token of its own and a space.
        let parts = prompt(
            &[b"<s>", b" The", b" cap", b"ital", b" of", b" Fran", b"ce"],
            1,
        );
        for (chosen, of_parts) in [
            ("0", "1-1"),
            ("1", "2-3"),
            ("1-2", "2-4"),
            ("0,2", "1-1,4-4"),
        ] {
            assert_eq!(elsewhere(chosen, &words, &parts).unwrap(), of_parts);
        }
        // Part of what is the last token there is not taken.
        for (chosen, of_words) in [("1", "0-0"), ("3", "1-1"), ("2,5", "1-1"), ("4", "2-2")] {
            assert_eq!(elsewhere(chosen, &parts, &words).unwrap(), of_words);
        }
        let last = elsewhere("5", &parts, &words);
        assert!(
            matches!(last, Err(PromptError::NothingSelected(_))),
            "{last:?}"
        );
        // A token that stands for the beginning alone has no counterpart where there is none.
        assert!(elsewhere("0", &parts, &words).is_err());
        assert_eq!(elsewhere("0", &parts, &parts).unwrap(), "0-0");
    }

    #[test]
    fn bytes_that_are_no_text_are_counted_as_bytes() {
        let whole = prompt(&["a".as_bytes(), "🦙".as_bytes(), "é!".as_bytes(), b"."], 0);
        let each = bytes("a🦙é!.");
        for (chosen, of_each) in [("0", "0-0"), ("1", "1-4"), ("2", "5-7")] {
            assert_eq!(elsewhere(chosen, &whole, &each).unwrap(), of_each);
        }
        for (chosen, of_whole) in [("1", "1-1"), ("4", "1-1"), ("4-5", "1-2"), ("7", "2-2")] {
            assert_eq!(elsewhere(chosen, &each, &whole).unwrap(), of_whole);
        }
        // A piece may end inside a character.
        let halves = prompt(&[b"a\xf0\x9f", b"\xa6\x99", "é!.".as_bytes()], 0);
        assert_eq!(elsewhere("1", &whole, &halves).unwrap(), "0-1");
    }

    #[test]
    fn what_names_no_positions_stays_and_unlike_texts_are_refused() {
        let (words, each) = (prompt(&[b"ab", b"cd", b"e"], 0), bytes("abcde"));
        for same in ["prior", "skip:1", "first:2", "text: of", "not:prior"] {
            assert_eq!(elsewhere(same, &words, &each).unwrap(), same);
        }
        assert_eq!(elsewhere("not:1", &words, &each).unwrap(), "not:2-3");
        let other = elsewhere("0", &words, &bytes("abcdf"));
        assert_eq!(other, Err(PromptError::OtherText));
        let outside = elsewhere("2", &words, &each);
        assert!(
            matches!(outside, Err(PromptError::NotPrior { .. })),
            "{outside:?}"
        );
    }
}
