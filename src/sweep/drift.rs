//! How far the states of a run's models are from those of its first one, on prompts of the run.

use crate::engine::{Engine, EngineError, Request, kl};
use crate::experiment::{Drift, FEW_ROWS, LayerDrift};
use crate::intervention::{States, Target};
use crate::runtime::Token;

use super::{Prepared, PreparedTask};

/// Prompts that are compared, over all tasks.
const PROMPTS: usize = 8;

/// Tokens of each at most, evenly spread.
const TOKENS: usize = 8;

/// What the first variant leaves of its prompts.
pub struct Base {
    prompts: Vec<Kept>,
}

struct Kept {
    tokens: Vec<Token>,
    positions: Vec<u32>,
    states: States,
    logits: Vec<f32>,
}

impl Base {
    /// Runs the first variant's prompts, and what rounding makes of them: their first tokens in a
    /// batch of few rows, which meets other kernels, and the last token in a batch of its own.
    ///
    /// # Errors
    /// The engine's.
    pub fn new(
        prepared: &Prepared,
        engine: &mut dyn Engine,
    ) -> Result<(Self, Option<Drift>), EngineError> {
        let mut prompts = Vec::new();
        let mut sums = Sums::default();
        for tokens in prepared.compared.clone() {
            let positions = spread(tokens.len());
            let few = FEW_ROWS.min(tokens.len() - 1);
            let first: Vec<u32> = (0..few as u32).collect();
            let kept = Kept {
                states: states(engine, &tokens, &[&positions[..], &first].concat())?,
                logits: logits(engine, &tokens, vec![])?,
                positions,
                tokens,
            };
            let last = kept.tokens.len() - 1;
            let shorter = states(engine, &kept.tokens[..few], &first)?;
            let apart = logits(engine, &kept.tokens, vec![last])?;
            sums.add(&kept, &first, &shorter, &apart, engine.facts().n_layer);
            prompts.push(kept);
        }
        Ok((Base { prompts }, sums.drift()))
    }

    /// The drift of another variant; `None` where no prompt has the same tokens for it, or its
    /// states are not of the same layers and width.
    ///
    /// # Errors
    /// The engine's.
    pub fn drift(
        &self,
        prepared: &Prepared,
        engine: &mut dyn Engine,
    ) -> Result<Option<Drift>, EngineError> {
        let mut sums = Sums::default();
        let same = self
            .prompts
            .iter()
            .filter(|kept| prepared.compared.contains(&kept.tokens));
        for kept in same {
            let states = states(engine, &kept.tokens, &kept.positions)?;
            let logits = logits(engine, &kept.tokens, vec![])?;
            let n_layer = engine.facts().n_layer;
            sums.add(kept, &kept.positions, &states, &logits, n_layer);
        }
        Ok(sums.drift())
    }
}

/// The first items' prompts, as many of each task.
pub(super) fn compared(tasks: &[PreparedTask]) -> Vec<Vec<Token>> {
    let each = PROMPTS.div_ceil(tasks.len().max(1));
    let prompts = tasks.iter().flat_map(|task| {
        let items = task.set.items.iter().take(each);
        items.map(|item| item.prompt.tokens.clone())
    });
    let prompts = prompts.filter(|tokens| tokens.len() > 1);
    prompts.take(PROMPTS).collect()
}

/// Positions before the last, from the first on, evenly spread.
fn spread(tokens: usize) -> Vec<u32> {
    let before_last = tokens - 1;
    let mut positions: Vec<u32> = (0..TOKENS)
        .map(|n| (n * before_last / TOKENS) as u32)
        .collect();
    positions.dedup();
    positions
}

fn states(
    engine: &mut dyn Engine,
    tokens: &[Token],
    positions: &[u32],
) -> Result<States, EngineError> {
    let all = engine.captured(tokens, 0, &[Target::Input])?.inputs;
    let mut kept = States::new();
    for ((layer, position), row) in all.iter() {
        if positions.contains(&position) {
            kept.insert(layer, position, row.to_vec());
        }
    }
    Ok(kept)
}

fn logits(
    engine: &mut dyn Engine,
    tokens: &[Token],
    cuts: Vec<usize>,
) -> Result<Vec<f32>, EngineError> {
    let request = Request {
        tokens: tokens.into(),
        cuts,
        ..Request::default()
    };
    engine.logits(&request)
}

/// Sums over prompts and tokens.
#[derive(Default)]
struct Sums {
    prompts: usize,
    tokens: usize,
    layers: Vec<LayerDrift>,
    kl: f64,
    /// Whether something could not be compared.
    unlike: bool,
}

impl Sums {
    fn add(
        &mut self,
        kept: &Kept,
        positions: &[u32],
        states: &States,
        logits: &[f32],
        n_layer: u32,
    ) {
        self.layers.resize(n_layer as usize, LayerDrift::default());
        self.unlike |= logits.len() != kept.logits.len();
        for &position in positions {
            for (layer, sum) in (0..n_layer).zip(&mut self.layers) {
                let pair = (
                    kept.states.get(layer, position),
                    states.get(layer, position),
                );
                let drift = match pair {
                    (Some(a), Some(b)) => LayerDrift::between(a, b),
                    _ => None,
                };
                self.unlike |= drift.is_none();
                let drift = drift.unwrap_or_default();
                sum.cosine += drift.cosine;
                sum.error += drift.error;
            }
            self.tokens += 1;
        }
        // A layer more in the first variant is one that is not compared.
        self.unlike |= kept.states.get(n_layer, kept.positions[0]).is_some();
        if !self.unlike {
            self.kl += kl(&kept.logits, logits).min(f64::MAX);
        }
        self.prompts += 1;
    }

    fn drift(self) -> Option<Drift> {
        let n = self.tokens as f64;
        let mean = |sum: LayerDrift| LayerDrift {
            cosine: sum.cosine / n,
            error: sum.error / n,
        };
        (self.prompts > 0 && !self.unlike).then(|| Drift {
            prompts: self.prompts,
            tokens: self.tokens,
            layers: self.layers.into_iter().map(mean).collect(),
            kl: self.kl / self.prompts as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_spread_before_the_last() {
        assert_eq!(spread(2), [0]);
        assert_eq!(spread(5), [0, 1, 2, 3]);
        assert_eq!(spread(33), [0, 4, 8, 12, 16, 20, 24, 28]);
        assert!(spread(1000).iter().all(|&at| at < 999));
    }
}
