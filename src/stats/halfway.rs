//! The half-way layer: where half of the clean score is back.

use super::normal::{normal_quantile, t_quantile};
use super::profile::{Profile, Units, middle};

/// Stretches of layers: the first and the last one of each.
type Stretches = Vec<(u32, u32)>;

/// Where half of the clean score is back, going up.
#[derive(Clone, Debug, PartialEq)]
pub enum HalfWay {
    /// Too few items on which the clean model scores.
    TooFew {
        /// How many there are.
        scored: usize,
    },
    /// The score is at or above half of clean at every swept layer.
    Above {
        /// The lowest swept layer.
        lowest: u32,
        /// The upper end of the interval; infinite downwards where even that is below the layer.
        high: f64,
    },
    /// Half of clean is not reached at the top.
    NotReached {
        /// The highest swept layer.
        top: u32,
        /// The lower end of the interval.
        low: f64,
    },
    /// It is found.
    At(Crossing),
}

/// A half-way layer that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossing {
    /// The layer, interpolated between the two that it lies between.
    pub layer: f64,
    /// Lower end of the interval, minus infinity where it is below the swept layers.
    pub low: f64,
    /// Upper end, infinite where it is above them.
    pub high: f64,
    /// The swept layers it lies between, where they are more than one apart: interpolation says
    /// nothing there, and only this and the interval (widened to swept layers) hold.
    pub between: Option<(u32, u32)>,
    /// From a quarter of the clean score to three quarters, in layers; no interval is given, for
    /// none covers in every shape.
    pub rise: Option<f64>,
    /// Layers below that are above half all the same, beyond chance: first and last of each run
    /// of them.
    pub also_above: Vec<(u32, u32)>,
    /// Layers above at which the score falls below three quarters of clean again.
    pub falls: Vec<(u32, u32)>,
}

/// The last upward crossing of `height` by the values `y` at `layers`, linearly interpolated.
/// Minus infinity where all are at or above it, infinity where the last is below. Sums of many
/// scores are rounded: what is equal on paper counts as at the height.
pub fn crossing(layers: &[u32], y: &[f64], height: f64) -> f64 {
    let below = |value: f64| value < height - 1e-12;
    let Some(last) = y.iter().rposition(|&value| below(value)) else {
        return f64::NEG_INFINITY;
    };
    let (Some(&next), Some(&above)) = (y.get(last + 1), layers.get(last + 1)) else {
        return f64::INFINITY;
    };
    let (at, above) = (f64::from(layers[last]), f64::from(above));
    at + (above - at) * (height - y[last]) / (next - y[last])
}

/// The swept layers around `layer` where they are more than one apart, else `layer` twice.
pub(super) fn hull(layers: &[u32], layer: f64) -> (f64, f64) {
    let around = layers
        .windows(2)
        .map(|pair| (f64::from(pair[0]), f64::from(pair[1])))
        .find(|(low, high)| *low <= layer && layer <= *high && high - low > 1.0);
    around.unwrap_or((layer, layer))
}

impl Profile {
    /// Units of items: clean score, score at each layer, and, where a donor was injected, there
    /// that minus the donor's answers.
    pub(super) fn units(&self) -> Units {
        let n = self.layers.len();
        let donors = if self.has_donor() { n } else { 0 };
        let extreme = |clean: f64| {
            let at = std::iter::repeat_n(1.0 - clean, n);
            let over = std::iter::repeat_n(1.0 - 2.0 * clean, donors);
            std::iter::once(clean).chain(at).chain(over).collect()
        };
        let of_item = |item: usize, values: &mut Vec<f64>| {
            let item = &self.items[item];
            values.push(item.clean);
            values.extend_from_slice(&item.at);
            let donor = |k: usize| item.donor.get(k).copied().unwrap_or(0.0);
            values.extend((0..donors).map(|k| item.at[k] - donor(k)));
        };
        Units::new(&self.clusters(), of_item, [extreme(1.0), extreme(0.0)])
    }

    fn has_donor(&self) -> bool {
        self.items.iter().any(|item| !item.donor.is_empty())
    }

    /// Where the score crosses `part` of the way from chance to clean, of sums of units.
    pub(super) fn crosses(&self, sums: &[f64], part: f64) -> f64 {
        let means: Vec<f64> = sums[1..].iter().map(|sum| sum / sums[0]).collect();
        let height = self.level(means[0], part);
        crossing(&self.layers, &means[1..=self.layers.len()], height)
    }

    /// Where it crosses half, without an interval: infinite as [`crossing`].
    pub fn half_way_point(&self) -> f64 {
        self.crosses(&self.units().sums(), 0.5)
    }

    /// The half-way layer (the ED50 of dose and response, the threshold of psychophysics): the
    /// last upward crossing of half of the clean score, or of half way from chance to it, with a
    /// percentile bootstrap over items at the confidence `level`, padded with one item that is
    /// always lost and one that is always won. Where the layers swept lie more than one apart an
    /// end of the interval goes out to the next swept layer.
    pub fn half_way(&self, level: f64) -> HalfWay {
        if !self.is_enough() {
            let scored = self.scored();
            return HalfWay::TooFew { scored };
        }
        let units = self.units();
        let sums = units.sums();
        let point = self.crosses(&sums, 0.5);
        let mut drawn = Vec::new();
        units.resample(|sums| drawn.push(self.crosses(sums, 0.5)));
        let (low, high) = middle(&mut drawn, level);
        let low = hull(&self.layers, low.min(point)).0;
        let high = hull(&self.layers, high.max(point)).1;
        let (lowest, top) = (self.layers[0], self.layers[self.layers.len() - 1]);
        if point == f64::NEG_INFINITY {
            return HalfWay::Above { lowest, high };
        }
        if point == f64::INFINITY {
            return HalfWay::NotReached { top, low };
        }
        let rise = self.crosses(&sums, 0.75) - self.crosses(&sums, 0.25);
        let (also_above, falls) = self.not_monotone(point);
        let around = hull(&self.layers, point);
        HalfWay::At(Crossing {
            layer: point,
            low,
            high,
            between: (around.0 < around.1).then_some((around.0 as u32, around.1 as u32)),
            rise: rise.is_finite().then_some(rise),
            also_above,
            falls,
        })
    }

    /// For `inject`: the layer from which up the original answer is commoner than the donor's
    /// (the last crossing of their difference with zero), with its interval, as [`crossing`]
    /// gives them. `None` without a donor or with too few items.
    pub fn overtakes(&self, level: f64) -> Option<(f64, f64, f64)> {
        if !self.has_donor() || !self.is_enough() {
            return None;
        }
        let units = self.units();
        let over = |sums: &[f64]| crossing(&self.layers, &sums[2 + self.layers.len()..], 0.0);
        let point = over(&units.sums());
        let mut drawn = Vec::new();
        units.resample(|sums| drawn.push(over(sums)));
        let (low, high) = middle(&mut drawn, level);
        let low = hull(&self.layers, low.min(point)).0;
        let high = hull(&self.layers, high.max(point)).1;
        Some((point, low, high))
    }

    /// Runs of layers that a rising curve would not have, beyond chance: above half below the
    /// crossing, with one below half between; and below three quarters above it, with one above
    /// three quarters between. One-sided padded t tests at 5%, Bonferroni over the layers looked
    /// at, for each of the two.
    fn not_monotone(&self, half: f64) -> (Stretches, Stretches) {
        let below: Vec<usize> = self.indices(|layer| layer <= half);
        let above: Vec<usize> = self.indices(|layer| layer > half);
        let critical = |looked_at: usize| {
            normal_quantile(1.0 - 0.05 / looked_at.max(1) as f64)
                * (t_quantile(0.95, self.items.len().max(2) - 1) / normal_quantile(0.95))
        };
        let (z_half, z_most) = (critical(below.len()), critical(above.len()));
        let over = |part| move |k: &usize| self.t_over(*k, part);
        let half_t: Vec<f64> = below.iter().map(over(0.5)).collect();
        let most_t: Vec<f64> = above.iter().map(over(0.75)).collect();
        let bumps = (0..below.len())
            .filter(|&n| half_t[n] >= z_half && half_t[n..].iter().any(|&t| t <= -z_half));
        let dips = (0..above.len())
            .filter(|&n| most_t[n] <= -z_most && most_t[..n].iter().any(|&t| t >= z_most));
        (
            self.runs(bumps.map(|n| below[n])),
            self.runs(dips.map(|n| above[n])),
        )
    }

    fn indices(&self, is: impl Fn(f64) -> bool) -> Vec<usize> {
        let all = 0..self.layers.len();
        all.filter(|&k| is(f64::from(self.layers[k]))).collect()
    }

    /// The t value of the mean of score minus `part` of clean at the k-th layer, its deviation
    /// padded with the two extremes; clusters count as their sums.
    fn t_over(&self, k: usize, part: f64) -> f64 {
        let over = |n: usize| self.items[n].at[k] - self.level(self.items[n].clean, part);
        let sums: Vec<f64> = self
            .clusters()
            .iter()
            .map(|cluster| cluster.iter().map(|&n| over(n)).sum())
            .collect();
        let n = sums.len() as f64;
        let mean = sums.iter().sum::<f64>() / n;
        let size = self.items.len() as f64 / n;
        let ends = [-size * part, size * (1.0 - self.chance * part)];
        let squares: f64 = sums.iter().chain(&ends).map(|x| (x - mean).powi(2)).sum();
        mean / (squares / (n + 1.0) / n).sqrt()
    }

    /// Neighbours among the swept layers, put together: first and last of each run.
    fn runs(&self, indices: impl Iterator<Item = usize>) -> Vec<(u32, u32)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for k in indices {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == k => *last = k,
                _ => runs.push((k, k)),
            }
        }
        let layers = runs.iter();
        layers
            .map(|&(a, b)| (self.layers[a], self.layers[b]))
            .collect()
    }
}

impl HalfWay {
    /// The interval, infinite at an end beyond the swept layers; `None` where none is given.
    pub fn interval(&self) -> Option<(f64, f64)> {
        match self {
            HalfWay::TooFew { .. } => None,
            HalfWay::Above { high, .. } => Some((f64::NEG_INFINITY, *high)),
            HalfWay::NotReached { low, .. } => Some((*low, f64::INFINITY)),
            HalfWay::At(found) => Some((found.low, found.high)),
        }
    }

    /// The layer that was found.
    pub fn found(&self) -> Option<&Crossing> {
        match self {
            HalfWay::At(found) => Some(found),
            _ => None,
        }
    }
}
