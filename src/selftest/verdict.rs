//! Verdicts, from single checks up to a manipulation's.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::{EngineError, Outcome, Strategy};
use crate::hook::HookFault;
use crate::intervention::{Kind, Site};
use crate::runtime::RuntimeError;

/// What a check says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Every number agrees to the last bit.
    Exact,
    /// Numbers differ by rounding.
    Within {
        /// Largest difference found.
        difference: f64,
        /// Largest difference allowed.
        tolerance: f64,
    },
    /// The manipulation works, and nothing can be seen of it: no later token reads what it
    /// rewrote.
    Vacuous,
    /// It is refused.
    NotSupported {
        /// Why.
        reason: String,
    },
    /// Numbers disagree.
    Wrong {
        /// What disagrees with what.
        reason: String,
    },
}

impl Verdict {
    /// Judges a difference.
    pub fn of(difference: f64, tolerance: f64) -> Self {
        if difference == 0.0 {
            Verdict::Exact
        } else if difference <= tolerance && difference.is_finite() {
            Verdict::Within {
                difference,
                tolerance,
            }
        } else {
            Verdict::Wrong {
                reason: if tolerance == 0.0 {
                    format!("a difference of {difference:.1e}, none is allowed")
                } else {
                    format!("a difference of {difference:.1e}, {tolerance:.1e} are allowed")
                },
            }
        }
    }

    /// Whether it is [`Verdict::Wrong`].
    pub fn is_wrong(&self) -> bool {
        matches!(self, Verdict::Wrong { .. })
    }

    /// Its name alone.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Exact => "exact",
            Verdict::Within { .. } => "within tolerance",
            Verdict::Vacuous => "vacuous",
            Verdict::NotSupported { .. } => "not supported",
            Verdict::Wrong { .. } => "wrong",
        }
    }

    /// The more serious the later: what was refused or shows nothing says less than a check
    /// that was passed.
    fn gravity(&self) -> (u8, f64) {
        match self {
            Verdict::NotSupported { .. } => (0, 0.0),
            Verdict::Vacuous => (1, 0.0),
            Verdict::Exact => (2, 0.0),
            Verdict::Within {
                difference,
                tolerance,
            } => (3, difference / tolerance),
            Verdict::Wrong { .. } => (4, 0.0),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Within {
                difference,
                tolerance,
            } => write!(f, "within tolerance ({difference:.1e} of {tolerance:.1e})"),
            Verdict::NotSupported { reason } => write!(f, "not supported: {reason}"),
            Verdict::Wrong { reason } => write!(f, "WRONG: {reason}"),
            Verdict::Exact | Verdict::Vacuous => f.write_str(self.name()),
        }
    }
}

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Clean logits with the callback registered, against a context without one.
    Callback,
    /// States, keys and values that the graph's analysis finds, against those that llama.cpp's
    /// own names give.
    Capture,
    /// Another token's state injected into layer 0, against that token in the prompt.
    FirstLayer,
    /// Rows rewritten with themselves, against clean.
    Identity,
    /// Rows in the model after the manipulation, as llama.cpp's own names give them, against
    /// what they should be; rows that it does not name, against clean.
    Rows,
    /// Whether the manipulation moves the logits at all.
    Effect,
    /// Freeze of the residual stream, against freeze of keys and values.
    FreezeByCache,
    /// Skip-attention, against the model with attention output weights of zero.
    SilentWeights,
    /// What a layer adds to the residual stream zeroed, against the model with weights of zero.
    ZeroWeights,
    /// All prior tokens hidden, against the last token with nothing else in the cache.
    Alone,
    /// A prompt in several micro-batches, against one.
    MicroBatches,
    /// Several sequences in one batch, each under its own plan, against each alone.
    Sequences,
    /// The planned strategy, against the straightforward one.
    Planned,
}

impl Check {
    /// What is compared with what, in words.
    pub fn describe(self) -> &'static str {
        match self {
            Check::Callback => "clean logits with the callback, without it",
            Check::Capture => {
                "states, keys and values found through the graph, by llama.cpp's names"
            }
            Check::FirstLayer => "a token's state injected into layer 0, that token in the prompt",
            Check::Identity => "rows rewritten with themselves, clean",
            Check::Rows => "rows in the model after a manipulation, what they should be",
            Check::Effect => "manipulated, clean",
            Check::FreezeByCache => "freeze of the residual stream, of keys and values",
            Check::SilentWeights => "skip-attention, attention output weights of zero",
            Check::ZeroWeights => "what a layer adds zeroed, output weights of zero",
            Check::Alone => "prior tokens hidden, none of them in the cache",
            Check::MicroBatches => "several micro-batches, one",
            Check::Sequences => "several sequences in a batch, each alone",
            Check::Planned => "planned, straightforward",
        }
    }
}

/// A check's verdict on what it was run on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// The manipulation; `None` where the check is about none in particular.
    pub manipulation: Option<Kind>,
    /// Rows of what.
    pub site: Option<Site>,
    /// How it was computed.
    pub strategy: Strategy,
    /// The manipulation's layer; `None` for all at once.
    pub layer: Option<u32>,
    /// What it says.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The most serious of several verdicts.
pub fn worst<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Option<&'a Verdict> {
    verdicts.max_by(|a, b| {
        let ((a, how_near), (b, other)) = (a.gravity(), b.gravity());
        a.cmp(&b).then(how_near.total_cmp(&other))
    })
}

/// The largest difference; infinite where there is none to be had.
pub(super) fn distance(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    // Logits may be infinite, alike in both.
    let differing = a.iter().zip(b).filter(|(a, b)| a != b);
    let differences = differing.map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, |most, d| {
        if d.is_nan() {
            f64::INFINITY
        } else {
            most.max(d)
        }
    })
}

/// The largest difference between the logits of two runs, after the prompt and after every
/// token that was forced on it.
pub(super) fn apart(a: &Outcome, b: &Outcome) -> f64 {
    let after = a.branches.iter().flatten().zip(b.branches.iter().flatten());
    let after = after.map(|(a, b)| distance(a, b)).fold(0.0, f64::max);
    distance(&a.logits, &b.logits).max(after)
}

/// What an error says of a manipulation: refused, since the model has no place for it, or gone
/// wrong. A graph or an order of rows that is not the analysed one is a fault of the analysis.
pub(super) fn failed(error: &EngineError) -> Verdict {
    let refused = match error {
        EngineError::Runtime(error) => matches!(
            error,
            RuntimeError::Hook(
                HookFault::NoAttention(_)
                    | HookFault::NoMlp(..)
                    | HookFault::NoHeads(_)
                    | HookFault::HeadCount { .. }
                    | HookFault::Unread(_)
                    | HookFault::NoMask(_)
                    | HookFault::Weights(_)
                    | HookFault::NoCache(..)
                    | HookFault::Joined(..)
                    | HookFault::Borrowed { .. }
            ) | RuntimeError::Cut(_)
                | RuntimeError::CannotRewind
                | RuntimeError::Mapped
                | RuntimeError::NotSilenced(_)
                | RuntimeError::NoRoom
        ),
        _ => false,
    };
    let reason = error.to_string();
    if refused {
        Verdict::NotSupported { reason }
    } else {
        Verdict::Wrong { reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_judged_by_its_tolerance() {
        assert_eq!(Verdict::of(0.0, 0.0), Verdict::Exact);
        assert_eq!(Verdict::of(0.5, 1.0).name(), "within tolerance");
        assert!(Verdict::of(1.5, 1.0).is_wrong());
        assert!(Verdict::of(f64::NAN, 1.0).is_wrong());
        assert!(Verdict::of(f64::INFINITY, 1.0).is_wrong());
        // A noise that is no number allows nothing.
        assert!(Verdict::of(f64::INFINITY, f64::INFINITY).is_wrong());
        assert!(Verdict::of(1.0, f64::NAN).is_wrong());
    }

    #[test]
    fn the_worst_verdict_counts_and_a_refusal_counts_least() {
        let refused = Verdict::NotSupported { reason: "x".into() };
        let [near, far] = [0.1, 0.9].map(|d| Verdict::of(d, 1.0));
        let wrong = Verdict::of(2.0, 1.0);
        let of = |verdicts: &[&Verdict]| worst(verdicts.iter().copied()).cloned();
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[&refused, &Verdict::Vacuous]), Some(Verdict::Vacuous));
        assert_eq!(of(&[&refused, &Verdict::Exact]), Some(Verdict::Exact));
        assert_eq!(of(&[&far, &near, &Verdict::Exact]), Some(far.clone()));
        assert_eq!(of(&[&wrong, &far]), Some(wrong.clone()));
        // A model whose own noise has no bounds.
        let boundless = Verdict::of(f64::INFINITY, f64::INFINITY);
        assert_eq!(of(&[&boundless, &far, &wrong]), Some(wrong.clone()));
    }
}
