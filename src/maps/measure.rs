//! What a map's cells hold.

use super::Tokens;
use crate::engine::{Outcome, kl, logprob};

/// A text that may follow the prompt, by its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed(pub Tokens);

/// A number of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// The natural logarithm of the probability that the answer follows: the sum over its tokens.
    LogProbability(Followed),
    /// The logit of the answer's token less that of the foil's, at the first place where the two
    /// differ and after what they share (Wang et al. 2022, arXiv 2211.00593). Of several foils the
    /// one of the least difference in each run counts. Each differs from the answer somewhere within both.
    LogitDifference(Followed, Vec<Followed>),
    /// KL divergence of the next token's distribution from the clean one, nats.
    Kl,
}

impl Measure {
    /// What the numbers of an answer's log-probability are, in words.
    pub fn of_answer() -> &'static str {
        "log-probability of the answer, nats"
    }

    /// What those of an answer beside a foil are, in words.
    pub fn of_foil() -> &'static str {
        "logit of the answer less that of the foil"
    }

    /// What the numbers are, in words.
    pub fn name(&self) -> &'static str {
        match self {
            Measure::LogProbability(_) => Self::of_answer(),
            Measure::LogitDifference(..) => Self::of_foil(),
            Measure::Kl => "KL divergence of the next token from the clean run, nats",
        }
    }

    /// Tokens to force after the prompt, so that the measure can be taken.
    pub(super) fn continuations(&self) -> Vec<Tokens> {
        let forced = match self {
            Measure::LogProbability(answer) => answer.0[..answer.0.len() - 1].to_vec(),
            Measure::LogitDifference(answer, foils) => {
                let shared = foils.iter().map(|foil| shared(answer, foil));
                answer.0[..shared.max().unwrap_or(0)].to_vec()
            }
            Measure::Kl => Vec::new(),
        };
        if forced.is_empty() {
            vec![]
        } else {
            vec![forced]
        }
    }

    /// The number of a run, beside the clean one.
    pub(super) fn of(&self, clean: &Outcome, outcome: &Outcome) -> f64 {
        match self {
            Measure::LogProbability(answer) => {
                let each = answer
                    .0
                    .iter()
                    .enumerate()
                    .map(|(n, token)| logprob(outcome.after(0, n), *token));
                each.sum()
            }
            Measure::LogitDifference(answer, foils) => {
                let each = foils.iter().map(|foil| {
                    let at = shared(answer, foil);
                    let logits = outcome.after(0, at);
                    let logit = |of: &Followed| f64::from(logits[of.0[at].0 as usize]);
                    logit(answer) - logit(foil)
                });
                each.fold(f64::INFINITY, f64::min)
            }
            Measure::Kl => kl(&clean.logits, &outcome.logits),
        }
    }
}

/// How many tokens two texts begin with in common.
fn shared(a: &Followed, b: &Followed) -> usize {
    let pairs = a.0.iter().zip(&b.0);
    pairs.take_while(|(a, b)| a == b).count()
}

impl Followed {
    /// Whether the two differ somewhere within both.
    pub fn differs(&self, other: &Followed) -> bool {
        shared(self, other) < self.0.len().min(other.0.len())
    }
}
