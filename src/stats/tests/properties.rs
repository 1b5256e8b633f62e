//! What holds whatever the data, and what the simulated truth demands.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{close, steps};
use crate::stats::simulation::{Curve, Kind, LAYERS, Population};
use crate::stats::*;

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

#[test]
fn nothing_is_made_up() {
    let few = steps(&[2; FEWEST_ITEMS - 1], 10);
    assert_eq!(few.half_way(0.95), HalfWay::TooFew { scored: 9 });
    assert_eq!(few.difference(&few), None);
    let mut ignorant = steps(&[2; 30], 10);
    ignorant.items[5..].iter_mut().for_each(|i| i.clean = 0.0);
    assert_eq!(ignorant.half_way(0.95), HalfWay::TooFew { scored: 5 });
    // Thirty questions about three passages are three.
    let mut passages = steps(&[2; 30], 10);
    for (n, item) in passages.items.iter_mut().enumerate() {
        item.cluster = Some(n / 10);
    }
    assert_eq!(passages.half_way(0.95), HalfWay::TooFew { scored: 3 });
    // Half right of two choices is none known.
    let mut guesses = steps(&[2; 40], 10);
    guesses.chance = 0.5;
    guesses.items[20..].iter_mut().for_each(|i| i.clean = 0.0);
    assert_eq!(guesses.half_way(0.95), HalfWay::TooFew { scored: 0 });
    let never = steps(&[10; 20], 10);
    assert!(matches!(
        never.half_way(0.95),
        HalfWay::NotReached { top: 9, .. }
    ));
    let always = steps(&[0; 20], 10);
    assert!(matches!(
        always.half_way(0.95),
        HalfWay::Above { lowest: 0, .. }
    ));
    assert_eq!(never.difference(&steps(&[10; 19], 10)), None);
    assert_eq!(never.difference(&steps(&[10; 20], 9)), None);
    // Both beyond the top: that says nothing of how far apart they are.
    let both = never.difference(&never).unwrap();
    assert!(!both.found && both.verdict(1.0, None) == Verdict::Undecided(Need::Unknown));
    assert!(
        always.ignorable(Margin::DEFAULT, 0.95).from.is_none(),
        "20 items show too little"
    );
    assert_eq!(
        steps(&[3; 60], 10).ignorable(Margin::DEFAULT, 0.95).from,
        Some(3)
    );
}

/// Ten of a hundred are right: to lose them all costs ten points.
#[test]
fn a_margin_as_large_as_the_score_claims_nothing() {
    let mut profile = steps(&[10; 100], 10);
    profile.items[12..].iter_mut().for_each(|i| i.clean = 0.0);
    let found = profile.ignorable(Margin::Points(0.2), 0.95);
    assert!(found.vacuous && found.from.is_none());
    let found = profile.ignorable(Margin::Relative(0.3), 0.95);
    assert!(!found.vacuous && found.from.is_none());
}

#[test]
fn where_layers_are_left_out_the_interval_goes_out_to_swept_ones() {
    let mut coarse = steps(&[20; 40], 30);
    let keep: Vec<usize> = (0..30).step_by(3).collect();
    coarse.layers = keep.iter().map(|&k| k as u32).collect();
    for item in &mut coarse.items {
        item.at = keep.iter().map(|&k| item.at[k]).collect();
    }
    let HalfWay::At(found) = coarse.half_way(0.95) else {
        panic!("it is crossed");
    };
    assert_eq!(
        (found.low, found.high, found.between),
        (18.0, 21.0, Some((18, 21)))
    );
    // Two steps between the same swept layers may lie two layers apart.
    let same = coarse.difference(&coarse).unwrap();
    assert_eq!(same.interval, (-3.0, 3.0));
    assert_eq!(same.verdict(1.0, None), Verdict::Undecided(Need::Layers));
}

#[test]
fn bumps_and_dips_are_told_and_gradual_curves_are_not_accused() {
    let mut profile = steps(&[6; 60], 12);
    for item in &mut profile.items[..45] {
        item.at[2] = 1.0;
        item.at[9] = 0.0;
    }
    let HalfWay::At(found) = profile.half_way(0.95) else {
        panic!("it is crossed");
    };
    assert_eq!(found.layer, 9.0 + 1.0 / 3.0);
    assert_eq!(found.also_above, [(2, 2), (6, 8)]);
    for item in &mut profile.items[..30] {
        item.at[9] = 1.0;
    }
    for item in &mut profile.items[30..36] {
        item.at[9] = 0.0;
    }
    let HalfWay::At(found) = profile.half_way(0.95) else {
        panic!("it is crossed");
    };
    assert_eq!(found.also_above, [(2, 2)]);
    let accused = (0..40).filter(|&seed| {
        let wide = Population::new(Curve::Width6, 0.8, 0.057, 0.3);
        let profile = wide.draw(&mut rng(seed), 100);
        let found = profile.half_way(0.95);
        found
            .found()
            .is_some_and(|c| !c.also_above.is_empty() || !c.falls.is_empty())
    });
    assert!(accused.count() <= 3);
}

#[test]
fn the_donor_is_overtaken_where_answers_change_over() {
    let mut profile = steps(&[6; 40], 12);
    assert_eq!(profile.overtakes(0.95), None);
    for item in &mut profile.items {
        item.donor = item.at.iter().map(|x| 1.0 - x).collect();
    }
    let (layer, low, high) = profile.overtakes(0.95).unwrap();
    close(layer, 5.5, 1e-12);
    assert!(low < 5.5 && 5.5 < high && high - low < 0.5, "{low} {high}");
}

/// A few of the simulations, small: the full ones are `midlayer bench statistics`.
#[test]
fn intervals_cover_and_tests_keep_their_size() {
    let plain = Population::new(Curve::Width4, 0.34, 0.057, 0.3);
    let graded = Kind {
        graded: true,
        ..Kind::PLAIN
    };
    let clustered = Kind {
        cluster: 4,
        ..Kind::PLAIN
    };
    let cases = [plain.clone(), plain.clone().of(graded), plain.of(clustered)];
    for (n, population) in cases.iter().enumerate() {
        let truth = population.half_way(&mut rng(1));
        let mut covered = 0;
        for seed in 0..60 {
            let found = population.draw(&mut rng(100 + seed), 100).half_way(0.95);
            let (low, high) = found.interval().unwrap();
            covered += usize::from(low <= truth && truth <= high);
        }
        assert!(covered >= 53, "case {n}: {covered} of 60");
    }
    let edge = Population::at_margin(0.34, 0.057, 0.3, 0.1);
    let claimed = |n| {
        let sets = (0..200).filter(|&seed| {
            let found = edge.draw(&mut rng(1000 + seed), n);
            found.ignorable(Margin::DEFAULT, 0.95).from.is_some()
        });
        sets.count()
    };
    // The top layer is at the margin: 5% of 200, and three standard errors.
    assert!((1..=20).contains(&claimed(100)), "{}", claimed(100));
}

#[test]
fn a_shift_is_found_and_none_is_not() {
    let low = Population::logistic(0.8, 0.057, 0.3, 20.3, 4.0);
    let high = low.higher(2.0);
    let found = |other: &Population| {
        let sets = (0..12).filter(|&seed| {
            let (a, b) = low.draw_pair(other, &mut rng(seed), 60);
            a.difference(&b).unwrap().p < 0.05
        });
        sets.count()
    };
    assert_eq!(found(&high), 12);
    assert!(found(&low) <= 3);
}

#[test]
fn items_asked_for_are_about_those_it_takes() {
    // Half widths of the document's simulations at 100 items: 0.13, 0.73, 0.61.
    for (accuracy, width, seen) in [(0.34, 1.0, 0.13), (0.34, 4.0, 0.73), (0.8, 6.0, 0.61)] {
        let told = Expected::of(accuracy, width).precision(100);
        assert!((0.75..1.3).contains(&(told / seen)), "{told} {seen}");
    }
    let sharp = Expected::of(0.34, 1.0);
    assert_eq!(
        sharp.items_for_precision(1.0),
        30,
        "ten that the model knows"
    );
    assert!(Expected::of(0.34, 6.0).items_for_precision(0.25) > 400);
    // The score test's power: 50 to 110 items for 10 points at a discordance of 4 to 16%.
    let at = |discordance| Expected {
        discordance,
        ..sharp
    };
    let items = |d: f64, margin| at(d).items_for_margin(margin);
    assert!(
        (40..=60).contains(&items(0.04, 0.1)),
        "{}",
        items(0.04, 0.1)
    );
    assert!(
        (90..=125).contains(&items(0.16, 0.1)),
        "{}",
        items(0.16, 0.1)
    );
    assert!(
        (240..=300).contains(&items(0.1, 0.05)),
        "{}",
        items(0.1, 0.05)
    );
    assert!(at(0.1).power(60, 0.1) < at(0.1).power(120, 0.1));
}

#[test]
fn simulated_items_are_as_they_should_be() {
    let mut rng = rng(3);
    let population = Population::new(Curve::Plateau90, 0.34, 0.057, 0.3);
    let (clean, at) = population.means(&mut rng);
    let drawn = population.draw(&mut rng, 40_000);
    let mean = |of: &dyn Fn(&ItemScores) -> f64| drawn.items.iter().map(of).sum::<f64>() / 40_000.0;
    close(mean(&|i| i.clean), clean, 0.01);
    for k in [0, 23, 24, LAYERS - 1] {
        close(mean(&|i| i.at[k]), at[k], 0.01);
    }
    let harmless = Population::new(Curve::Sharp, 0.34, 0.057, 0.3).draw(&mut rng, 40_000);
    let lost = harmless.items.iter().filter(|i| i.clean > i.at[30]).count();
    close(lost as f64 / 40_000.0, 0.057, 0.005);
}

fn profiles() -> impl Strategy<Value = Profile> {
    (2usize..6, 10usize..40).prop_flat_map(|(layers, items)| {
        let item = (any::<bool>(), prop::collection::vec(any::<bool>(), layers));
        prop::collection::vec(item, items).prop_map(move |items| Profile {
            layers: (0..layers as u32).collect(),
            chance: 0.0,
            items: items
                .into_iter()
                .map(|(clean, at)| ItemScores {
                    clean: f64::from(u8::from(clean)),
                    at: at.into_iter().map(|x| f64::from(u8::from(x))).collect(),
                    ..ItemScores::default()
                })
                .collect(),
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_interval_holds_the_layer_and_the_order_of_items_matters_little(profile in profiles()) {
        let found = profile.half_way(0.95);
        if let Some((low, high)) = found.interval() {
            prop_assert!(low <= high);
            let point = profile.half_way_point();
            prop_assert!(low <= point && point <= high);
            // The wider the level the wider the interval.
            let (low97, high97) = profile.half_way(0.97).interval().unwrap();
            prop_assert!(low97 <= low && high <= high97);
        }
        prop_assert_eq!(&found, &profile.half_way(0.95));
    }

    #[test]
    fn a_model_does_not_differ_from_itself(profile in profiles()) {
        if let Some(same) = profile.difference(&profile) {
            prop_assert_eq!((same.layers, same.p), (0.0, 1.0));
        }
    }

    #[test]
    fn a_difference_is_the_same_the_other_way(a in profiles(), seed in 0u64..99) {
        let mut b = a.clone();
        let n = b.items.len();
        b.items.rotate_left(seed as usize % n);
        if let (Some(there), Some(back)) = (a.difference(&b), b.difference(&a)) {
            prop_assert!((there.layers + back.layers).abs() < 1e-9);
            prop_assert_eq!(there.p, back.p);
        }
    }

    #[test]
    fn bounds_lie_above_losses_and_fall_with_items(losses in 0usize..20, gains in 0usize..20) {
        let n = 60.0;
        let (losses, gains) = (losses as f64, gains as f64);
        let z = normal_quantile(0.95);
        let bound = tango_bound(losses, gains, n, z);
        prop_assert!(bound > (losses - gains) / n);
        prop_assert!(tango_bound(4.0 * losses, 4.0 * gains, 4.0 * n, z) < bound + 1e-9);
        prop_assert!(tango_bound(losses, gains + 1.0, n, z) < bound);
    }

    #[test]
    fn a_wider_margin_never_allows_fewer_layers(profile in profiles(), relative: bool) {
        let margin = |share| if relative { Margin::Relative(share) } else { Margin::Points(share) };
        let lowest = |share| {
            let found = profile.ignorable(margin(share), 0.95);
            if found.vacuous { 0 } else { found.from.unwrap_or(u32::MAX) }
        };
        if profile.items.iter().any(|i| i.clean > 0.0) {
            prop_assert!(lowest(0.3) <= lowest(0.2) && lowest(0.2) <= lowest(0.1));
        }
    }

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
