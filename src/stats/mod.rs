//! Intervals, paired tests, and the layers at which a manipulation stops mattering: pure functions
//! of scores. `docs/statistics.md` says what each rests on and what it was tried on.

mod adaptive;
mod difference;
mod halfway;
mod ignorable;
mod normal;
mod profile;
mod sample_size;
pub mod simulation;
#[cfg(test)]
mod tests;
mod threshold;

pub use adaptive::{Asked, Compared, Decisions, Known, KnownItem, LOOKS_LEVEL, Until, Window};
pub use difference::{Difference, Need, SAME_WITHIN, Verdict, holm};
pub use halfway::{Crossing, HalfWay, crossing};
pub use ignorable::{Ignorable, LayerLoss, Margin, relative_z, tango_bound};
pub use normal::{both_below, normal, normal_quantile, t_quantile};
pub use profile::{FEWEST_ITEMS, ItemScores, Profile, RESAMPLES};
pub use sample_size::Expected;

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
