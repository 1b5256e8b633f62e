//! Sweeps that stop when they know, replayed from a stored full sweep: 100 capitals under five
//! manipulations at all layers of SmolLM2-135M at Q8_0 (`midlayer sweep -m smollm2-135m:q8_0 --task
//! capitals --manipulate freeze,random,shuffle,skip-attention,inject --layers all --limit 100`).

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::stats::simulation::swept;
use crate::stats::*;

/// Scores as digits, an item each.
#[derive(Deserialize)]
struct Scores {
    items: usize,
    clean: String,
    curves: BTreeMap<String, Curve>,
}

#[derive(Deserialize)]
struct Curve {
    /// The lowest and the highest layer.
    layers: [u32; 2],
    /// A line a layer.
    at: Vec<String>,
    /// Items that it does not run on.
    #[serde(default)]
    without: Vec<usize>,
}

fn digits(line: &str) -> Vec<f64> {
    line.bytes().map(|digit| f64::from(digit - b'0')).collect()
}

fn profile(scores: &Scores, curve: &Curve) -> Profile {
    let all = digits(&scores.clean);
    let clean = (0..scores.items).filter(|n| !curve.without.contains(n));
    let clean: Vec<f64> = clean.map(|n| all[n]).collect();
    let at: Vec<Vec<f64>> = curve.at.iter().map(|line| digits(line)).collect();
    let item = |n: usize| ItemScores {
        clean: clean[n],
        at: at.iter().map(|layer| layer[n]).collect(),
        ..ItemScores::default()
    };
    Profile {
        layers: (curve.layers[0]..=curve.layers[1]).collect(),
        chance: 0.0,
        items: (0..clean.len()).map(item).collect(),
    }
}

/// In twenty orders of the items: the same conclusions as of the full sweep, from a third of its
/// cells.
#[test]
fn any_order_of_items_ends_with_the_full_sweep_s_conclusions() {
    let text = include_str!("../../../tests/golden/demo-scores.json");
    let scores: Scores = serde_json::from_str(text).unwrap();
    let (mut cells, mut full) = (0, 0);
    for (name, curve) in &scores.curves {
        let whole = profile(&scores, curve);
        let HalfWay::At(expected) = whole.half_way(0.95) else {
            panic!("{name}: the full sweep finds none");
        };
        let from = whole.ignorable(Margin::DEFAULT, 0.95).from.unwrap();
        for seed in 0..20 {
            let mut drawn = whole.clone();
            drawn.items.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
            let (known, decisions) = swept(&drawn, &Until::DEFAULT, &Compared::Alone);
            let window = decisions.half_way.clone().unwrap();
            let HalfWay::At(found) = known.profile(&window).half_way(LOOKS_LEVEL) else {
                panic!("{name}, order {seed}: no half-way layer");
            };
            let apart = (found.layer - expected.layer).abs();
            assert!(
                apart <= 0.15,
                "{name}, order {seed}: {found:?}, {expected:?}"
            );
            let width = found.high - found.low;
            assert!(
                width <= 0.5 || window.items == drawn.items.len(),
                "{found:?}"
            );
            let claimed = decisions.ignorable.and_then(|found| found.from);
            let claimed = claimed.unwrap_or_else(|| panic!("{name}, order {seed}: no claim"));
            assert_eq!(claimed, from, "{name}, order {seed}");
            cells += decisions.asked.at.iter().sum::<usize>();
            full += drawn.items.len() * drawn.layers.len();
        }
    }
    assert!(cells * 100 <= full * 35, "{cells} of {full} cells");
}
