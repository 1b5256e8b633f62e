//! Quantiles of the normal and of Student's distribution.

use std::f64::consts::{FRAC_PI_2, PI};

/// The density of the standard normal distribution at `x`.
fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// The chance that a standard normal value is at most `x`: the series of Marsaglia (2004,
/// "Evaluating the normal distribution", Journal of Statistical Software 11), to 1e-15.
pub fn normal(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while sum + term != sum {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    (0.5 + sum * density(x)).clamp(0.0, 1.0)
}

/// The standard normal quantile of `share` in (0, 1), by bisection to 1e-14 (`normal(quantile(p))`
/// is `p`). Infinite at 0 and 1.
pub fn normal_quantile(share: f64) -> f64 {
    if share <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if share >= 1.0 {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Student's t quantile of `share` in (0.5, 1) at `freedom` degrees of freedom: Hill (1970,
/// "Algorithm 396: Student's t-quantiles", CACM 13), four digits or better. Infinite without a
/// degree of freedom.
pub fn t_quantile(share: f64, freedom: usize) -> f64 {
    if freedom == 0 {
        return f64::INFINITY;
    }
    let n = freedom as f64;
    let p = 2.0 * (1.0 - share);
    if freedom == 1 {
        return (FRAC_PI_2 * p).cos() / (FRAC_PI_2 * p).sin();
    }
    if freedom == 2 {
        return (2.0 / (p * (2.0 - p)) - 2.0).sqrt();
    }
    let a = 1.0 / (n - 0.5);
    let b = 48.0 / (a * a);
    let mut c = ((20700.0 * a / b - 98.0) * a - 16.0) * a + 96.36;
    let d = ((94.5 / (b + c) - 3.0) / b + 1.0) * (a * FRAC_PI_2).sqrt() * n;
    let mut y = (d * p).powf(2.0 / n);
    if y > a + 0.05 {
        let x = normal_quantile(0.5 * p);
        y = x * x;
        if freedom < 5 {
            c += 0.3 * (n - 4.5) * (x + 0.6);
        }
        c += (((0.05 * d * x - 5.0) * x - 7.0) * x - 2.0) * x + b;
        y = (((((0.4 * y + 6.3) * y + 36.0) * y + 94.5) / c - y - 3.0) / b + 1.0) * x;
        y = (a * y * y).exp_m1();
    } else {
        let over = ((n + 6.0) / (n * y) - 0.089 * d - 0.822) * (n + 2.0) * 3.0;
        y = ((1.0 / over + 0.5 / (n + 4.0)) * y - 1.0) * (n + 1.0) / (n + 2.0) + 1.0 / y;
    }
    (n * y).sqrt()
}

/// The chance that two standard normal values of correlation `r` are both at most `a`:
/// Plackett's integral (1954, Biometrika 41) in the angle, by Simpson's rule.
pub fn both_below(a: f64, r: f64) -> f64 {
    const STEPS: usize = 200;
    let step = r.clamp(-1.0, 1.0).asin() / STEPS as f64;
    let height = |n: usize| {
        let sine = (n as f64 * step).sin();
        (-a * a / (1.0 + sine)).exp() / (2.0 * PI)
    };
    let inner: f64 = (1..STEPS)
        .map(|n| if n % 2 == 1 { 4.0 } else { 2.0 } * height(n))
        .sum();
    normal(a).powi(2) + step / 3.0 * (height(0) + inner + height(STEPS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_from_tables() {
        let close = |a: f64, b: f64, by: f64| assert!((a - b).abs() < by, "{a} {b}");
        close(normal(1.0), 0.841_344_746_068_543, 1e-14);
        close(normal(-3.0), 0.001_349_898_031_630_09, 1e-14);
        close(normal_quantile(0.975), 1.959_963_984_540_054, 1e-12);
        close(normal_quantile(0.95), 1.644_853_626_951_472_7, 1e-12);
        for (freedom, t) in [(1, 6.313_75), (2, 2.919_99), (3, 2.353_36), (4, 2.131_85)] {
            close(t_quantile(0.95, freedom), t, 2e-3);
        }
        for (freedom, t) in [
            (9, 1.833_11),
            (19, 1.729_13),
            (99, 1.660_39),
            (999, 1.646_38),
        ] {
            close(t_quantile(0.95, freedom), t, 1e-4);
        }
        // Orthant probability: 1/4 + asin(r) / (2 pi).
        close(both_below(0.0, 0.5), 0.25 + 1.0 / 12.0, 1e-10);
        close(both_below(0.7, 0.0), normal(0.7).powi(2), 1e-12);
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert!(t_quantile(0.95, 0).is_infinite());
    }

    proptest! {
        #[test]
        fn the_quantile_undoes_the_distribution(p in 1e-6f64..0.999_999) {
            prop_assert!((normal(normal_quantile(p)) - p).abs() < 1e-10);
        }

        #[test]
        fn t_falls_to_the_normal(freedom in 3usize..400) {
            let (wide, narrow) = (t_quantile(0.95, freedom), t_quantile(0.95, freedom + 1));
            prop_assert!(wide >= narrow - 1e-6 && narrow > 1.6448);
        }
    }
}
