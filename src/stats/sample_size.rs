//! How many items it takes, from the clean accuracy of a few.

use super::ignorable::tango_bound;
use super::normal::normal_quantile;
use super::profile::FEWEST_ITEMS;

/// What is assumed before a sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The clean score, in (0, 1].
    pub accuracy: f64,
    /// Layers from 10% to 90% of the items' own transitions; 1 or less is a sharp step.
    pub width: f64,
    /// The share of items that are right in the one run and wrong in the other where the
    /// manipulation does no harm.
    pub discordance: f64,
}

impl Expected {
    /// What was seen on real models: discordance in proportion to the variance of a score, 11%
    /// at an accuracy of 34%.
    pub fn of(accuracy: f64, width: f64) -> Self {
        Expected {
            accuracy,
            width,
            discordance: 0.5 * accuracy * (1.0 - accuracy),
        }
    }

    /// Half the width of the 95% interval of the half-way layer that `items` give, in layers.
    ///
    /// The delta method at the crossing: the variance of an item's score there minus half its
    /// clean score over the square of the slope. Of a sharp step the scores of two layers are
    /// averaged and only discordant items (and the two of padding) vary; of a gradual one, a
    /// logistic curve, half of the items that the model knows are right.
    pub fn precision(self, items: usize) -> f64 {
        let n = items as f64;
        let discordant = (self.discordance + 4.0 / n) / 4.0;
        let gradual = (self.width - 1.0).clamp(0.0, 1.0);
        let variance = discordant + gradual * self.accuracy / 4.0;
        // A logistic curve 10-90% wide by w rises by 1.0986 / w a layer in its middle.
        let slope = self.accuracy * (1.0986 / self.width.max(1.0986));
        normal_quantile(0.975) * (variance / n).sqrt() / slope
    }

    /// Items for an interval of the half-way layer of `precision` layers to either side.
    pub fn items_for_precision(self, precision: f64) -> usize {
        let known = (FEWEST_ITEMS as f64 / self.accuracy).ceil() as usize;
        first(known, |n| self.precision(n) <= precision)
    }

    /// Items with which a loss of nothing is shown to be at most `margin` (of the score) in four
    /// cases of five: the power of [`tango_bound`], exactly, over all numbers of losses and gains.
    pub fn items_for_margin(self, margin: f64) -> usize {
        first(FEWEST_ITEMS, |n| self.power(n, margin) >= 0.8)
    }

    /// The chance that `items` show a loss of nothing to be at most `margin`.
    pub fn power(self, items: usize, margin: f64) -> f64 {
        let z = normal_quantile(0.95);
        let n = items as f64;
        let half = (0.5 * self.discordance).clamp(1e-9, 0.5 - 1e-9);
        // Losses are binomial, gains binomial among the rest.
        let losses = binomial(items, half);
        let mut power = 0.0;
        for (b, chance) in losses.iter().enumerate().filter(|(_, p)| **p > 1e-9) {
            // The more gains, the smaller the bound.
            let holds = |g: usize| tango_bound(b as f64, g as f64, n, z) <= margin;
            let rest = items - b;
            let least = if holds(rest) {
                lowest(0, rest, holds)
            } else {
                rest + 1
            };
            let gains = binomial(rest, half / (1.0 - half));
            power += chance * gains.iter().skip(least).sum::<f64>();
        }
        power
    }
}

/// The chances of each number of successes in `n` trials.
fn binomial(n: usize, p: f64) -> Vec<f64> {
    // From the likeliest outward, so that nothing underflows at the start.
    let mode = ((n as f64 + 1.0) * p).floor().min(n as f64) as usize;
    let mut chances = vec![0.0; n + 1];
    chances[mode] = 1.0;
    let odds = p / (1.0 - p);
    for k in mode..n {
        chances[k + 1] = chances[k] * odds * (n - k) as f64 / (k + 1) as f64;
    }
    for k in (0..mode).rev() {
        chances[k] = chances[k + 1] / odds * (k + 1) as f64 / (n - k) as f64;
    }
    let sum: f64 = chances.iter().sum();
    chances.iter().map(|x| x / sum).collect()
}

/// The lowest number within a range at which `holds`, which holds above it and at `high`.
fn lowest(mut low: usize, mut high: usize, holds: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = (low + high) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}

/// The first number from `least` up at which `holds`, to a hundredth of it; at most 100,000.
fn first(least: usize, holds: impl Fn(usize) -> bool) -> usize {
    const MOST: usize = 100_000;
    let mut n = least.max(1);
    while n < MOST && !holds(n) {
        n += (n / 100).max(1);
    }
    n.min(MOST)
}
