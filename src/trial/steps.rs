//! What a map of generation steps asks.

use super::{Part, TrialError};
use crate::engine::{DonorStates, Ending, Engine, Prompt, Request};
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
    let mut seeds = seeds.to_vec();
    seeds.sort_unstable();
    seeds.dedup();
    // Generated tokens become prior, and what goes to prior tokens goes to them, too.
    let mut whole = prompt.clone();
    whole.tokens.extend(&followed);
    Ok(Steps {
        prompt,
        steps,
        kind: part.kind,
        states: states(part, engine, &whole)?,
        sites: part.place.sites.clone(),
        extent: part.place.extent,
        seeds,
        layers: layers.resolve(engine.facts().n_layer)?,
        tokens: chosen,
        followed: Followed(followed),
        kl,
    })
}

fn states(
    part: &Part,
    engine: &mut dyn Engine,
    whole: &Prompt,
) -> Result<Option<DonorStates>, TrialError> {
    let sites = &part.place.sites[..];
    if let Some(states) = part.given.spliced(part.kind, whole, sites, engine)? {
        return Ok(Some(states));
    }
    let mut all = None;
    for site in sites {
        let states = part.given.states(part.kind, *site, &whole.tokens, engine)?;
        if let Some(states) = states {
            all.get_or_insert_with(DonorStates::default)
                .put(*site, states);
        }
    }
    Ok(all)
}
