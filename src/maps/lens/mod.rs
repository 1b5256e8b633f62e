//! The logit lens as a map: what a model's head says of each token's state at each layer, and the
//! layer from which on its prediction stays.

mod picture;
mod svg;

use std::ops::ControlFlow;

pub use picture::LensPicture;
pub use svg::written;

use crate::engine::{Engine, EngineError, Planned, Prompt, Spread, rank, top};
use crate::runtime::Token;

/// How many of the likeliest tokens are kept of each state.
const KEPT: usize = 5;

/// What the head says of every state of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Lens {
    /// The layers that the states enter, the columns. The last is the number of layers: the states
    /// that leave the last one, of which the head says what the model itself says.
    pub layers: Vec<u32>,
    /// The tokens' positions, the rows.
    pub positions: Vec<u32>,
    /// By token, then by layer.
    pub said: Vec<Vec<Said>>,
}

/// What the head says of one state: the distribution of the token that follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The five likeliest tokens with the natural logarithms of their probabilities.
    pub top: Vec<(Token, f64)>,
    /// Entropy in nats.
    pub entropy: f64,
    /// How the answer asked about stands.
    pub answer: Option<Standing>,
}

/// How a token stands in a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// Its rank; 1 is the likeliest.
    pub rank: usize,
}

impl Said {
    fn of(logits: &[f32], answer: Option<Token>) -> Self {
        let spread = Spread::of(logits);
        let logprob = |logit: f32| f64::from(logit) - spread.log_sum;
        let best = top(logits, KEPT).into_iter();
        Self {
            top: best.map(|(token, logit)| (token, logprob(logit))).collect(),
            entropy: spread.entropy,
            answer: answer.map(|token| Standing {
                logprob: logprob(logits[token.0 as usize]),
                rank: rank(logits, token),
            }),
        }
    }

    /// The likeliest token.
    pub fn likeliest(&self) -> Token {
        self.top[0].0
    }
}

impl Lens {
    /// Looks at the states of the tokens at `positions` where they enter `layers`, and where they
    /// leave the last one. `answer` is a token to follow. `told` is given the number of layers that
    /// are done and of all; it may stop the rest.
    ///
    /// # Errors
    /// Those of [`Planned::lens`]; a token that the model does not have.
    pub fn of(
        engine: &mut Planned,
        prompt: &Prompt,
        (layers, positions): (&[u32], &[u32]),
        answer: Option<Token>,
        told: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Self, EngineError> {
        let n_layer = engine.facts().n_layer;
        let threads = engine.inspect().options().threads as usize;
        let mut layers = layers.to_vec();
        layers.push(n_layer);
        let mut said = vec![Vec::new(); positions.len()];
        let mut done = 0;
        engine.lens(&prompt.tokens, &layers, &mut |reading| {
            let end = reading.first + reading.logits.len() as u32;
            let here = |at: &u32| (reading.first..end).contains(at);
            let rows: Vec<usize> = (0..positions.len())
                .filter(|n| here(&positions[*n]))
                .collect();
            let logits: Vec<&[f32]> = rows
                .iter()
                .map(|n| reading.logits[(positions[*n] - reading.first) as usize])
                .collect();
            for (row, one) in rows.into_iter().zip(all_said(&logits, answer, threads)) {
                said[row].push(one);
            }
            done += usize::from(end as usize == prompt.tokens.len());
            told(done, layers.len())
        })?;
        Ok(Self {
            positions: positions.to_vec(),
            said,
            layers,
        })
    }

    /// For each token the column from which on its likeliest token is that of the last one: where
    /// the prediction is there and stays.
    pub fn commitments(&self) -> Vec<usize> {
        let column = |said: &Vec<Said>| {
            let last = said.last().map(Said::likeliest);
            let before = said.iter().rposition(|one| Some(one.likeliest()) != last);
            before.map_or(0, |column| column + 1)
        };
        self.said.iter().map(column).collect()
    }

    /// A column's name: its layer, `out` for what leaves the last one.
    pub fn column(&self, column: usize) -> String {
        match column + 1 == self.layers.len() {
            true => "out".into(),
            false => self.layers[column].to_string(),
        }
    }
}

/// What is said of each row, some rows on each thread.
fn all_said(logits: &[&[f32]], answer: Option<Token>, threads: usize) -> Vec<Said> {
    let share = logits.len().div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = logits
            .chunks(share)
            .map(|rows| scope.spawn(|| rows.iter().map(|row| Said::of(row, answer)).collect()))
            .collect();
        let parts = parts.into_iter().map(|part| {
            let part: Vec<Said> = part.join().expect("reading logits does not panic");
            part
        });
        parts.flatten().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_is_there_from_where_it_stays() {
        let lens = |tops: &[i32]| Lens {
            layers: (0..tops.len() as u32).collect(),
            positions: vec![0],
            said: vec![
                tops.iter()
                    .map(|id| Said {
                        top: vec![(Token(*id), 0.0)],
                        entropy: 0.0,
                        answer: None,
                    })
                    .collect(),
            ],
        };
        assert_eq!(lens(&[1, 2, 3]).commitments(), [2]);
        // On top once before, but it did not stay.
        assert_eq!(lens(&[3, 2, 3, 3]).commitments(), [2]);
        assert_eq!(lens(&[3, 3]).commitments(), [0]);
    }
}
