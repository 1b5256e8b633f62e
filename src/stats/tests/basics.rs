//! Intervals of shares and means.

use crate::stats::*;
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
