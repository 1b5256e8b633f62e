//! Other texts' states, to be put in place of a prompt's own.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Engine, EngineError, Prompt, PromptError};
use crate::hook::Captured;
use crate::intervention::{Site, States, Target};
use crate::runtime::Token;

/// States to be put in place of a prompt's own, at the prompt's positions. Those of sites that
/// were not asked for are empty.
#[derive(Clone, Debug, Default)]
pub struct DonorStates(HashMap<Target, Arc<States>>);

impl DonorStates {
    /// What goes to a site.
    pub fn at(&self, site: Site) -> Arc<States> {
        self.0.get(&site.target()).cloned().unwrap_or_default()
    }

    /// Has these states go to a site.
    pub fn put(&mut self, site: Site, states: Arc<States>) {
        self.0.insert(site.target(), states);
    }

    /// Those of a run for some sites.
    fn of(captured: &Captured, targets: &[Target]) -> Self {
        let states = targets.iter().map(|target| {
            let states = captured.of(*target).clone();
            (*target, Arc::new(states))
        });
        Self(states.collect())
    }
}

/// States of the donor's tokens for `sites`, moved as `moves` says ((donor position, position in
/// the prompt) of each token).
///
/// States entering layers, and what layers add to them, go anywhere. Keys carry their position within them, so for keys and
/// values the donor is run once more, shifted, with its tokens at the positions where theirs are
/// to be put: all by the same distance, and none to an earlier position than it has.
///
/// # Errors
/// [`PromptError::MoveBack`] and [`PromptError::MoveApart`] where keys and values cannot be
/// moved, and the engine's.
pub fn donor_states(
    engine: &mut dyn Engine,
    donor: &Prompt,
    moves: &[(u32, u32)],
    sites: &[Site],
) -> Result<DonorStates, EngineError> {
    let mut states = DonorStates::default();
    // Known to be wrong before anything runs.
    let (cached, anywhere) = (targets(sites, true), targets(sites, false));
    let shift = if cached.is_empty() { 0 } else { shift(moves)? };
    if !anywhere.is_empty() {
        let own = engine.captured(&donor.tokens, 0, &anywhere)?;
        let moved = |target: &Target| (*target, Arc::new(own.of(*target).moved(moves)));
        states.0.extend(anywhere.iter().map(moved));
    }
    if !cached.is_empty() {
        let there = engine.captured(&donor.tokens, shift, &cached)?;
        states.0.extend(DonorStates::of(&there, &cached).0);
    }
    Ok(states)
}

/// How far keys and values are moved.
fn shift(moves: &[(u32, u32)]) -> Result<u32, PromptError> {
    let mut shift = None;
    for &(from, to) in moves {
        let distance = to.checked_sub(from);
        let distance = distance.ok_or(PromptError::MoveBack { from, to })?;
        if *shift.get_or_insert(distance) != distance {
            return Err(PromptError::MoveApart);
        }
    }
    Ok(shift.unwrap_or(0))
}

/// What of a layer the sites are, of those whose rows are in the cache or of the others.
fn targets(sites: &[Site], cached: bool) -> Vec<Target> {
    let sites = sites.iter().filter(|site| site.is_cached() == cached);
    sites.map(|site| site.target()).collect()
}

/// States for `sites` of a neutral text of the prompt's length at the same positions: the
/// prompt's own first token (BOS where there is one), then full stops.
///
/// # Errors
/// The engine's.
pub fn filler_states(
    engine: &mut dyn Engine,
    prompt: &Prompt,
    sites: &[Site],
) -> Result<DonorStates, EngineError> {
    let stop = engine.prompt(" .")?;
    let stop = *stop.tokens.last().expect("prompts are not empty");
    let mut tokens = vec![stop; prompt.tokens.len()];
    tokens[0] = prompt.tokens[0];
    states_of(engine, &tokens, sites)
}

/// States for `sites` of a scaffold text at the positions of the prompt. Where the prompt is
/// longer, the text is repeated.
///
/// # Errors
/// The engine's.
pub fn scaffold_states(
    engine: &mut dyn Engine,
    scaffold: &Prompt,
    prompt: &Prompt,
    sites: &[Site],
) -> Result<DonorStates, EngineError> {
    let (first, own) = scaffold
        .tokens
        .split_at(scaffold.tokens.len() - scaffold.own_tokens());
    let repeated = first.iter().chain(own.iter().cycle());
    let tokens: Vec<Token> = repeated.copied().take(prompt.tokens.len()).collect();
    states_of(engine, &tokens, sites)
}

fn states_of(
    engine: &mut dyn Engine,
    tokens: &[Token],
    sites: &[Site],
) -> Result<DonorStates, EngineError> {
    let targets: Vec<Target> = sites.iter().map(|site| site.target()).collect();
    let captured = engine.captured(tokens, 0, &targets)?;
    Ok(DonorStates::of(&captured, &targets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_move_forward_and_together() {
        assert_eq!(shift(&[(2, 7), (3, 8)]), Ok(5));
        assert_eq!(shift(&[]), Ok(0));
        assert_eq!(
            shift(&[(7, 2)]),
            Err(PromptError::MoveBack { from: 7, to: 2 })
        );
        assert_eq!(shift(&[(2, 7), (3, 9)]), Err(PromptError::MoveApart));
    }
}
