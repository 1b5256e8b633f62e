//! Worked examples: numbers by hand, from exact distributions, or from other programs (numpy).

use super::{close, steps};
use crate::stats::*;

const Z: f64 = 1.644_853_626_951_472_7;

/// Twenty items, twelve of which the clean model gets right.
fn twenty() -> Profile {
    let first = [2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 5, 9, 9, 9, 9, 9, 9, 9, 9];
    let mut profile = steps(&first, 6);
    profile.items[12..].iter_mut().for_each(|i| i.clean = 0.0);
    profile.items[0].at[4] = 0.0;
    profile.items[15].at[5] = 1.0;
    profile.items[16].at[1] = 1.0;
    profile
}

#[test]
fn a_crossing_by_hand() {
    let layers = [0, 1, 2, 3, 4, 5];
    let y = [0.0, 0.05, 0.2, 0.45, 0.5, 0.65];
    close(crossing(&layers, &y, 0.3), 2.4, 1e-12);
    close(crossing(&layers, &y, 0.15), 1.666_667, 1e-6);
    close(crossing(&layers, &y, 0.45), 3.0, 1e-12);
    let profile = twenty();
    let HalfWay::At(found) = profile.half_way(0.95) else {
        panic!("half of clean is crossed");
    };
    close(found.layer, 2.4, 1e-12);
    // The ends are few values with jumps between: of 200,000 samples the 2.5% quantile is 1, the
    // 2.8% one 1.167; the upper end is 3.167 or 3.25.
    assert!((1.0..1.17).contains(&found.low), "{found:?}");
    close(found.high, 3.22, 0.1);
    close(found.rise.unwrap(), 3.0 - 1.666_667, 1e-6);
    assert_eq!(found.between, None);
    assert_eq!(profile.first_at(0.95), Some(5));
}

#[test]
fn losses_gains_and_bounds_by_layer() {
    let expected = [
        (12.0, 0.0, 0.7576),
        (12.0, 1.0, 0.7304),
        (8.0, 0.0, 0.5814),
        (3.0, 0.0, 0.3218),
        (2.0, 0.0, 0.2617),
        (0.0, 1.0, 0.0751),
    ];
    let profile = twenty();
    let found = profile.ignorable(Margin::Points(0.1), 0.95);
    for (loss, (losses, gains, bound)) in found.by_layer.iter().zip(expected) {
        assert_eq!((20.0 * loss.losses, 20.0 * loss.gains), (losses, gains));
        close(loss.bound, bound, 1e-4);
    }
    let from = |margin| profile.ignorable(Margin::Points(margin), 0.95).from;
    assert_eq!(
        (from(0.1), from(0.2), from(0.3)),
        (Some(5), Some(5), Some(4))
    );
    assert_eq!(from(0.07), None, "not shown even at the top");
}

#[test]
fn dips_bumps_and_no_crossing() {
    let layers = [0, 1, 2, 3, 4, 5];
    close(
        crossing(&layers, &[0.0, 0.1, 0.8, 0.4, 0.9, 1.0], 0.5),
        3.2,
        1e-12,
    );
    let bump = [0.0, 0.7, 0.1, 0.2, 0.9, 1.0];
    close(crossing(&layers, &bump, 0.5), 3.428_571, 1e-6);
    assert_eq!(crossing(&layers, &[0.4; 6], 0.5), f64::INFINITY);
    assert_eq!(crossing(&layers, &[0.5; 6], 0.5), f64::NEG_INFINITY);
    assert_eq!(crossing(&layers, &[0.5 - 1e-13; 6], 0.5), f64::NEG_INFINITY);
}

/// The exact interval comes from the multinomial distribution: 3 + 5.5/17 to 3 + 10/17.
#[test]
fn a_sharp_step_has_an_interval_all_the_same() {
    let HalfWay::At(found) = steps(&[4; 20], 10).half_way(0.95) else {
        panic!("it is crossed");
    };
    close(found.layer, 3.5, 1e-12);
    close(found.low, 3.3235, 0.012);
    close(found.high, 3.5882, 0.012);
}

#[test]
fn score_bounds() {
    for (losses, gains, n, bound) in [
        (0.0, 0.0, 100.0, Z * Z / (100.0 + Z * Z)),
        (0.0, 0.0, 100.0, 0.02634),
        (0.0, 0.0, 50.0, 0.05133),
        (5.0, 3.0, 100.0, 0.07392),
        (2.0, 2.0, 60.0, 0.06793),
        (10.0, 10.0, 100.0, 0.07631),
        (6.0, 0.0, 40.0, 0.26474),
        (0.0, 5.0, 100.0, -0.02234),
        (1.0, 0.0, 30.0, 0.13640),
        (4.0, 1.0, 99.0, 0.07845),
    ] {
        close(tango_bound(losses, gains, n, Z), bound, 1e-4);
    }
}

#[test]
fn relative_margins() {
    close(relative_z([33.0, 1.0, 1.0, 64.0], 0.05), 1.0127, 1e-4);
    close(relative_z([33.0, 1.0, 1.0, 64.0], 0.10), 1.6826, 1e-4);
    close(relative_z([50.0, 0.0, 0.0, 50.0], 0.05), 1.6222, 1e-4);
    close(relative_z([76.0, 4.0, 4.0, 16.0], 0.10), 2.3479, 1e-4);
    // The claim and the bound are one test.
    let mut profile = steps(&[1; 34], 2);
    profile.items[33].at = vec![0.0, 0.0];
    let wrong = ItemScores {
        at: vec![0.0, 0.0],
        ..ItemScores::default()
    };
    profile.items.extend(vec![wrong; 65]);
    profile.items[34].at[1] = 1.0;
    assert_eq!(profile.ignorable(Margin::Relative(0.1), 0.95).from, Some(1));
    assert_eq!(profile.ignorable(Margin::Relative(0.05), 0.95).from, None);
}

#[test]
fn paired_differences() {
    let shift = steps(&[4; 20], 10)
        .difference(&steps(&[6; 20], 10))
        .unwrap();
    close(shift.layers, 2.0, 1e-12);
    close(shift.p, 1.0 / 2001.0, 1e-12);
    close(shift.interval.0, 1.735, 0.06);
    close(shift.interval.1, 2.265, 0.06);
    assert_eq!(shift.verdict(shift.p, Some(0.0)), Verdict::Different);
    assert_eq!(shift.verdict(shift.p, Some(2.0)), Verdict::WithinNoise);
    let mut later = [4; 60];
    later[..6].fill(5);
    let slight = steps(&[4; 60], 10).difference(&steps(&later, 10)).unwrap();
    close(slight.layers, 0.0556, 1e-4);
    close(slight.interval.0, -0.035, 0.03);
    close(slight.interval.1, 0.148, 0.03);
    close(slight.narrow.0, -0.017, 0.03);
    close(slight.narrow.1, 0.133, 0.03);
    assert_eq!(slight.verdict(1.0, None), Verdict::Same);
}

/// Holm's procedure on 0.01, 0.04, 0.03: 0.03, then max(0.03, 0.06), then max(0.06, 0.04).
#[test]
fn holm_by_hand() {
    for (found, expected) in holm(&[0.01, 0.04, 0.03]).iter().zip([0.03, 0.06, 0.06]) {
        close(*found, expected, 1e-12);
    }
    assert!(holm(&[]).is_empty());
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
}

/// The paper's rule: one item of twenty may be lost, two may not.
#[test]
fn the_first_layer_from_which_the_score_stays() {
    let mut from = [4; 20];
    from[0] = 9;
    assert_eq!(steps(&from, 10).first_at(0.95), Some(4));
    from[1] = 9;
    assert_eq!(steps(&from, 10).first_at(0.95), Some(9));
    assert_eq!(steps(&[10; 20], 10).first_at(0.95), None);
    // A dip higher up counts: the score must stay.
    let mut sharp = steps(&[4; 20], 10);
    sharp.items.iter_mut().for_each(|item| item.at[7] = 0.0);
    assert_eq!(sharp.first_at(0.95), Some(8));
}
