//! What a map of a prompt asks: one manipulation, at each state by itself.

use super::{Part, TrialError, answer_tokens};
use crate::engine::{DonorStates, Engine, Prompt, Request, TokenSelector, donor_states};
use crate::hook::Anatomy;
use crate::intervention::{Extent, Kind, LayerList, Needs, PositionSet, Site, Target};
use crate::maps::{Corruption, Down, Followed, Measure, Question};
use crate::runtime::Token;
use crate::tasks::Parts;

/// The question of a part at each of its tokens and of `layers`. A donor's states go to the
/// positions that they come from; where it has not as many tokens as the prompt, to where the texts
/// are alike, and tokens without a counterpart are left out.
///
/// # Errors
/// [`TrialError`]; a prompt without prior tokens, a donor of another length that ends differently.
pub fn question<'q>(
    part: &Part,
    layers: &LayerList,
    seeds: &[u64],
    measure: Measure,
    engine: &mut dyn Engine,
    prompt: &'q Prompt,
) -> Result<Question<'q>, TrialError> {
    let chosen = part.place.tokens.positions(prompt);
    asked(part, (layers, seeds), measure, engine, prompt, chosen?)
}

/// The same at tokens that are known.
pub(super) fn asked<'q>(
    part: &Part,
    (layers, seeds): (&LayerList, &[u64]),
    measure: Measure,
    engine: &mut dyn Engine,
    prompt: &'q Prompt,
    chosen: PositionSet,
) -> Result<Question<'q>, TrialError> {
    let n_layer = engine.facts().n_layer;
    let prior = prompt.tokens.len() as u32 - 1;
    if prior == 0 {
        return Err(TrialError::Usage(
            "the prompt has one token, and all but the last are mapped (`prompt`)".into(),
        ));
    }
    // Where a donor has no counterpart there is nothing to put.
    let to = part.donor.as_ref();
    let to = to.map(|donor| moves(&donor.prompt, prompt)).transpose()?;
    let has = |at: &u32| {
        to.as_ref()
            .is_none_or(|to| to.iter().any(|(_, to)| to == at))
    };
    Ok(Question {
        states: states(part, engine, prompt)?,
        prompt,
        kind: part.kind,
        sites: part.place.sites.clone(),
        seeds: distinct(seeds),
        layers: layers.resolve(n_layer)?,
        positions: (0..prior)
            .filter(|at| chosen.contains(*at) && has(at))
            .collect(),
        down: Down::Tokens,
        corrupted: None,
        measure,
    })
}

/// What corrupts the tokens of `selector`, where they enter layer 0.
///
/// # Errors
/// [`TrialError::Usage`] for a selector that the prompt has no such tokens for.
pub fn corruption(
    kind: Kind,
    selector: &TokenSelector,
    seed: u64,
    prompt: &Prompt,
    parts: &Parts,
) -> Result<Corruption, TrialError> {
    let prior = prompt.tokens.len() as u32 - 1;
    let positions = selector.positions_in(prompt, parts);
    let positions = positions
        .map_err(|error| TrialError::Usage(error.to_string().replace("`tokens`", "`corrupt`")))?;
    Ok(Corruption {
        kind,
        layer: 0,
        positions: kind.places(seed, &positions, prior),
    })
}

/// What a map's rows are where they are heads: as many as a layer has at most.
///
/// # Errors
/// [`TrialError::Usage`] for a model whose heads could not be found, and for a manipulation of
/// attention as a whole.
pub fn heads(anatomy: &Anatomy, kind: Kind) -> Result<Down, TrialError> {
    let made = kind.intervention(1, 0, Extent::Only, PositionSet::all(), None);
    if made.on(Site::HEADS).target() != Target::Heads {
        return Err(TrialError::Usage(format!(
            "{kind} is of a layer's attention as a whole, not of single heads (`heads`)"
        )));
    }
    match anatomy.most_heads() {
        0 => Err(TrialError::Usage(
            "no layer of this model has heads of attention that could be told apart (`heads`)"
                .into(),
        )),
        n => Ok(Down::Heads(n)),
    }
}

/// Which of a donor's tokens goes to which of the prompt's prior ones, as pairs of positions. Those
/// of a donor of as many go to the same positions. Else the two are aligned by their text: by what
/// both begin and end with, and between that from the end, so that last tokens of names meet; what
/// is left over has no counterpart.
fn moves(donor: &Prompt, prompt: &Prompt) -> Result<Vec<(u32, u32)>, TrialError> {
    let (from, to) = (&donor.tokens[..], &prompt.tokens[..]);
    let (m, n) = (from.len(), to.len());
    if m == n {
        return Ok((0..n as u32 - 1).map(|at| (at, at)).collect());
    }
    let same = |pairs: &mut dyn Iterator<Item = (&Token, &Token)>| {
        pairs.take_while(|(a, b)| a == b).count()
    };
    let end = same(&mut from.iter().rev().zip(to.iter().rev()));
    if end == 0 {
        return Err(TrialError::Usage(format!(
            "the donor prompt has {m} tokens and the prompt {n}, and the two end differently: states are put where the texts are alike, so give a donor of as many, or one that ends as the prompt does; midlayer tokens lists them (`from`)",
        )));
    }
    let begin = same(&mut from.iter().zip(to)).min(m.min(n) - end);
    let from_end = (begin..n - 1).filter_map(|at| Some(((at + m).checked_sub(n)?, at)));
    let from_end = from_end.filter(|(from, _)| *from >= begin);
    let all = (0..begin).map(|at| (at, at)).chain(from_end);
    Ok(all.map(|(from, to)| (from as u32, to as u32)).collect())
}

/// Seeds in their order, each once.
pub(super) fn distinct(seeds: &[u64]) -> Vec<u64> {
    let mut seeds = seeds.to_vec();
    seeds.sort_unstable();
    seeds.dedup();
    seeds
}

/// The states that the manipulation puts in place of the prompt's own.
fn states(
    part: &Part,
    engine: &mut dyn Engine,
    prompt: &Prompt,
) -> Result<Option<DonorStates>, TrialError> {
    if part.kind.manipulation().needs() == Needs::Nothing {
        return Ok(None);
    }
    if let Some(donor) = &part.donor {
        let moves = moves(&donor.prompt, prompt)?;
        let states = donor_states(engine, &donor.prompt, &moves, &part.place.sites)?;
        return Ok(Some(states));
    }
    given(part, engine, prompt)
}

/// The states at all tokens of a prompt that a manipulation needs and no donor gives: of a scaffold,
/// a neutral text, a direction, a mean.
pub(super) fn given(
    part: &Part,
    engine: &mut dyn Engine,
    prompt: &Prompt,
) -> Result<Option<DonorStates>, TrialError> {
    let sites = &part.place.sites[..];
    if let Some(states) = part.given.spliced(part.kind, prompt, sites, engine)? {
        return Ok(Some(states));
    }
    let mut all = None;
    for site in sites {
        if let Some(states) = part
            .given
            .states(part.kind, *site, &prompt.tokens, engine)?
        {
            all.get_or_insert_with(DonorStates::default)
                .put(*site, states);
        }
    }
    Ok(all)
}

/// What a map measures: how probable an answer is, or by how much its logit exceeds a foil's.
/// Without an answer it is the clean run's likeliest token.
///
/// # Errors
/// [`TrialError`]; texts without tokens, a foil that begins as the answer does.
pub fn measure(
    engine: &mut dyn Engine,
    prompt: &Prompt,
    answer: Option<&str>,
    foil: Option<&str>,
) -> Result<Measure, TrialError> {
    let answer = match answer {
        Some(text) => followed(engine, prompt, text, "`answer`")?,
        None => Followed(vec![engine.run(&Request::new(prompt))?.argmax()]),
    };
    let Some(foil) = foil else {
        return Ok(Measure::LogProbability(answer));
    };
    let other = followed(engine, prompt, foil, "`foil`")?;
    if !answer.differs(&other) {
        return Err(TrialError::Usage(format!(
            "{foil:?} begins as the answer does, so that no token tells the two apart (`foil`)"
        )));
    }
    Ok(Measure::LogitDifference(answer, vec![other]))
}

fn followed(
    engine: &dyn Engine,
    prompt: &Prompt,
    text: &str,
    option: &str,
) -> Result<Followed, TrialError> {
    let tokens = answer_tokens(engine, prompt, text, option)?;
    match tokens.is_empty() {
        true => Err(TrialError::Usage(format!(
            "{text:?} has no tokens ({option})"
        ))),
        false => Ok(Followed(tokens)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(tokens: &[i32]) -> Prompt {
        let tokens = tokens.iter().copied().map(Token).collect();
        Prompt::new("", tokens, |_| Vec::new())
    }

    #[test]
    fn donors_are_aligned_by_what_they_have_in_common() {
        let to = prompt(&[1, 2, 3, 7, 8]);
        let moved = |from: &[i32]| moves(&prompt(from), &to).unwrap();
        assert_eq!(moved(&[9, 9, 9, 9, 9]), [(0, 0), (1, 1), (2, 2), (3, 3)]);
        // A name of three tokens in place of one: its last token meets it.
        let expected = [(0, 0), (1, 1), (4, 2), (5, 3)];
        assert_eq!(moved(&[1, 2, 4, 5, 6, 7, 8]), expected);
        // A name of none: what is there has no counterpart.
        assert_eq!(moved(&[1, 2, 7, 8]), [(0, 0), (1, 1), (2, 3)]);
        // What repeats belongs to one side alone.
        let to = prompt(&[1, 1, 1]);
        assert_eq!(moves(&prompt(&[1, 1]), &to).unwrap(), [(0, 1)]);
        assert!(moves(&prompt(&[1, 1, 2, 3]), &to).is_err());
    }
}
