//! The ignorable layer: from which up a manipulation costs at most a stated margin.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::mean;
use super::normal::{normal_quantile, t_quantile};
use super::profile::Profile;

/// The loss that may be ignored, fixed before looking.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Margin {
    /// Of the score itself: 0.1 is 10 points of a hundred.
    Points(f64),
    /// As a share of the clean score.
    Relative(f64),
}

impl Margin {
    /// 10 points.
    pub const DEFAULT: Margin = Margin::Points(0.1);

    /// The share, of whichever it is.
    pub fn share(self) -> f64 {
        match self {
            Margin::Points(share) | Margin::Relative(share) => share,
        }
    }
}

impl fmt::Display for Margin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = (1e4 * self.share()).round() / 100.0;
        match self {
            Margin::Points(_) if value == 1.0 => write!(f, "1 point"),
            Margin::Points(_) => write!(f, "{value} points"),
            Margin::Relative(_) => write!(f, "{value}% of clean"),
        }
    }
}

impl FromStr for Margin {
    type Err = String;

    /// `10` is ten points, `10%` ten percent of the clean score.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%');
        let value: Option<f64> = number.unwrap_or(text).trim().parse().ok();
        match value.filter(|value| *value > 0.0 && *value < 100.0) {
            Some(value) if number.is_some() => Ok(Margin::Relative(value / 100.0)),
            Some(value) => Ok(Margin::Points(value / 100.0)),
            None => Err(
                "not a margin: points between 0 and 100, as 10, or a share of clean, as 10%".into(),
            ),
        }
    }
}

/// The loss at one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerLoss {
    /// The layer.
    pub layer: u32,
    /// Share of items whose score is lower than in the clean run.
    pub losses: f64,
    /// Share of items whose score is higher.
    pub gains: f64,
    /// The mean loss, in the margin's unit.
    pub loss: f64,
    /// The one-sided upper bound of the loss.
    pub bound: f64,
}

/// What can be ignored.
#[derive(Clone, Debug, PartialEq)]
pub struct Ignorable {
    /// The margin.
    pub margin: Margin,
    /// The confidence of the claim and of the bounds.
    pub level: f64,
    /// The lowest layer such that there and at every swept layer above the loss is at most the
    /// margin, at the confidence asked for.
    pub from: Option<u32>,
    /// Whether the margin is more than half of the clean score: then nothing is claimed, for what
    /// costs half of the score is not to be ignored.
    pub vacuous: bool,
    /// The losses by layer.
    pub by_layer: Vec<LayerLoss>,
}

/// The upper bound of a paired loss: the loss d at which the score test of Tango (1998,
/// "Equivalence test and confidence interval for the difference in proportions for the
/// paired-sample design", Statistics in Medicine 17) with the normal quantile `z` just rejects
/// that it is d or more. `losses` items of `n` were right and are wrong, `gains` the reverse.
pub fn tango_bound(losses: f64, gains: f64, n: f64, z: f64) -> f64 {
    let rejects = |d: f64| {
        let a = 2.0 * n;
        let b = -losses - gains + (2.0 * n - losses + gains) * d;
        let c = -gains * d * (1.0 - d);
        let q = ((b * b - 4.0 * a * c).max(0.0).sqrt() - b) / (2.0 * a);
        let variance = n * (2.0 * q + d * (1.0 - d));
        losses - gains - n * d < -z * variance.max(1e-300).sqrt()
    };
    let start = ((losses - gains) / n).max(-1.0 + 1e-12);
    bisect(start, 1.0, rejects)
}

/// The z value of the claim that the loss is less than `delta` of the clean score: the score test
/// of Nam & Blackwelder (2002, "Analysis of the ratio of marginal probabilities in a matched-pair
/// setting", Statistics in Medicine 21), with the constrained likelihood's maximum found along
/// its one multiplier. Items that are right twice, only in the clean run, only when manipulated,
/// never.
pub fn relative_z(counts: [f64; 4], delta: f64) -> f64 {
    let weights = [delta, delta - 1.0, 1.0, 0.0];
    let n: f64 = counts.iter().sum();
    let cells = || {
        counts
            .iter()
            .zip(weights)
            .filter(|(count, _)| **count > 0.0)
    };
    let slope = |m: f64| cells().map(|(c, w)| c * w / (1.0 + m * w)).sum::<f64>();
    let m = bisect(-1.0, -1.0 / (delta - 1.0), |m| slope(m) <= 0.0);
    let share = |(count, w): (&f64, f64)| (count / (n * (1.0 + m * w)), w);
    let mut variance: f64 = cells().map(share).map(|(p, w)| p * w * w).sum();
    let total: f64 = cells().map(share).map(|(p, _)| p).sum();
    if total < 1.0 - 1e-9 {
        // The rest lies in the empty cell at the end that the multiplier was driven to.
        let end = if m > 0.0 { weights[1] } else { weights[2] };
        variance += (1.0 - total) * end * end;
    }
    let sum: f64 = cells().map(|(count, w)| count * w).sum();
    if variance > 0.0 {
        sum / (n * variance).sqrt()
    } else {
        0.0
    }
}

/// The smallest value between two at which `holds`, which holds above it.
fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    0.5 * (low + high)
}

/// The upper bound of a mean loss: `loss` gives an item's, within `ends`. Student's t with the
/// deviation of the data and one unit at each end; clusters count as their sums (a ratio of
/// sums, Cochran 1977, "Sampling Techniques", chapter 6). Plain t finds a loss too small in up to
/// 13% of samples of 40 graded scores, this one in at most 5%.
fn t_bound(
    clusters: &[Vec<usize>],
    loss: impl Fn(usize) -> f64,
    ends: [f64; 2],
    level: f64,
) -> f64 {
    let items: usize = clusters.iter().map(Vec::len).sum();
    let (g, n) = (clusters.len() as f64, items as f64);
    let sums: Vec<f64> = clusters
        .iter()
        .map(|cluster| cluster.iter().map(|&item| loss(item)).sum())
        .collect();
    let mean = sums.iter().sum::<f64>() / n;
    let left = sums.iter().zip(clusters);
    let left = left.map(|(sum, cluster)| sum - mean * cluster.len() as f64);
    let padding = ends.map(|end| (end - mean) * n / g);
    let squares: f64 = left.chain(padding).map(|x| x * x).sum();
    let error = (squares / (g + 1.0)).sqrt() * g.sqrt() / n;
    mean + t_quantile(level, clusters.len().saturating_sub(1)) * error
}

impl Profile {
    /// From which layer up the manipulation can be ignored: paired tests of non-inferiority with
    /// `margin` at the one-sided confidence `level`, from the top layer down until one fails (an
    /// intersection of claims in a fixed order needs no correction). Scores of 0 and 1 by the
    /// score tests ([`tango_bound`], [`relative_z`]); others, means over seeds and items in
    /// clusters by a padded t.
    pub fn ignorable(&self, margin: Margin, level: f64) -> Ignorable {
        let layers = 0..self.layers.len();
        let by_layer: Vec<LayerLoss> = layers.map(|k| self.loss(k, margin, level)).collect();
        let clean = mean(self.items.iter().map(|item| item.clean));
        let vacuous = match margin {
            Margin::Points(points) => points > 0.5 * clean,
            Margin::Relative(share) => share > 0.5 || clean <= 0.0,
        };
        let holds = |loss: &&LayerLoss| !vacuous && loss.bound <= margin.share();
        let top = by_layer.iter().rev().take_while(holds).last();
        Ignorable {
            margin,
            level,
            from: top.map(|loss| loss.layer),
            vacuous,
            by_layer,
        }
    }

    /// The loss at the `k`-th layer, its bound at the one-sided confidence `level`.
    pub(super) fn loss(&self, k: usize, margin: Margin, level: f64) -> LayerLoss {
        let n = self.items.len() as f64;
        let share = |is: fn(f64, f64) -> bool| {
            let those = self.items.iter().filter(|item| is(item.at[k], item.clean));
            those.count() as f64 / n
        };
        let (losses, gains) = (share(|at, clean| at < clean), share(|at, clean| at > clean));
        let clean: f64 = self.items.iter().map(|item| item.clean).sum();
        let at: f64 = self.items.iter().map(|item| item.at[k]).sum();
        LayerLoss {
            layer: self.layers[k],
            losses,
            gains,
            loss: match margin {
                Margin::Points(_) => (clean - at) / n,
                Margin::Relative(_) => 1.0 - at / clean,
            },
            bound: self.bound(k, margin, level),
        }
    }

    fn bound(&self, k: usize, margin: Margin, level: f64) -> f64 {
        let z = normal_quantile(level);
        let clusters = self.clusters();
        let apart = clusters.len() == self.items.len();
        let binary = |x: f64| x == 0.0 || x == 1.0;
        let items = || self.items.iter();
        let count = |clean: f64, at: f64| {
            items()
                .filter(|i| i.clean == clean && i.at[k] == at)
                .count() as f64
        };
        let counts = [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)].map(|(c, s)| count(c, s));
        let is_binary = apart && items().all(|i| binary(i.clean) && binary(i.at[k]));
        let loss = |keep: f64| move |n: usize| keep * self.items[n].clean - self.items[n].at[k];
        match margin {
            Margin::Points(_) if is_binary => {
                tango_bound(counts[1], counts[2], self.items.len() as f64, z)
            }
            Margin::Points(_) => t_bound(&clusters, loss(1.0), [-1.0, 1.0], level),
            // The share kept, at most 1 as the margin is a loss.
            Margin::Relative(_) if is_binary => {
                bisect(0.0, 1.0 - 1e-9, |d| relative_z(counts, d) >= z)
            }
            Margin::Relative(_) => bisect(0.0, 1.0, |d| {
                t_bound(&clusters, loss(1.0 - d), [-1.0, 1.0 - d], level) <= 0.0
            }),
        }
    }
}
