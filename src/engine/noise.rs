//! How much a clean run differs from itself when its batch is cut.

use super::{Engine, EngineError, Prompt, Request, argmax, kl};

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

/// What [`Engine::noise_floor`] gives.
pub(super) fn floor<E: Engine + ?Sized>(
    engine: &mut E,
    prompts: &[Prompt],
) -> Result<Vec<NoiseFloor>, EngineError> {
    let early = |n: usize| if n > 14 { 7 } else { n / 2 };
    let shapes: [(&str, &dyn Fn(usize) -> usize); 2] = [
        ("cut after the first seven tokens", &early),
        ("cut before the last token", &|n| n - 1),
    ];
    let mut floors = Vec::new();
    for (shape, cut) in shapes {
        let mut floor = NoiseFloor {
            shape: shape.to_string(),
            prompts: 0,
            max_logit: 0.0,
            mean_kl: 0.0,
            max_kl: 0.0,
            argmax_changes: 0,
        };
        for prompt in prompts.iter().filter(|p| p.tokens.len() >= 2) {
            let whole = engine.run(&Request::new(prompt))?;
            let mut request = Request::new(prompt);
            request.cuts = vec![cut(prompt.tokens.len())];
            let pieces = engine.run(&request)?;
            let (a, b) = (&whole.logits, &pieces.logits);
            let difference = a
                .iter()
                .zip(b)
                .map(|(x, y)| f64::from((x - y).abs()))
                .fold(0.0, f64::max);
            let divergence = kl(a, b);
            floor.prompts += 1;
            floor.max_logit = floor.max_logit.max(difference);
            floor.mean_kl += divergence;
            floor.max_kl = floor.max_kl.max(divergence);
            floor.argmax_changes += usize::from(argmax(a) != argmax(b));
        }
        floor.mean_kl /= floor.prompts.max(1) as f64;
        floors.push(floor);
    }
    Ok(floors)
}
