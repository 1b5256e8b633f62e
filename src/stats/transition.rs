//! The transition layer: the one from which prior tokens stop mattering, and whether two models
//! differ in it.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::mean;

/// Resamples of the bootstrap and of the permutation test.
const RESAMPLES: usize = 2000;

/// Items that the clean model scores on, below which no transition layer is given: of fewer, one
/// item more or less is a tenth of the score, more than the loss that is looked for.
pub const FEWEST_ITEMS: usize = 10;

/// One item's scores.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemScores {
    /// In the clean run.
    pub clean: f64,
    /// In the same clean run decoded in another batch shape, where that was measured.
    pub again: Option<f64>,
    /// At each layer of [`Profile::layers`]; seeds averaged.
    pub at: Vec<f64>,
}

/// The scores of one model, task and manipulation over the layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The layers swept, ascending.
    pub layers: Vec<u32>,
    /// The items, in an order that profiles to be compared have in common.
    pub items: Vec<ItemScores>,
}

/// Where the transition is.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// A layer was found.
    At {
        /// The layer.
        layer: u32,
        /// Lower end of the 95% bootstrap interval.
        low: u32,
        /// Upper end; `None` where it is beyond the last layer swept.
        high: Option<u32>,
        /// The layer found when the clean run in another batch shape is the measure instead:
        /// how far mere rounding moves it. `None` where that was not measured or finds no layer.
        again: Option<u32>,
    },
    /// Even at the last layer swept the score is below the threshold.
    NoLayer {
        /// The share of bootstrap resamples that do find one.
        found: f64,
    },
    /// Too few items on which the clean model scores.
    TooFew {
        /// How many there are.
        scored: usize,
    },
}

/// A difference of two transitions over the same items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// In layers; a transition that is nowhere counts as one layer beyond the last.
    pub layers: f64,
    /// Its 95% bootstrap interval over items.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Two-sided p-value of the paired permutation test.
    pub p: f64,
}

impl Profile {
    /// The first layer from which up the mean score stays at or above `threshold` times the
    /// clean mean, with a percentile bootstrap over items (Efron & Tibshirani 1993, chapter 13).
    pub fn transition(&self, threshold: f64) -> Transition {
        let scored = self.items.iter().filter(|item| item.clean > 0.0).count();
        if scored < FEWEST_ITEMS {
            return Transition::TooFew { scored };
        }
        let all: Vec<usize> = (0..self.items.len()).collect();
        let mut drawn: Vec<usize> = resamples(all.len())
            .map(|sample| self.first(&sample, threshold))
            .collect();
        drawn.sort_unstable();
        let n = self.layers.len();
        let bound = |share: f64| drawn[((RESAMPLES - 1) as f64 * share).round() as usize];
        let layer = |index: usize| self.layers.get(index).copied();
        match layer(self.first(&all, threshold)) {
            Some(at) => Transition::At {
                layer: at,
                low: layer(bound(0.025)).unwrap_or(at).min(at),
                high: layer(bound(0.975)).map(|high| high.max(at)),
                again: self
                    .measured_again()
                    .and_then(|again| layer(again.first(&all, threshold))),
            },
            None => Transition::NoLayer {
                found: drawn.iter().filter(|index| **index < n).count() as f64 / RESAMPLES as f64,
            },
        }
    }

    /// The same with the clean run in another batch shape as the measure.
    fn measured_again(&self) -> Option<Profile> {
        let items = self.items.iter().map(|item| {
            Some(ItemScores {
                clean: item.again?,
                ..item.clone()
            })
        });
        Some(Profile {
            layers: self.layers.clone(),
            items: items.collect::<Option<_>>()?,
        })
    }

    /// The index of the transition among the layers, their number where there is none.
    fn first(&self, sample: &[usize], threshold: f64) -> usize {
        let items = || sample.iter().map(|&n| &self.items[n]);
        let least = threshold * mean(items().map(|item| item.clean));
        // Sums of many scores are rounded: what is equal on paper must not fall below.
        let holds = |layer: usize| mean(items().map(|item| item.at[layer])) >= least - 1e-12;
        let lost = (0..self.layers.len()).rev().find(|&layer| !holds(layer));
        lost.map_or(0, |layer| layer + 1)
    }

    /// The layer of an index; one beyond the last where there is none.
    fn layer(&self, index: usize) -> f64 {
        let beyond = self.layers.last().map_or(0, |last| last + 1);
        f64::from(self.layers.get(index).copied().unwrap_or(beyond))
    }

    /// By how many layers `other`'s transition lies above this one's, over the same items: a
    /// paired bootstrap gives the interval, and a permutation test the p-value: if the models do
    /// not differ, either could have given an item's scores, so that they are exchanged at
    /// random, item by item (Good 2005, "Permutation, Parametric and Bootstrap Tests of
    /// Hypotheses", chapter 3). `None` where layers or items are not the same, or a model has
    /// too few items that it scores on.
    pub fn difference(&self, other: &Profile, threshold: f64) -> Option<Difference> {
        let n = self.items.len();
        let few = |p: &Profile| p.items.iter().filter(|i| i.clean > 0.0).count() < FEWEST_ITEMS;
        if self.layers != other.layers || n != other.items.len() || few(self) || few(other) {
            return None;
        }
        let between = |a: &Profile, b: &Profile, sample: &[usize]| {
            b.layer(b.first(sample, threshold)) - a.layer(a.first(sample, threshold))
        };
        let all: Vec<usize> = (0..n).collect();
        let seen = between(self, other, &all);
        let mut drawn: Vec<f64> = resamples(n)
            .map(|sample| between(self, other, &sample))
            .collect();
        drawn.sort_by(f64::total_cmp);
        let bound = |share: f64| drawn[((RESAMPLES - 1) as f64 * share).round() as usize];
        let mut rng = ChaCha8Rng::seed_from_u64(1935);
        let (mut a, mut b) = (self.clone(), other.clone());
        let as_far = (0..RESAMPLES).filter(|_| {
            for item in 0..n {
                if rng.random::<bool>() {
                    std::mem::swap(&mut a.items[item], &mut b.items[item]);
                }
            }
            between(&a, &b, &all).abs() >= seen.abs() - 1e-12
        });
        Some(Difference {
            layers: seen,
            low: bound(0.025).min(seen),
            high: bound(0.975).max(seen),
            p: (1 + as_far.count()) as f64 / (1 + RESAMPLES) as f64,
        })
    }
}

/// Samples of `n` items with replacement, the same ones every time.
fn resamples(n: usize) -> impl Iterator<Item = Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(1993);
    (0..RESAMPLES).map(move |_| (0..n).map(|_| rng.random_range(0..n)).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Items that are right at and above the layer with their number in `from`.
    fn profile(from: &[usize], n_layer: usize) -> Profile {
        let right = |yes: bool| f64::from(u8::from(yes));
        Profile {
            layers: (0..n_layer as u32).collect(),
            items: from
                .iter()
                .map(|&first| ItemScores {
                    clean: 1.0,
                    again: Some(1.0),
                    at: (0..n_layer).map(|layer| right(layer >= first)).collect(),
                })
                .collect(),
        }
    }

    #[test]
    fn the_first_layer_from_which_the_score_stays() {
        let mut sharp = profile(&[4; 20], 10);
        let at = |layer, low, high, again| Transition::At {
            layer,
            low,
            high,
            again,
        };
        assert_eq!(sharp.transition(0.95), at(4, 4, Some(4), Some(4)));
        // One item of twenty may be lost, two may not.
        let mut from = [4; 20];
        from[0] = 9;
        assert_eq!(
            profile(&from, 10).first(&(0..20).collect::<Vec<_>>(), 0.95),
            4
        );
        from[1] = 9;
        assert_eq!(
            profile(&from, 10).first(&(0..20).collect::<Vec<_>>(), 0.95),
            9
        );
        // A dip higher up counts: the score must stay.
        for item in &mut sharp.items {
            item.at[7] = 0.0;
            item.again = None;
        }
        assert_eq!(sharp.transition(0.95), at(8, 8, Some(8), None));
    }

    #[test]
    fn nothing_is_made_up() {
        let never = profile(&[10; 20], 10);
        assert_eq!(never.transition(0.95), Transition::NoLayer { found: 0.0 });
        let few = profile(&[2; FEWEST_ITEMS - 1], 10);
        assert_eq!(few.transition(0.95), Transition::TooFew { scored: 9 });
        assert_eq!(few.difference(&few, 0.95), None);
        let mut ignorant = profile(&[2; 30], 10);
        ignorant.items[5..].iter_mut().for_each(|i| i.clean = 0.0);
        assert_eq!(ignorant.transition(0.95), Transition::TooFew { scored: 5 });
        assert_eq!(never.difference(&profile(&[10; 19], 10), 0.95), None);
        assert_eq!(never.difference(&profile(&[10; 20], 9), 0.95), None);
    }

    #[test]
    fn the_interval_widens_with_the_spread_of_items() {
        let from: Vec<usize> = (0..60).map(|n| if n % 12 == 0 { 8 } else { 3 }).collect();
        let Transition::At {
            layer, low, high, ..
        } = profile(&from, 10).transition(0.95)
        else {
            panic!("one is found");
        };
        assert_eq!((layer, low, high), (8, 3, Some(8)));
    }

    #[test]
    fn a_shift_is_found_and_no_difference_is_none() {
        let (low, high) = (profile(&[3; 20], 10), profile(&[6; 20], 10));
        let shift = low.difference(&high, 0.95).unwrap();
        assert_eq!((shift.layers, shift.low, shift.high), (3.0, 3.0, 3.0));
        assert!(shift.p < 0.01, "{shift:?}");
        let back = high.difference(&low, 0.95).unwrap();
        assert_eq!(back.layers, -3.0);
        let same = low.difference(&low, 0.95).unwrap();
        assert_eq!((same.layers, same.p), (0.0, 1.0));
        // Ten layers exist: a transition that is nowhere counts as layer 10.
        let nowhere = low.difference(&profile(&[10; 20], 10), 0.95).unwrap();
        assert_eq!(nowhere.layers, 7.0);
    }

    /// Under the null hypothesis small p-values are as rare as they say.
    #[test]
    fn the_test_keeps_its_level() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut draw = || -> Vec<usize> { (0..24).map(|_| rng.random_range(0..8)).collect() };
        let alarms = (0..60).filter(|_| {
            let (a, b) = (profile(&draw(), 8), profile(&draw(), 8));
            a.difference(&b, 0.6).unwrap().p < 0.05
        });
        assert!(alarms.count() <= 8);
    }

    #[test]
    fn holm_by_hand() {
        // Holm's procedure on 0.01, 0.04, 0.03: 0.03, then max(0.03, 0.06), then max(0.06, 0.04).
        let corrected = holm(&[0.01, 0.04, 0.03]);
        for (found, expected) in corrected.iter().zip([0.03, 0.06, 0.06]) {
            assert!((found - expected).abs() < 1e-12, "{corrected:?}");
        }
        assert!(holm(&[]).is_empty());
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }

    proptest! {
        #[test]
        fn correction_never_lowers_and_keeps_order(p in prop::collection::vec(0.0f64..=1.0, 0..12)) {
            let corrected = holm(&p);
            for (a, c) in p.iter().zip(&corrected) {
                prop_assert!(c >= a && *c <= 1.0);
            }
            for (i, a) in p.iter().enumerate() {
                for (j, b) in p.iter().enumerate() {
                    prop_assert!(a > b || corrected[i] <= corrected[j]);
                }
            }
        }
    }
}
