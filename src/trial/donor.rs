//! The prompt whose states are injected, and which of them go where.

use super::TrialError;
use crate::engine::{Prompt, PromptError, TextPart};

/// A donor prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Donor {
    /// Its tokens.
    pub prompt: Prompt,
    /// The part of the prompt whose tokens are replaced; without it states go to the positions
    /// that they come from (keys and values only).
    pub at: Option<TextPart>,
    /// The part of the donor that is taken instead of its last tokens.
    pub from_at: Option<TextPart>,
}

impl Donor {
    /// Which of the donor's tokens goes where: its last ones, or those of the part that is named,
    /// to the part replaced; without a part, its tokens to the same positions.
    pub(super) fn moves(&self, prompt: &Prompt) -> Result<Vec<(u32, u32)>, TrialError> {
        let donor = &self.prompt;
        let Some(at) = &self.at else {
            let both = donor.tokens.len().min(prompt.tokens.len() - 1) as u32;
            return Ok((0..both).map(|position| (position, position)).collect());
        };
        let places = at.find(prompt)?;
        let text = &at.text;
        if places.iter().any(|place| place.end == prompt.tokens.len()) {
            return Err(TrialError::Usage(format!(
                "{text:?} ends the prompt; its last token is never manipulated (`inject_at`)"
            )));
        }
        let n = places[0].len();
        let first = match &self.from_at {
            Some(part) => part_of_donor(part, donor, text, n)?,
            None if donor.own_tokens() < n => {
                return Err(TrialError::Usage(format!(
                    "{text:?} has {n} tokens, the donor prompt only {} (`inject_from`)",
                    donor.own_tokens()
                )));
            }
            None => donor.tokens.len() - n,
        };
        let mut moves = Vec::new();
        for place in places {
            // The same text may be other tokens elsewhere.
            if place.len() != n {
                return Err(TrialError::Usage(format!(
                    "{text:?} is {n} tokens in one place and {} in another; replace one at a time (`inject_at`)",
                    place.len()
                )));
            }
            moves.extend((first as u32..).zip(place.map(|p| p as u32)));
        }
        Ok(moves)
    }
}

/// The first token of the donor's part that takes the place of `n` tokens of `text`.
fn part_of_donor(
    part: &TextPart,
    donor: &Prompt,
    text: &str,
    n: usize,
) -> Result<usize, TrialError> {
    let found = part.find(donor).map_err(about_donor)?;
    let [range] = &found[..] else {
        return Err(TrialError::Usage(format!(
            "one part of the donor is taken, and {:?} occurs {} times there; say which, as '#2:{}' (`inject_from_at`)",
            part.text,
            found.len(),
            part.text
        )));
    };
    if range.len() != n {
        return Err(TrialError::Usage(format!(
            "{:?} has {} tokens in the donor prompt and {text:?} {n} in the prompt; give parts with as many tokens, midlayer tokens shows them (`inject_from_at`, `inject_at`)",
            part.text,
            range.len()
        )));
    }
    Ok(range.start)
}

/// What is wrong with a part of the donor prompt.
fn about_donor(error: PromptError) -> TrialError {
    TrialError::Usage(match error {
        PromptError::NotFound(text) => {
            format!("{text:?} is not in the donor prompt (`inject_from_at`)")
        }
        PromptError::Ambiguous { text, count } => format!(
            "{text:?} occurs {count} times in the donor prompt; say which, the second is '#2:{text}' (`inject_from_at`)"
        ),
        PromptError::NoSuchOccurrence { text, asked, count } => format!(
            "{text:?} occurs {count} times in the donor prompt, so there is no #{asked} (`inject_from_at`)"
        ),
        PromptError::PartialToken { text, whole } => format!(
            "{text:?} begins or ends inside a token of the donor prompt; the whole tokens there are {whole:?} (`inject_from_at`)"
        ),
        error => error.to_string(),
    })
}
