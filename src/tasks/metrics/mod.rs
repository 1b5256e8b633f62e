//! Metrics of free text: how near an answer or a summary is to its references.
//!
//! Each follows the program that published numbers are made with, down to its quirks, because a
//! number is only worth comparing when it is the same number. `tests/metrics.rs` holds them to
//! recorded ones.

mod porter;
pub mod rouge;
pub mod squad;

/// The harmonic mean of precision and recall; 0 where both are.
fn f_measure(precision: f64, recall: f64) -> f64 {
    if precision + recall > 0.0 {
        2.0 * precision * recall / (precision + recall)
    } else {
        0.0
    }
}
