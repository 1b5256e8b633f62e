//! Which tokens of a prompt a manipulation acts on.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::{Prompt, PromptError, TextPart};
use crate::intervention::PositionSet;

/// The part that a question is about.
const SUBJECT: &str = "subject";

/// A choice among a prompt's prior tokens, as a user writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSelector {
    /// All prior tokens.
    Prior,
    /// All prior tokens but the first so many (attention sinks).
    AllButFirst(u32),
    /// Positions from 0, both ends included.
    Ranges(Vec<(u32, u32)>),
    /// The first prior tokens, so many or as many as there are.
    First(u32),
    /// The last prior tokens, so many or as many as there are.
    Last(u32),
    /// The tokens of a part that the item of a task names: `subject`.
    Part(String),
    /// The tokens of a part of the text.
    Text(TextPart),
    /// All prior tokens but those of another selector, which stay as they are.
    Not(Box<TokenSelector>),
}

impl TokenSelector {
    /// The positions in `prompt`, of which no part has a name.
    ///
    /// # Errors
    /// [`PromptError`] when the selector names the last token, a position outside the prompt,
    /// no token at all, or text that cannot be placed.
    pub fn positions(&self, prompt: &Prompt) -> Result<PositionSet, PromptError> {
        self.positions_in(prompt, &BTreeMap::new())
    }

    /// The positions in `prompt`, parts of which have names.
    ///
    /// # Errors
    /// As [`Self::positions`]; a part that the prompt does not have.
    pub fn positions_in(
        &self,
        prompt: &Prompt,
        parts: &BTreeMap<String, Vec<Range<usize>>>,
    ) -> Result<PositionSet, PromptError> {
        self.among(prompt, parts, prompt.tokens.len() as u32 - 1)
    }

    /// The positions among all tokens of `prompt`, of which no part has a name, the last one too:
    /// what looks at tokens and rewrites none takes any. `prior` means all.
    ///
    /// # Errors
    /// As [`Self::positions`]; [`PromptError::Outside`] for a position outside the prompt.
    pub fn among_all(&self, prompt: &Prompt) -> Result<PositionSet, PromptError> {
        let tokens = prompt.tokens.len() as u32;
        let found = self.among(prompt, &BTreeMap::new(), tokens);
        found.map_err(|error| match error {
            PromptError::NotPrior { position, .. } => PromptError::Outside { position, tokens },
            error => error,
        })
    }

    /// The positions among the first `prior` tokens.
    fn among(
        &self,
        prompt: &Prompt,
        parts: &BTreeMap<String, Vec<Range<usize>>>,
        prior: u32,
    ) -> Result<PositionSet, PromptError> {
        let set = match self {
            TokenSelector::Prior => return Ok(PositionSet::all()),
            TokenSelector::AllButFirst(n) => PositionSet::all_but_first(*n),
            TokenSelector::Ranges(ranges) => {
                if let Some((_, last)) = ranges.iter().find(|(_, last)| *last >= prior) {
                    return Err(PromptError::NotPrior {
                        position: *last,
                        prior,
                    });
                }
                PositionSet::ranges(ranges.iter().map(|(first, last)| *first..last + 1))
            }
            TokenSelector::Not(kept) => kept.among(prompt, parts, prior)?.others(),
            TokenSelector::First(n) => PositionSet::ranges([0..prior.min(*n)]),
            TokenSelector::Last(n) => PositionSet::ranges([prior.saturating_sub(*n)..prior]),
            TokenSelector::Text(_) | TokenSelector::Part(_) => {
                let found = match self {
                    TokenSelector::Text(part) => part.find(prompt)?,
                    _ => self.named(parts)?,
                };
                let found = found.into_iter();
                let found: Vec<_> = found.map(|r| r.start as u32..r.end as u32).collect();
                if let Some(last) = found.iter().find(|range| range.end > prior) {
                    return Err(PromptError::NotPrior {
                        position: last.end - 1,
                        prior,
                    });
                }
                PositionSet::ranges(found)
            }
        };
        if set.count_below(prior) == 0 {
            return Err(PromptError::NothingSelected(self.to_string()));
        }
        Ok(set)
    }
}

impl TokenSelector {
    fn named(
        &self,
        parts: &BTreeMap<String, Vec<Range<usize>>>,
    ) -> Result<Vec<Range<usize>>, PromptError> {
        let TokenSelector::Part(name) = self else {
            return Ok(Vec::new());
        };
        let part = parts.get(name).cloned();
        part.ok_or_else(|| PromptError::NoPart(name.clone()))
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenSelector::Prior => write!(f, "prior"),
            TokenSelector::AllButFirst(n) => write!(f, "skip:{n}"),
            TokenSelector::Not(kept) => write!(f, "not:{kept}"),
            TokenSelector::First(n) => write!(f, "first:{n}"),
            TokenSelector::Last(n) => write!(f, "last:{n}"),
            TokenSelector::Part(name) if name == SUBJECT => f.write_str(name),
            TokenSelector::Part(name) => write!(f, "part:{name}"),
            TokenSelector::Text(part) => write!(f, "text{}:{}", part.which, part.text),
            TokenSelector::Ranges(ranges) => {
                let parts: Vec<_> = ranges.iter().map(|(a, b)| format!("{a}-{b}")).collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

impl FromStr for TokenSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "prior" => return Ok(TokenSelector::Prior),
            None if text == SUBJECT => return Ok(TokenSelector::Part(text.into())),
            Some(("not", kept)) => return Ok(TokenSelector::Not(Box::new(kept.parse()?))),
            Some(("part", name)) if !name.is_empty() => {
                return Ok(TokenSelector::Part(name.into()));
            }
            _ => {}
        }
        let marked = text.strip_prefix("text").and_then(|t| t.split_once(':'));
        if let Some((mark, part)) = marked
            && let Some(which) = TextPart::occurrence(mark)
        {
            let text = part.to_string();
            return Ok(TokenSelector::Text(TextPart { text, which }));
        }
        let wrong = || {
            format!(
                "'{text}' selects no tokens; write prior, skip:N, first:N, last:N, 3-7, 0,5-9, subject, part:NAME, not:SELECTOR or 'text: France' ('text#2: France' for the second, 'text#all: France' for all)"
            )
        };
        if let Some((prefix @ ("skip" | "first" | "last"), n)) = text.split_once(':') {
            let n = n.parse().map_err(|_| wrong())?;
            return Ok(match prefix {
                "skip" => TokenSelector::AllButFirst(n),
                "first" => TokenSelector::First(n),
                _ => TokenSelector::Last(n),
            });
        }
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u32 = first.trim().parse().map_err(|_| wrong())?;
            let last: u32 = last.trim().parse().map_err(|_| wrong())?;
            if last < first {
                return Err(wrong());
            }
            ranges.push((first, last));
        }
        Ok(TokenSelector::Ranges(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Token;

    fn positions(selector: &str) -> Result<PositionSet, PromptError> {
        let pieces = ["a", " b", " c", " d"];
        let prompt = Prompt::new("a b c d", (0..4).map(Token).collect(), |t| {
            pieces[t.0 as usize].as_bytes().to_vec()
        });
        selector
            .parse::<TokenSelector>()
            .unwrap()
            .positions(&prompt)
    }

    #[test]
    fn the_last_token_may_be_looked_at() {
        let prompt = Prompt::new("abc", (0..3).map(Token).collect(), |t| {
            vec![b'a' + t.0.cast_unsigned() as u8]
        });
        let all = |text: &str| text.parse::<TokenSelector>().unwrap().among_all(&prompt);
        let at = |text: &str| all(text).unwrap();
        assert_eq!(at("last:1"), PositionSet::ranges([2..3]));
        assert_eq!(at("1-2"), PositionSet::ranges([1..3]));
        assert_eq!(at("text:bc"), PositionSet::ranges([1..3]));
        assert!(at("prior").contains(2));
        let outside = PromptError::Outside {
            position: 3,
            tokens: 3,
        };
        assert_eq!(all("3-3"), Err(outside));
    }

    #[test]
    fn selects_prior_tokens() {
        assert_eq!(positions("prior").unwrap(), PositionSet::all());
        assert_eq!(positions("skip:1").unwrap().count_below(3), 2);
        assert_eq!(positions("0-1,2").unwrap().count_below(3), 3);
        assert!(positions("text: b").unwrap().contains(1));
        // What comes later is not kept either.
        let kept = positions("not:text: b").unwrap();
        assert_eq!(kept, PositionSet::ranges([0..1, 2..u32::MAX]));
        assert_eq!(positions("not:first:1"), positions("skip:1"));
        let spaces = positions("text#all: c").unwrap();
        assert_eq!((spaces.contains(2), spaces.count_below(3)), (true, 1));
        assert!(matches!(
            positions("text#2: b"),
            Err(PromptError::NoSuchOccurrence { count: 1, .. })
        ));
    }

    #[test]
    fn refuses_the_last_token_and_nothing() {
        assert!(matches!(
            positions("2-3"),
            Err(PromptError::NotPrior {
                position: 3,
                prior: 3
            })
        ));
        assert!(matches!(
            positions("text: d"),
            Err(PromptError::NotPrior { .. })
        ));
        assert!(matches!(
            positions("skip:3"),
            Err(PromptError::NothingSelected(_))
        ));
        assert!(matches!(
            positions("not:prior"),
            Err(PromptError::NothingSelected(_))
        ));
        assert!(matches!(
            positions("not:text: d"),
            Err(PromptError::NotPrior { .. })
        ));
        for wrong in [
            "",
            "x",
            "5-3",
            "skip:",
            "1,,2",
            "text#0: b",
            "text#x: b",
            "texts: b",
            "not:",
        ] {
            assert!(wrong.parse::<TokenSelector>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn displays_as_it_is_written() {
        for text in [
            "prior",
            "skip:4",
            "3-7,9-9",
            "text: France",
            "text#2: a:b",
            "text#all: c",
            "not:first:1",
            "not:text: France",
        ] {
            assert_eq!(text.parse::<TokenSelector>().unwrap().to_string(), text);
        }
    }
}
