//! Other texts' states, to be put in place of a prompt's own.

use std::sync::Arc;

use super::{Engine, EngineError, Prompt, PromptError};
use crate::intervention::{States, Target};

/// States entering layers, keys and values of the donor's tokens, moved as `moves` says
/// ((donor position, position in the prompt) of each token; all by the same distance).
///
/// Keys carry their position within them, so the donor is run a second time, shifted, with its
/// tokens at the positions where their keys and values are to be put.
///
/// # Errors
/// [`PromptError::Move`] for moves by different distances or to before the text's beginning,
/// and the engine's.
pub fn donor_states(
    engine: &mut dyn Engine,
    donor: &Prompt,
    moves: &[(u32, u32)],
) -> Result<[Arc<States>; 3], EngineError> {
    let inputs = engine.captured(&donor.tokens, 0, &[Target::Input])?.inputs;
    let mut distances = moves.iter().map(|(from, to)| to.checked_sub(*from));
    let shift = distances.next().flatten().ok_or(PromptError::Move)?;
    if distances.any(|distance| distance != Some(shift)) {
        return Err(PromptError::Move.into());
    }
    let inputs = Arc::new(inputs.moved(moves));
    // Recurrent models keep no keys and values; what is asked of them then says so.
    let Ok(there) = engine.captured(&donor.tokens, shift, &[Target::Keys, Target::Values]) else {
        return Ok([inputs, Arc::default(), Arc::default()]);
    };
    Ok([inputs, Arc::new(there.keys), Arc::new(there.values)])
}

/// States of a neutral text of the prompt's length at the same positions: the prompt's own
/// first token (BOS where there is one), then full stops.
///
/// # Errors
/// The engine's.
pub fn filler_states(
    engine: &mut dyn Engine,
    prompt: &Prompt,
) -> Result<[Arc<States>; 3], EngineError> {
    let stop = engine.prompt(" .")?;
    let stop = *stop.tokens.last().expect("prompts are not empty");
    let mut tokens = vec![stop; prompt.tokens.len()];
    tokens[0] = prompt.tokens[0];
    let targets = [Target::Input, Target::Keys, Target::Values];
    let captured = match engine.captured(&tokens, 0, &targets) {
        Ok(captured) => captured,
        Err(_) => engine.captured(&tokens, 0, &[Target::Input])?,
    };
    Ok([captured.inputs, captured.keys, captured.values].map(Arc::new))
}
