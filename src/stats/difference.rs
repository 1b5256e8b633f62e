//! Whether two curves over the same items lie at different layers.

use super::halfway::hull;
use super::normal::normal_quantile;
use super::profile::{Profile, RESAMPLES, Units, middle};

/// How far apart two half-way layers may be and count as the same, in layers.
pub const SAME_WITHIN: f64 = 1.0;

/// A difference of two half-way layers over the same items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// In layers; a half-way layer below the swept ones or above them counts as one layer beyond.
    pub layers: f64,
    /// Whether both half-way layers were found. Where one was not, there are no intervals.
    pub found: bool,
    /// The paired 95% bootstrap interval, infinite at an end that a sample puts beyond the swept
    /// layers.
    pub interval: (f64, f64),
    /// The 90% interval, for the test of equivalence.
    pub narrow: (f64, f64),
    /// Two-sided p-value of the paired permutation test.
    pub p: f64,
    /// Items.
    pub items: usize,
    /// Whether a half-way layer lies between swept layers that are more than one apart: then
    /// more layers are what it takes, not more items.
    pub coarse: bool,
}

/// What would decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// About so many items more, in four cases of five, if the estimates seen are right.
    Items(usize),
    /// The layers between those swept.
    Layers,
    /// What cannot be told: an interval is infinite, or half of clean is not reached.
    Unknown,
}

/// What can be said of two half-way layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They differ beyond chance and rounding.
    Different,
    /// They differ by less than [`SAME_WITHIN`], beyond reasonable doubt (two one-sided tests).
    Same,
    /// They differ by no more than rounding moves either.
    WithinNoise,
    /// Neither is shown.
    Undecided(Need),
}

/// Units of two profiles over the same items, for one's numbers and then the other's.
fn paired(a: &Profile, b: &Profile) -> Units {
    let n = a.layers.len();
    // A loss in the one that is a gain in the other, and the reverse.
    let extreme = |clean: f64| -> Vec<f64> {
        let of = |clean: f64| {
            let at = std::iter::repeat_n(1.0 - clean, n);
            std::iter::once(clean).chain(at)
        };
        of(clean).chain(of(1.0 - clean)).collect()
    };
    let of_item = |item: usize, values: &mut Vec<f64>| {
        for profile in [a, b] {
            values.push(profile.items[item].clean);
            values.extend_from_slice(&profile.items[item].at);
        }
    };
    Units::new(&a.clusters(), of_item, [extreme(1.0), extreme(0.0)])
}

/// The same units for exchanges: each model's scores are stretched about chance so that both have
/// the same clean mean, which moves neither half-way layer. If the models differ in accuracy and
/// not in their half-way layers, an item's scores could then be either's, to first order.
fn exchanged(a: &Profile, b: &Profile) -> Units {
    let chance = a.chance;
    let clean = |of: &Profile| {
        let sum: f64 = of.items.iter().map(|item| item.clean).sum();
        sum / of.items.len() as f64 - chance
    };
    let common = 0.5 * (clean(a) + clean(b));
    let stretched = [(a, common / clean(a)), (b, common / clean(b))];
    let of_item = |item: usize, values: &mut Vec<f64>| {
        for (profile, by) in stretched {
            let item = &profile.items[item];
            let scores = std::iter::once(item.clean).chain(item.at.iter().copied());
            values.extend(scores.map(|score| chance + by * (score - chance)));
        }
    };
    // No padding is drawn in exchanges.
    let unused = vec![0.0; 2 * (1 + a.layers.len())];
    Units::new(&a.clusters(), of_item, [unused.clone(), unused])
}

impl Profile {
    /// By how many layers `other`'s half-way layer lies above this one's, over the same items.
    /// The interval is a padded paired bootstrap's; the p-value a permutation test's: if the
    /// half-way layers do not differ, either model could have given an item's scores, in units of
    /// its clean mean, so that they are exchanged at random, item by item or cluster by cluster
    /// (Good 2005, "Permutation, Parametric and Bootstrap Tests of Hypotheses", chapter 3). `None` where layers, items or chance are not the same,
    /// or a model has too few items that it scores on.
    pub fn difference(&self, other: &Profile) -> Option<Difference> {
        let items = self.items.len();
        let enough = self.is_enough() && other.is_enough();
        let alike = self.layers == other.layers && self.chance == other.chance;
        if !alike || items != other.items.len() || !enough {
            return None;
        }
        let (&first, &last) = (self.layers.first()?, self.layers.last()?);
        let within = |x: f64| x.clamp(f64::from(first) - 1.0, f64::from(last) + 1.0);
        let units = paired(self, other);
        let half = (units.width - 1) / 2;
        // A profile's numbers stand behind the number of items.
        let place = |sums: &[f64], of: &Profile, from: usize| {
            let mut own = vec![sums[0]];
            own.extend_from_slice(&sums[from..from + half]);
            of.crosses(&own, 0.5)
        };
        let places = |sums: &[f64]| (place(sums, self, 1), place(sums, other, 1 + half));
        let between = |sums: &[f64]| {
            let (a, b) = places(sums);
            within(b) - within(a)
        };
        let sums = units.sums();
        let (a, b) = places(&sums);
        let layers = between(&sums);
        let (mut lows, mut highs) = (Vec::new(), Vec::new());
        units.resample(|sums| {
            let (low, high) = self.apart(places(sums));
            lows.push(low);
            highs.push(high);
        });
        let around = self.apart((a, b));
        let mut ends = |level: f64| {
            let low = middle(&mut lows, level).0.min(around.0);
            (low, middle(&mut highs, level).1.max(around.1))
        };
        let (interval, narrow) = (ends(0.95), ends(0.9));
        let mut as_far = 0;
        exchanged(self, other).exchange(|sums| {
            as_far += usize::from(between(sums).abs() >= layers.abs() - 1e-12);
        });
        let is_coarse = |x: f64| hull(&self.layers, x) != (x, x);
        Some(Difference {
            layers,
            found: a.is_finite() && b.is_finite(),
            interval,
            narrow,
            p: (1 + as_far) as f64 / (1 + RESAMPLES) as f64,
            items,
            coarse: is_coarse(a) || is_coarse(b),
        })
    }

    /// The least and the most that two half-way layers can lie apart: the same where both are
    /// interpolated between neighbouring layers. Two that are beyond the swept layers on the same
    /// side can lie any distance apart.
    fn apart(&self, (a, b): (f64, f64)) -> (f64, f64) {
        if a.is_infinite() && a == b {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        let (a, b) = (hull(&self.layers, a), hull(&self.layers, b));
        (b.0 - a.1, b.1 - a.0)
    }
}

impl Difference {
    /// What can be said, of the p-value `corrected` for all comparisons and of how far rounding
    /// alone moves either layer (`floor`, where that is known).
    pub fn verdict(&self, corrected: f64, floor: Option<f64>) -> Verdict {
        let inside = self.narrow.0 > -SAME_WITHIN && self.narrow.1 < SAME_WITHIN;
        if self.found && inside {
            return Verdict::Same;
        }
        let significant = corrected < 0.05;
        match floor {
            Some(floor) if significant && self.layers.abs() <= floor => Verdict::WithinNoise,
            _ if significant => Verdict::Different,
            _ => Verdict::Undecided(self.need()),
        }
    }

    /// The fewer of two numbers of items, by the width of the interval seen, which narrows with
    /// their root: those that show the layers the same or different with a power of 80%.
    fn need(&self) -> Need {
        if self.coarse {
            return Need::Layers;
        }
        let width = self.interval.1 - self.interval.0;
        if !self.found || !width.is_finite() {
            return Need::Unknown;
        }
        let z = normal_quantile;
        let error = width / (2.0 * z(0.975));
        let n = self.items as f64;
        let by = |distance: f64, quantiles: f64| n * (quantiles * error / distance).powi(2);
        // Equivalence has two ends to miss when the layers are the same.
        let same = by(
            (SAME_WITHIN - self.layers.abs()).max(1e-9),
            z(0.95) + z(0.9),
        );
        let other = by(self.layers.abs().max(1e-9), z(0.975) + z(0.8));
        let more = same.min(other) - n;
        // Two digits are all that such an estimate is worth.
        let digits = 10f64.powf((more.max(10.0).log10().floor() - 1.0).max(0.0));
        Need::Items(((more / digits).ceil() * digits).max(10.0) as usize)
    }
}

/// P-values corrected for their number so that the chance of any false alarm among them stays
/// as stated (Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian
/// Journal of Statistics 6), in their own order.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![1.0; p.len()];
    let mut least: f64 = 0.0;
    for (rank, &n) in order.iter().enumerate() {
        least = least.max((p[n] * (p.len() - rank) as f64).min(1.0));
        corrected[n] = least;
    }
    corrected
}
