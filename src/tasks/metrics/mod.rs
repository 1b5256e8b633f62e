//! Metrics of free text: how near an answer or a summary is to its references.
//!
//! Each follows the program that published numbers are made with, down to its quirks, because a
//! number is only worth comparing when it is the same number. `tests/metrics.rs` holds them to
//! recorded ones.

mod porter;
pub mod rouge;
pub mod squad;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The metric that holds the logit difference.
pub const LOGIT_DIFFERENCE: &str = "logit_difference";
/// The metric that holds what guessing among an item's choices scores.
pub const CHANCE: &str = "chance";

/// What a task's score is, always between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The share of right answers, of tasks that generate no text.
    Accuracy,
    /// Whether a generated answer is one of the references, as SQuAD normalizes both.
    Exact,
    /// F1 of the words of a generated answer against the best reference, as SQuAD has it.
    F1,
    /// The mean of ROUGE-1 and ROUGE-L of a generated text against the first reference.
    Rouge,
}

/// The scores of an answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The task's own metric, between 0 and 1.
    pub score: f64,
    /// Whether the answer is right to the letter (after normalization).
    pub correct: bool,
    /// All metrics by name.
    pub metrics: BTreeMap<String, f64>,
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 4] = [Metric::Accuracy, Metric::Exact, Metric::F1, Metric::Rouge];

    /// Its name, for tables and axes.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::Exact => "exact match",
            Metric::F1 => "F1",
            Metric::Rouge => "mean of ROUGE-1 and ROUGE-L",
        }
    }

    /// Whether every score is 0 or 1.
    pub fn is_binary(self) -> bool {
        matches!(self, Metric::Accuracy | Metric::Exact)
    }

    /// Scores a generated text. [`Metric::Accuracy`] is of tasks that generate none; it is 0.
    pub fn score(self, prediction: &str, references: &[String]) -> Scores {
        let words = || {
            let f1 = squad::f1(prediction, references);
            let exact = squad::exact_match(prediction, references);
            let number = f64::from(u8::from(exact));
            let metrics = [("f1", f1), ("exact_match", number)];
            (f1, exact, number, named(&metrics))
        };
        match self {
            Metric::Accuracy => Scores::default(),
            Metric::F1 => {
                let (score, correct, _, metrics) = words();
                Scores {
                    score,
                    correct,
                    metrics,
                }
            }
            Metric::Exact => {
                let (_, correct, score, metrics) = words();
                Scores {
                    score,
                    correct,
                    metrics,
                }
            }
            Metric::Rouge => {
                let reference = references.first().map_or("", String::as_str);
                let r = rouge::rouge(prediction, reference);
                Scores {
                    score: (r.r1 + r.rl) / 2.0,
                    correct: false,
                    metrics: named(&[
                        ("rouge1", r.r1),
                        ("rouge2", r.r2),
                        ("rougeL", r.rl),
                        ("rougeLsum", r.rlsum),
                    ]),
                }
            }
        }
    }
}

fn named(metrics: &[(&str, f64)]) -> BTreeMap<String, f64> {
    let named = metrics
        .iter()
        .map(|(name, value)| (name.to_string(), *value));
    named.collect()
}

/// The harmonic mean of precision and recall; 0 where both are.
fn f_measure(precision: f64, recall: f64) -> f64 {
    if precision + recall > 0.0 {
        2.0 * precision * recall / (precision + recall)
    } else {
        0.0
    }
}
