//! Intervals.

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
