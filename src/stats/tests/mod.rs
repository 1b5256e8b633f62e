//! What the estimates rest on: examples worked by hand or elsewhere, and what must always hold.

mod adaptive;
mod basics;
mod properties;
mod replay;
mod worked;

use super::*;

/// Items that are right at and above the layer with their number in `from`.
fn steps(from: &[usize], n_layer: usize) -> Profile {
    let right = |yes: bool| f64::from(u8::from(yes));
    let item = |&first: &usize| ItemScores {
        clean: 1.0,
        again: Some(1.0),
        at: (0..n_layer).map(|layer| right(layer >= first)).collect(),
        ..ItemScores::default()
    };
    Profile {
        layers: (0..n_layer as u32).collect(),
        chance: 0.0,
        items: from.iter().map(item).collect(),
    }
}

fn close(a: f64, b: f64, by: f64) {
    assert!((a - b).abs() <= by, "{a} is not {b} by {by}");
}
