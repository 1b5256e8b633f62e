//! How much a clean run differs from itself when its batch is cut.

use std::ops::ControlFlow;

use super::{Engine, EngineError, Prompt, Request, argmax, kl};

/// Where a prompt of so many tokens is cut.
type Cut = fn(usize) -> usize;

const SHAPES: [(&str, Cut); 2] = [
    ("cut after the first seven tokens", |n| {
        if n > 14 { 7 } else { n / 2 }
    }),
    ("cut before the last token", |n| n - 1),
];

/// The difference between clean runs of the same prompt in different batch shapes: an effect
/// below it is none.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NoiseFloor {
    /// Where the prompt was cut.
    pub shape: String,
    /// Prompts measured.
    pub prompts: usize,
    /// Largest difference of a logit.
    pub max_logit: f64,
    /// Mean KL divergence from the run in one batch, in nats.
    pub mean_kl: f64,
    /// Largest KL divergence, in nats.
    pub max_kl: f64,
    /// How often the likeliest token changed.
    pub argmax_changes: usize,
}

impl NoiseFloor {
    /// The requests that measure it on a prompt, to be run together: the run in one batch, then
    /// one for each shape. None where the prompt is too short to be cut.
    pub fn requests(prompt: &Prompt) -> Vec<Request> {
        let n = prompt.tokens.len();
        if n < 2 {
            return Vec::new();
        }
        let cuts = std::iter::once(vec![]).chain(SHAPES.map(|(_, cut)| vec![cut(n)]));
        let of = |cuts| Request {
            cuts,
            ..Request::new(prompt)
        };
        cuts.map(of).collect()
    }
}

/// What [`Engine::noise_floor`] gives.
pub(super) fn floor<E: Engine + ?Sized>(
    engine: &mut E,
    prompts: &[Prompt],
) -> Result<Vec<NoiseFloor>, EngineError> {
    let mut floors = SHAPES.map(|(shape, _)| NoiseFloor {
        shape: shape.to_string(),
        prompts: 0,
        max_logit: 0.0,
        mean_kl: 0.0,
        max_kl: 0.0,
        argmax_changes: 0,
    });
    for (n, prompt) in prompts.iter().enumerate() {
        let requests = NoiseFloor::requests(prompt);
        if requests.is_empty() {
            continue;
        }
        let mut logits = vec![Vec::new(); requests.len()];
        let made = engine.run_all(&requests, &mut |n, outcome| {
            logits[n] = outcome.logits;
            ControlFlow::Continue(())
        });
        made.map_err(|error| error.request().1.of(n))?;
        let (whole, pieces) = logits.split_first().expect("the run in one batch is there");
        for (floor, pieces) in floors.iter_mut().zip(pieces) {
            let differences = whole.iter().zip(pieces).map(|(a, b)| distance(*a, *b));
            let divergence = kl(whole, pieces);
            floor.prompts += 1;
            floor.max_logit = differences.fold(floor.max_logit, f64::max);
            floor.mean_kl += divergence;
            floor.max_kl = floor.max_kl.max(divergence);
            floor.argmax_changes += usize::from(argmax(whole) != argmax(pieces));
        }
    }
    for floor in &mut floors {
        floor.mean_kl /= floor.prompts.max(1) as f64;
    }
    Ok(floors.into())
}

/// The distance of two logits; tokens that a model rules out (both minus infinity) are alike.
fn distance(a: f32, b: f32) -> f64 {
    if a == b {
        0.0
    } else {
        f64::from((a - b).abs())
    }
}
