//! What a map of generation steps asks.

use super::mapped::{distinct, given};
use super::{Part, TrialError};
use crate::engine::{Ending, Engine, Prompt, Request};
use crate::intervention::{LayerList, LayerListError};
use crate::maps::{Followed, Steps};

/// The question of a part at each of `steps` and `layers`, along the clean run's greedy
/// continuation of up to `tokens` tokens. Steps are written as layers are.
///
/// # Errors
/// [`TrialError`]; a step that the continuation does not have, a manipulation that takes a donor's
/// states, which has none for generated tokens.
pub fn steps<'q>(
    part: &Part,
    (layers, steps): (&LayerList, &LayerList),
    (seeds, tokens): (&[u64], usize),
    kl: bool,
    engine: &mut dyn Engine,
    prompt: &'q Prompt,
) -> Result<Steps<'q>, TrialError> {
    part.check()?;
    let chosen = part.place.tokens.positions(prompt)?;
    let continued = Request {
        generate: Some(Ending {
            max_tokens: tokens,
            stop: String::new(),
        }),
        ..Request::new(prompt)
    };
    let followed = engine.run(&continued)?.generated;
    let steps = steps.resolve(followed.len() as u32);
    let steps = steps.map_err(|error| match error {
        LayerListError::OutOfRange { layer, n_layer } => TrialError::Usage(format!(
            "step {layer} is out of range: the clean run continues the prompt by {n_layer} tokens, steps 0 to {} (`steps`)",
            n_layer.saturating_sub(1)
        )),
        error => error.into(),
    })?;
    // Generated tokens become prior, and what goes to prior tokens goes to them, too.
    let mut whole = prompt.clone();
    whole.tokens.extend(&followed);
    Ok(Steps {
        prompt,
        steps,
        kind: part.kind,
        states: given(part, engine, &whole)?,
        sites: part.place.sites.clone(),
        extent: part.place.extent,
        seeds: distinct(seeds),
        layers: layers.resolve(engine.facts().n_layer)?,
        tokens: chosen,
        followed: Followed(followed),
        kl,
    })
}
