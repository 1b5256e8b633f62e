//! Made-up data whose truth is known, to see whether estimates keep what they promise.
//!
//! An item has a margin z, normal, by which the clean model is right, and a layer t at which it
//! changes: at and above t its margin there is correlated with z by `r`, below with 0.3, noise
//! being an autoregression over layers. `r` is solved from the share of items that flip where the
//! manipulation does no harm. Shapes, shares and correlations are those seen on real rows
//! (SmolLM2-135M, capitals).

pub mod study;

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{
    Asked, Compared, Decisions, ItemScores, Known, KnownItem, Profile, Until, both_below, crossing,
    normal, normal_quantile,
};

/// Layers of a simulated model.
pub const LAYERS: usize = 32;
/// How an item's margin below its change is correlated with that of its clean run.
const BELOW: f64 = 0.3;
/// How much items of one cluster have in common.
const ALIKE: f64 = 0.3;
/// A width from 10% to 90% in units of a logistic's scale.
const SCALES: f64 = 4.394;

/// What is known of a profile once so much of it is asked for.
pub fn revealed(profile: &Profile, asked: &Asked) -> Known {
    let item = |(n, item): (usize, &ItemScores)| KnownItem {
        clean: (n < asked.clean).then_some(item.clean),
        again: item.again.filter(|_| n < asked.clean),
        at: (0..profile.layers.len())
            .map(|k| (n < asked.at[k]).then_some(item.at[k]))
            .collect(),
        donor: Vec::new(),
        chance: profile.chance,
        cluster: item.cluster,
    };
    Known {
        layers: profile.layers.clone(),
        items: profile.items.iter().enumerate().map(item).collect(),
    }
}

/// Sweeps a profile until all is decided: what is known then, and the decisions.
pub fn swept(profile: &Profile, until: &Until, compared: &Compared) -> (Known, Decisions) {
    let mut asked = Asked::none(profile.layers.len());
    loop {
        let known = revealed(profile, &asked);
        let decisions = known.decide(until, &asked, compared);
        if decisions.asked == asked {
            return (known, decisions);
        }
        asked = decisions.asked;
    }
}

/// A curve by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // `Curve::name` says them
pub enum Curve {
    Sharp,
    Width2,
    Width4,
    Width6,
    Dip,
    DipHalf,
    Plateau97,
    Plateau90,
    Bump40,
    Bump65,
    Bump90,
    Floor30,
    Over,
    Early,
    Never,
}

impl Curve {
    /// What it looks like.
    pub fn name(self) -> &'static str {
        match self {
            Curve::Sharp => "sharp step",
            Curve::Width2 => "2 layers wide",
            Curve::Width4 => "4 layers wide",
            Curve::Width6 => "6 layers wide",
            Curve::Dip => "dip above (80%)",
            Curve::DipHalf => "dip above (50%)",
            Curve::Plateau97 => "plateau at 97%",
            Curve::Plateau90 => "plateau at 90%",
            Curve::Bump40 => "bump below (40%)",
            Curve::Bump65 => "bump below (65%)",
            Curve::Bump90 => "bump below (90%)",
            Curve::Floor30 => "floor at 30%",
            Curve::Over => "plateau at 108%",
            Curve::Early => "above half everywhere",
            Curve::Never => "half never reached",
        }
    }
}

/// What items are like, beside their curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kind {
    /// The score of guessing; an item that is not known is right by chance at each layer anew.
    pub chance: f64,
    /// Items of a cluster.
    pub cluster: usize,
    /// Seeds that are averaged.
    pub seeds: usize,
    /// Whether scores are graded, as F1 is: 0 and 1 for clear cases and in between otherwise.
    pub graded: bool,
}

impl Kind {
    /// Independent items that are right or wrong, one seed.
    pub const PLAIN: Kind = Kind {
        chance: 0.0,
        cluster: 1,
        seeds: 1,
        graded: false,
    };
}

/// A population of items.
#[derive(Clone, Debug)]
pub struct Population {
    /// What items are like.
    pub kind: Kind,
    /// Clean accuracy, guesses apart.
    pub accuracy: f64,
    /// The middle of the items' changes, in layers; those of the second model of a pair lie
    /// higher by its shift.
    middle: f64,
    /// The scale of the logistic they follow; 0 is a step.
    scale: f64,
    /// Thresholds of the margin, above and below an item's change.
    above: Vec<f64>,
    below: Vec<f64>,
    /// Correlation of the margin with that of the clean run, and of noise between layers.
    r: f64,
    rho: f64,
}

impl Population {
    /// A curve at a clean accuracy; `flips` is the share of items that are right in the clean
    /// run and wrong at a layer that does no harm at an accuracy of 34% (in proportion to the
    /// variance elsewhere), `rho` the correlation of noise between neighbouring layers.
    pub fn new(curve: Curve, accuracy: f64, flips: f64, rho: f64) -> Self {
        let mut keep = vec![1.0; LAYERS];
        let mut floor = vec![0.005; LAYERS];
        let (mut width, mut middle) = (0.0, 23.5);
        let mut wide = |by: f64, at: f64| (width, middle) = (by, at);
        match curve {
            Curve::Sharp => {}
            Curve::Width2 => wide(2.0, 22.8),
            Curve::Width4 => wide(4.0, 21.3),
            Curve::Width6 => wide(6.0, 20.2),
            Curve::Dip => keep[26..28].fill(0.8),
            Curve::DipHalf => keep[26..28].fill(0.5),
            Curve::Plateau97 => keep.fill(0.97),
            Curve::Plateau90 => keep.fill(0.9),
            Curve::Bump40 => {
                wide(2.0, 22.8);
                floor[8..11].fill(0.4 * accuracy);
            }
            Curve::Bump65 => {
                wide(2.0, 22.8);
                floor[8..11].fill(0.65 * accuracy);
            }
            Curve::Bump90 => {
                wide(2.0, 22.8);
                floor[8..11].fill(0.9 * accuracy);
            }
            Curve::Floor30 => {
                wide(2.0, 22.8);
                floor.fill(0.3 * accuracy);
            }
            Curve::Over => keep[24..].fill(if accuracy < 0.9 { 1.08 } else { 1.0 }),
            Curve::Early => wide(6.0, -1.5),
            Curve::Never => keep.fill(0.4),
        }
        Self::with(accuracy, flips, rho, (middle, width), &keep, &floor)
    }

    /// A logistic curve `width` layers wide about `middle`.
    pub fn logistic(accuracy: f64, flips: f64, rho: f64, middle: f64, width: f64) -> Self {
        let (keep, floor) = ([1.0; LAYERS], [0.005; LAYERS]);
        Self::with(accuracy, flips, rho, (middle, width), &keep, &floor)
    }

    /// No change at any layer but a loss of `loss` (of the score) at all of them: the edge of
    /// what a margin allows.
    pub fn at_margin(accuracy: f64, flips: f64, rho: f64, loss: f64) -> Self {
        let keep = [1.0 - loss / accuracy; LAYERS];
        Self::with(accuracy, flips, rho, (-1.0, 0.0), &keep, &[0.005; LAYERS])
    }

    fn with(
        accuracy: f64,
        flips: f64,
        rho: f64,
        (middle, width): (f64, f64),
        keep: &[f64],
        floor: &[f64],
    ) -> Self {
        let variance = accuracy * (1.0 - accuracy);
        let wanted = (flips * variance / (0.34 * 0.66)).min(0.9 * variance);
        let a = normal_quantile(accuracy);
        let (mut low, mut high) = (0.0, 0.99999);
        for _ in 0..50 {
            let r = 0.5 * (low + high);
            if accuracy - both_below(a, r) > wanted {
                low = r;
            } else {
                high = r;
            }
        }
        let threshold = |p: f64| normal_quantile(p.clamp(1e-9, 1.0 - 1e-9));
        Population {
            kind: Kind::PLAIN,
            accuracy,
            middle,
            scale: width / SCALES,
            above: keep.iter().map(|q| threshold(q * accuracy)).collect(),
            below: floor.iter().map(|f| threshold(*f)).collect(),
            r: 0.5 * (low + high),
            rho,
        }
    }

    /// The same of items of another kind.
    pub fn of(self, kind: Kind) -> Self {
        Population { kind, ..self }
    }

    /// The same `layers` higher.
    pub fn higher(&self, layers: f64) -> Self {
        Population {
            middle: self.middle + layers,
            ..self.clone()
        }
    }

    /// `n` items.
    pub fn draw(&self, rng: &mut impl Rng, n: usize) -> Profile {
        let mut items = Items::new(self.kind, n);
        (0..n).for_each(|_| items.next(rng, &[self]));
        items.profiles.remove(0)
    }

    /// `n` items of two models: margins are correlated by 0.95, changes by 0.9.
    pub fn draw_pair(
        &self,
        other: &Population,
        rng: &mut impl Rng,
        n: usize,
    ) -> (Profile, Profile) {
        let mut items = Items::new(self.kind, n);
        items.profiles.push(items.profiles[0].clone());
        (0..n).for_each(|_| items.next(rng, &[self, other]));
        let second = items.profiles.remove(1);
        (items.profiles.remove(0), second)
    }

    /// The mean scores: of the clean run and at each layer. Exact for plain items; of others the
    /// mean of 100,000.
    pub fn means(&self, rng: &mut impl Rng) -> (f64, Vec<f64>) {
        if self.kind.graded {
            let n = 100_000;
            let drawn = self.draw(rng, n);
            let mean = |of: &dyn Fn(&ItemScores) -> f64| {
                drawn.items.iter().map(of).sum::<f64>() / n as f64
            };
            let at = (0..LAYERS).map(|k| mean(&|item| item.at[k]));
            return (mean(&|item| item.clean), at.collect());
        }
        let guessed = |p: f64| self.kind.chance + (1.0 - self.kind.chance) * p;
        let at = (0..LAYERS).map(|k| {
            let changed = match self.scale {
                0.0 => f64::from(u8::from(k as f64 > self.middle)),
                scale => 1.0 / (1.0 + (-(k as f64 - self.middle) / scale).exp()),
            };
            changed * normal(self.above[k]) + (1.0 - changed) * normal(self.below[k])
        });
        (guessed(self.accuracy), at.map(guessed).collect())
    }

    /// The half-way layer of the population.
    pub fn half_way(&self, rng: &mut impl Rng) -> f64 {
        let (clean, at) = self.means(rng);
        let layers: Vec<u32> = (0..LAYERS as u32).collect();
        let height = self.kind.chance + 0.5 * (clean - self.kind.chance);
        crossing(&layers, &at, height)
    }

    fn score(&self, margin: f64, rng: &mut impl Rng) -> f64 {
        if self.kind.graded {
            return (0.5 + 0.5 * margin).clamp(0.0, 1.0);
        }
        let right = margin > 0.0 || (self.kind.chance > 0.0 && uniform(rng) < self.kind.chance);
        f64::from(u8::from(right))
    }
}

fn uniform(rng: &mut impl Rng) -> f64 {
    normal(gauss(rng))
}

fn gauss(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// Items being drawn.
struct Items {
    profiles: Vec<Profile>,
    kind: Kind,
    /// What the current cluster has in common: margin and change.
    common: (f64, f64),
}

impl Items {
    fn new(kind: Kind, n: usize) -> Self {
        let profile = Profile {
            layers: (0..LAYERS as u32).collect(),
            chance: kind.chance,
            items: Vec::with_capacity(n),
        };
        Items {
            profiles: vec![profile],
            kind,
            common: (0.0, 0.0),
        }
    }

    /// One more item, for each of the populations.
    fn next(&mut self, rng: &mut impl Rng, of: &[&Population]) {
        let n = self.profiles[0].items.len();
        let (mut z, mut v) = (gauss(rng), gauss(rng));
        let cluster = (self.kind.cluster > 1).then(|| n / self.kind.cluster);
        if cluster.is_some() {
            if n.is_multiple_of(self.kind.cluster) {
                self.common = (gauss(rng), gauss(rng));
            }
            let mix = |own: f64, common: f64| (1.0 - ALIKE).sqrt() * own + ALIKE.sqrt() * common;
            (z, v) = (mix(z, self.common.0), mix(v, self.common.1));
        }
        for (m, population) in of.iter().enumerate() {
            let near = |x: f64, r: f64, rng: &mut _| match m {
                0 => x,
                _ => r * x + (1.0 - r * r).sqrt() * gauss(rng),
            };
            let (z, v) = (near(z, 0.95, rng), near(v, 0.9, rng));
            let item = population.item(rng, z, v);
            self.profiles[m].items.push(ItemScores { cluster, ..item });
        }
    }
}

impl Population {
    /// An item of margin `z` whose change lies at the quantile of `v`.
    fn item(&self, rng: &mut impl Rng, z: f64, v: f64) -> ItemScores {
        let u = normal(v).clamp(1e-12, 1.0 - 1e-12);
        let change = self.middle + self.scale * (u / (1.0 - u)).ln();
        let clean = self.score(z + normal_quantile(self.accuracy), rng);
        let mut at = vec![0.0; LAYERS];
        let part = |r: f64| (1.0 - r * r).sqrt();
        for _ in 0..self.kind.seeds {
            let mut noise = gauss(rng);
            for (k, sum) in at.iter_mut().enumerate() {
                noise = self.rho * noise + part(self.rho) * gauss(rng);
                let margin = if k as f64 >= change {
                    self.r * z + part(self.r) * noise + self.above[k]
                } else {
                    BELOW * z + part(BELOW) * noise + self.below[k]
                };
                *sum += self.score(margin, rng) / self.kind.seeds as f64;
            }
        }
        ItemScores {
            clean,
            at,
            ..ItemScores::default()
        }
    }
}
