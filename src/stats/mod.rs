//! Intervals, paired tests, the transition layer.

mod transition;

pub use transition::{Difference, FEWEST_ITEMS, ItemScores, Profile, Transition, holm};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The 97.5% quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The 95% score interval of Wilson (1927, "Probable inference, the law of succession, and
/// statistical inference", JASA 22) for a proportion `p` seen in `n` independent trials.
///
/// `p` may be a mean over several seeds of one item: items are the trials, so that several seeds
/// do not make the interval narrower than the items allow. `(0, 1)` without trials.
pub fn wilson(p: f64, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let n = n as f64;
    let z2 = Z * Z;
    let center = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
    ((center - half).max(0.0), (center + half).min(1.0))
}

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2000;

/// The 95% percentile bootstrap interval of the mean of `values` (Efron & Tibshirani 1993, "An
/// Introduction to the Bootstrap", chapter 13), for scores that are not 0 or 1. Its draws are
/// seeded, so the same values give the same interval. NaN of nothing.
pub fn bootstrap(values: &[f64]) -> (f64, f64) {
    if values.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(1993);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| mean((0..values.len()).map(|_| values[rng.random_range(0..values.len())])))
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLES - 1) as f64 * share).round() as usize];
    (at(0.025), at(0.975))
}

/// The sample standard deviation; `None` of fewer than two values.
pub fn deviation(values: &[f64]) -> Option<f64> {
    let n = values.len();
    let center = mean(values.iter().copied());
    let squares: f64 = values.iter().map(|x| (x - center).powi(2)).sum();
    (n >= 2).then(|| (squares / (n - 1) as f64).sqrt())
}

/// The arithmetic mean; NaN of nothing.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, n) = values
        .into_iter()
        .fold((0.0, 0usize), |(sum, n), x| (sum + x, n + 1));
    sum / n as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn textbook_values() {
        // Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I.
        let close = |(a, b): (f64, f64), (c, d): (f64, f64)| {
            assert!((a - c).abs() < 5e-5 && (b - d).abs() < 5e-5, "{a} {b}");
        };
        close(wilson(81.0 / 263.0, 263), (0.2553, 0.3662));
        close(wilson(15.0 / 148.0, 148), (0.0624, 0.1605));
        close(wilson(0.0, 20), (0.0, 0.1611));
        close(wilson(1.0 / 29.0, 29), (0.0061, 0.1718));
        assert_eq!(wilson(0.5, 0), (0.0, 1.0));
    }

    #[test]
    fn bootstrap_of_known_values() {
        assert_eq!(bootstrap(&[0.5; 9]), (0.5, 0.5));
        assert!(bootstrap(&[]).0.is_nan());
        // The interval of a mean of uniform values is about 1.96 standard errors wide each way.
        let values: Vec<f64> = (0..100).map(|i| f64::from(i) / 99.0).collect();
        let (low, high) = bootstrap(&values);
        let error = 1.96 * deviation(&values).unwrap() / 10.0;
        assert!((low - (0.5 - error)).abs() < 0.01 && (high - (0.5 + error)).abs() < 0.01);
        assert_eq!(bootstrap(&values), (low, high));
        assert_eq!(deviation(&[1.0]), None);
        assert_eq!(deviation(&[1.0, 3.0]), Some(2f64.sqrt()));
    }

    proptest! {
        #[test]
        fn holds_the_proportion_and_narrows(p in 0.0f64..=1.0, n in 1usize..5000) {
            let (low, high) = wilson(p, n);
            prop_assert!((0.0..=1.0).contains(&low) && high <= 1.0);
            prop_assert!(low <= p + 1e-12 && p <= high + 1e-12);
            let (low4, high4) = wilson(p, 4 * n);
            prop_assert!(high4 - low4 < high - low);
        }
    }
}
