//! What a result of a stored run asked, so that it can be asked again of a model that is there.

use std::ops::Range;

use serde::Serialize;

use super::ShelfError;
use crate::engine::{Engine, Prompt, TokenSelector, Tokenizer, Wording};
use crate::intervention::{Kind, Needs, Sites};
use crate::runtime::Token;
use crate::store::StoredVariant;
use crate::tasks::Swap;

/// A prompt and a manipulation, in the words of `midlayer try`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Again {
    /// The prompt.
    pub prompt: String,
    /// The manipulation.
    pub manipulate: Vec<String>,
    /// Which tokens, as positions where the run names a part of its items.
    pub tokens: String,
    /// Which layers.
    pub extent: String,
    /// What is rewritten.
    pub site: String,
    /// The right answer, and the donor's.
    pub answer: Vec<String>,
    /// The donor prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject_from: Option<String>,
    /// The part of the prompt that is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject_at: Option<String>,
    /// The part of the donor that is put there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject_from_at: Option<String>,
}

impl Again {
    /// What a variant asks of an item, by its number, under a manipulation. The item is made anew
    /// by the engine's tokenizer, and must be the one that is stored.
    ///
    /// # Errors
    /// [`ShelfError::Cannot`] where it would not be the same.
    pub fn of(
        variant: &StoredVariant,
        number: usize,
        kind: Kind,
        engine: &dyn Engine,
    ) -> Result<Self, ShelfError> {
        let cannot = |why: &str| ShelfError::Cannot(why.to_string());
        let stored = variant.items.get(number).ok_or(ShelfError::None("item"))?;
        let spec = &variant.spec;
        let needs = kind.manipulation().needs();
        if !matches!(needs, Needs::Nothing | Needs::Donor) {
            return Err(cannot(
                "the run was given states for this manipulation that it does not keep",
            ));
        }
        let task = spec.tasks.iter().find(|task| task.task == stored.task);
        let task = task.ok_or(ShelfError::None("task"))?;
        let (tokenizer, learned) = (engine.tokenizer(), engine.learned_positions());
        let set = task
            .items(tokenizer, spec.context.n_ctx, learned)
            .map_err(|error| ShelfError::Cannot(error.to_string()))?;
        let mut items = set.items.into_iter();
        let same = items.find(|item| item.id == stored.name && item.prompt.text == stored.prompt);
        let item = same.ok_or_else(|| cannot("the run's data do not hold this item any more"))?;
        let typed = |text: &str| {
            Wording {
                chat: None,
                parse_special: true,
            }
            .prompt(tokenizer, text)
        };
        let is_same =
            |prompt: &Prompt| typed(&prompt.text).is_ok_and(|t| t.tokens == prompt.tokens);
        if !is_same(&item.prompt) {
            return Err(cannot(
                "its tokens are not those of its text: the run put it into a chat template, or took what it spells out as special tokens for text",
            ));
        }
        let mut again = Self {
            prompt: item.prompt.text.clone(),
            manipulate: vec![kind.to_string()],
            tokens: tokens(&spec.tokens, &item.prompt, &item.parts)?,
            extent: spec.extent.to_string(),
            site: Sites(spec.sites.clone()).to_string(),
            answer: vec![text_of(tokenizer, &item.answer.tokens)],
            inject_from: None,
            inject_at: None,
            inject_from_at: None,
        };
        if needs == Needs::Donor {
            let swap = item.swap.ok_or_else(|| cannot("the item has no donor"))?;
            if !is_same(&swap.donor) {
                return Err(cannot("the donor's tokens are not those of its text"));
            }
            let (from, at) =
                ranges(&swap).ok_or_else(|| cannot("what is replaced is not one part"))?;
            again.answer.push(text_of(tokenizer, &swap.answer.tokens));
            again.inject_at = Some(part(tokenizer, &item.prompt, at)?);
            again.inject_from_at = Some(part(tokenizer, &swap.donor, from)?);
            again.inject_from = Some(swap.donor.text);
        }
        Ok(again)
    }
}

/// A selector, with what only the run's own items know put as positions.
fn tokens(
    selector: &str,
    prompt: &Prompt,
    parts: &crate::tasks::Parts,
) -> Result<String, ShelfError> {
    let cannot = |why: String| ShelfError::Cannot(why);
    let read: TokenSelector = selector.parse().map_err(cannot)?;
    if read.positions(prompt).is_ok() {
        return Ok(selector.to_string());
    }
    let found = read.positions_in(prompt, parts);
    let found = found.map_err(|error| cannot(error.to_string()))?;
    let one = |range: &Range<u32>| match range.end - range.start {
        1 => range.start.to_string(),
        _ => format!("{}-{}", range.start, range.end - 1),
    };
    let ranges: Vec<String> = found.as_ranges().iter().map(one).collect();
    Ok(ranges.join(","))
}

/// The donor's and the prompt's positions, where each are a row of neighbours.
fn ranges(swap: &Swap) -> Option<(Range<usize>, Range<usize>)> {
    let (from, at) = *swap.moves.first()?;
    let (from, at) = (from as usize, at as usize);
    let mut moves = (0..).zip(&swap.moves);
    let n = swap.moves.len();
    let in_row = moves.all(|(n, (f, t))| (*f as usize, *t as usize) == (from + n, at + n));
    in_row.then_some((from..from + n, at..at + n))
}

/// The text of tokens.
fn text_of(tokenizer: &dyn Tokenizer, tokens: &[Token]) -> String {
    tokens.iter().map(|token| tokenizer.piece(*token)).collect()
}

/// Tokens as a part of their prompt's text.
fn part(
    tokenizer: &dyn Tokenizer,
    prompt: &Prompt,
    range: Range<usize>,
) -> Result<String, ShelfError> {
    let text = text_of(tokenizer, &prompt.tokens[range.clone()]);
    let found = prompt.occurrences(&text).unwrap_or_default();
    match (found.iter().position(|one| *one == range), found.len()) {
        (None, _) => Err(ShelfError::Cannot(
            "what is replaced is no part of the text".into(),
        )),
        (Some(_), 1) if !text.starts_with('#') => Ok(text),
        (Some(n), _) => Ok(format!("#{}:{text}", n + 1)),
    }
}
