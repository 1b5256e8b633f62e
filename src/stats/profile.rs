//! The scores of one model, task and manipulation, and samples of their items.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Samples of a bootstrap and of a permutation test.
pub const RESAMPLES: usize = 2000;

/// Items that the clean model scores on (clusters, where items come in clusters), below which no
/// layer is estimated: the padding of two would outweigh them.
pub const FEWEST_ITEMS: usize = 10;

/// One item's scores, each from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemScores {
    /// In the clean run.
    pub clean: f64,
    /// In the same clean run decoded in another batch shape, where that was measured.
    pub again: Option<f64>,
    /// At each layer of [`Profile::layers`]; seeds averaged.
    pub at: Vec<f64>,
    /// Whether the answer at each layer is the donor's; empty unless a donor was injected.
    pub donor: Vec<f64>,
    /// The cluster the item belongs to, as the passage that several questions are about. Items
    /// without one are independent of all others.
    pub cluster: Option<usize>,
}

/// The scores of one model, task and manipulation over the layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// The layers swept, ascending.
    pub layers: Vec<u32>,
    /// The score of guessing: one over the choices of a task of choices, 0 of free answers.
    pub chance: f64,
    /// The items, in an order that profiles to be compared have in common.
    pub items: Vec<ItemScores>,
}

impl Profile {
    /// The items' numbers, those of one cluster together.
    pub(super) fn clusters(&self) -> Vec<Vec<usize>> {
        clusters(self.items.iter().map(|item| item.cluster))
    }

    /// Clusters with an item that the clean model scores on: items, where none has a cluster.
    /// With a chance level it is how many it seems to know: those right beyond what guessing
    /// gives.
    pub fn scored(&self) -> usize {
        if self.chance > 0.0 {
            let right: f64 = self.items.iter().map(|item| item.clean).sum();
            let guessed = self.chance * self.items.len() as f64;
            return ((right - guessed) / (1.0 - self.chance)).max(0.0).floor() as usize;
        }
        let known = |cluster: &Vec<usize>| cluster.iter().any(|&n| self.items[n].clean > 0.0);
        self.clusters().iter().filter(|c| known(c)).count()
    }

    /// Whether a layer can be estimated: enough items that the clean model scores on, and, where
    /// guessing scores too, half way from chance to clean more than 3.5 standard errors of a mean
    /// away from either. Below that the noise of guesses crosses it at any layer, and the interval
    /// of the half-way layer covers in as few as 78% of simulated data sets.
    pub(super) fn is_enough(&self) -> bool {
        if self.scored() < FEWEST_ITEMS || self.layers.is_empty() {
            return false;
        }
        let n = self.items.len() as f64;
        let clean = self.items.iter().map(|item| item.clean).sum::<f64>() / n;
        let half = self.level(clean, 0.5);
        let error = (half * (1.0 - half) / n).sqrt();
        self.chance == 0.0 || half - self.chance >= 3.5 * error
    }

    /// The score that lies `part` of the way from chance to the clean one.
    pub(super) fn level(&self, clean: f64, part: f64) -> f64 {
        self.chance + part * (clean - self.chance)
    }

    /// The same with the clean run in another batch shape as the measure; `None` where that was
    /// not measured.
    pub fn measured_again(&self) -> Option<Profile> {
        let items = self.items.iter().map(|item| {
            Some(ItemScores {
                clean: item.again?,
                ..item.clone()
            })
        });
        Some(Profile {
            items: items.collect::<Option<_>>()?,
            ..self.clone()
        })
    }
}

/// Numbers of items, those of one cluster together, in the order of their first ones.
pub(super) fn clusters(of: impl Iterator<Item = Option<usize>>) -> Vec<Vec<usize>> {
    let mut known: BTreeMap<usize, usize> = BTreeMap::new();
    let mut clusters: Vec<Vec<usize>> = Vec::new();
    for (n, cluster) in of.enumerate() {
        let place = cluster.map(|c| *known.entry(c).or_insert(clusters.len()));
        match place {
            Some(place) if place < clusters.len() => clusters[place].push(n),
            _ => clusters.push(vec![n]),
        }
    }
    clusters
}

/// What is drawn together: an item or a cluster of them, as sums of what is measured.
pub(super) struct Units {
    /// Numbers of a unit: how many items, then the sums.
    pub(super) width: usize,
    /// Units after each other; of the whole data, without padding.
    rows: Vec<f64>,
    /// Two more units of the extremes, which a draw may take too.
    padding: [Vec<f64>; 2],
}

impl Units {
    /// Units of the clusters: `values` gives an item's numbers, `extremes` those of the two
    /// pseudo-items. Where items come in clusters a pseudo-unit has as many items as a cluster
    /// has on average.
    pub(super) fn new(
        clusters: &[Vec<usize>],
        values: impl Fn(usize, &mut Vec<f64>),
        extremes: [Vec<f64>; 2],
    ) -> Self {
        let width = 1 + extremes[0].len();
        let mut rows = Vec::with_capacity(clusters.len() * width);
        let mut of_item = Vec::with_capacity(width);
        for cluster in clusters {
            let start = rows.len();
            rows.resize(start + width, 0.0);
            for &item in cluster {
                of_item.clear();
                of_item.push(1.0);
                values(item, &mut of_item);
                add(&mut rows[start..], &of_item);
            }
        }
        let items: usize = clusters.iter().map(Vec::len).sum();
        let size = items as f64 / clusters.len().max(1) as f64;
        let padding = extremes.map(|values| {
            let unit = std::iter::once(1.0).chain(values);
            unit.map(|x| size * x).collect()
        });
        Units {
            width,
            rows,
            padding,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len() / self.width
    }

    fn row(&self, n: usize) -> &[f64] {
        match n.checked_sub(self.len()) {
            None => &self.rows[n * self.width..][..self.width],
            Some(extra) => &self.padding[extra],
        }
    }

    /// The sums over all units as they are.
    pub(super) fn sums(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.width];
        (0..self.len()).for_each(|n| add(&mut sums, self.row(n)));
        sums
    }

    /// The sums of [`RESAMPLES`] samples of as many units as there are, drawn with replacement
    /// from these and the two of padding (Efron & Tibshirani 1993, "An Introduction to the
    /// Bootstrap", chapter 13; the padding as in Agresti & Min's adjustment: without it a step in
    /// which no item differs from another would have an interval of no width). The same samples
    /// every time.
    pub(super) fn resample(&self, mut each: impl FnMut(&[f64])) {
        let mut rng = ChaCha8Rng::seed_from_u64(1993);
        let n = self.len();
        let mut sums = vec![0.0; self.width];
        for _ in 0..RESAMPLES {
            sums.fill(0.0);
            for _ in 0..n {
                add(&mut sums, self.row(rng.random_range(0..n + 2)));
            }
            each(&sums);
        }
    }

    /// The sums of [`RESAMPLES`] arrangements in which each unit's two halves are exchanged or
    /// not, at random: the numbers after the first are those of one model, then of another.
    pub(super) fn exchange(&self, mut each: impl FnMut(&[f64])) {
        let mut rng = ChaCha8Rng::seed_from_u64(1935);
        let half = (self.width - 1) / 2;
        let mut sums = vec![0.0; self.width];
        for _ in 0..RESAMPLES {
            sums.fill(0.0);
            for n in 0..self.len() {
                let row = self.row(n);
                if rng.random::<bool>() {
                    sums[0] += row[0];
                    add(&mut sums[1..=half], &row[1 + half..]);
                    add(&mut sums[1 + half..], &row[1..=half]);
                } else {
                    add(&mut sums, row);
                }
            }
            each(&sums);
        }
    }
}

fn add(sums: &mut [f64], values: &[f64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// The ends of the middle `level` of the values, which are put in order.
pub(super) fn middle(values: &mut [f64], level: f64) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    (at(0.5 * (1.0 - level)), at(0.5 * (1.0 + level)))
}
