//! The cases of each study.

mod adaptive;
mod margins;
mod two;

use super::{Job, Seen, Study, rng};
use crate::stats::simulation::{Curve, Kind, LAYERS, Population};
use crate::stats::{HalfWay, ItemScores, Profile, crossing};

/// Curves with their accuracies and shares of flips: the 27 cases of the half-way layer.
const CASES: [(Curve, f64, f64, f64); 27] = [
    (Curve::Sharp, 0.1, 0.057, 0.3),
    (Curve::Sharp, 0.34, 0.009, 0.85),
    (Curve::Sharp, 0.34, 0.057, 0.3),
    (Curve::Sharp, 0.7, 0.057, 0.3),
    (Curve::Sharp, 0.95, 0.009, 0.85),
    (Curve::Sharp, 0.95, 0.057, 0.3),
    (Curve::Width2, 0.34, 0.057, 0.3),
    (Curve::Width2, 0.8, 0.057, 0.3),
    (Curve::Width4, 0.34, 0.018, 0.88),
    (Curve::Width4, 0.34, 0.057, 0.3),
    (Curve::Width4, 0.8, 0.057, 0.3),
    (Curve::Width6, 0.34, 0.057, 0.3),
    (Curve::Width6, 0.8, 0.057, 0.3),
    (Curve::Dip, 0.34, 0.057, 0.3),
    (Curve::Dip, 0.8, 0.057, 0.3),
    (Curve::Plateau97, 0.34, 0.057, 0.3),
    (Curve::Plateau97, 0.8, 0.057, 0.3),
    (Curve::Plateau90, 0.34, 0.057, 0.3),
    (Curve::Plateau90, 0.8, 0.057, 0.3),
    (Curve::Bump40, 0.34, 0.057, 0.3),
    (Curve::Bump40, 0.8, 0.057, 0.3),
    (Curve::Bump65, 0.34, 0.057, 0.3),
    (Curve::Bump65, 0.8, 0.057, 0.3),
    (Curve::Floor30, 0.34, 0.057, 0.3),
    (Curve::Floor30, 0.8, 0.057, 0.3),
    (Curve::Over, 0.34, 0.057, 0.3),
    (Curve::Over, 0.8, 0.057, 0.3),
];

/// Numbers of items.
const ITEMS: [usize; 5] = [20, 40, 60, 100, 200];

/// Kinds of items beside plain ones, by name.
pub(super) const KINDS: [(&str, Kind); 6] = [
    (
        "2 choices",
        Kind {
            chance: 0.5,
            ..Kind::PLAIN
        },
    ),
    (
        "4 choices",
        Kind {
            chance: 0.25,
            ..Kind::PLAIN
        },
    ),
    (
        "5 questions a passage",
        Kind {
            cluster: 5,
            ..Kind::PLAIN
        },
    ),
    (
        "3 seeds",
        Kind {
            seeds: 3,
            ..Kind::PLAIN
        },
    ),
    (
        "graded scores",
        Kind {
            graded: true,
            ..Kind::PLAIN
        },
    ),
    (
        "graded, 4 a passage",
        Kind {
            graded: true,
            cluster: 4,
            ..Kind::PLAIN
        },
    ),
];

/// What a study simulates.
pub(super) fn jobs(study: Study) -> Vec<Job> {
    match study {
        Study::HalfWay => half_way(),
        Study::Coarse => coarse(),
        Study::Overtakes => overtakes(),
        Study::Ignorable => margins::ignorable(),
        Study::Flags | Study::Dips => flags(study),
        Study::Stopped => adaptive::half_way(),
        Study::StoppedLoss => adaptive::ignorable(),
        Study::Difference | Study::Shift | Study::Same => two::pairs(study),
    }
}

fn case_name(curve: Curve, accuracy: f64, flips: f64) -> String {
    format!(
        "{}, {:.0}% clean, {:.1}% flip",
        curve.name(),
        100.0 * accuracy,
        100.0 * flips
    )
}

/// Whether an interval covers, and its width, where one is given.
pub(super) fn covered(interval: Option<(f64, f64)>, truth: f64) -> Seen {
    Seen {
        share: interval.map(|(low, high)| low <= truth + 1e-9 && truth <= high + 1e-9),
        other: interval
            .map(|(low, high)| high - low)
            .filter(|width| !width.is_nan()),
    }
}

fn half_way() -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut add = |case: String, population: Population, sizes: &[usize]| {
        let truth = population.half_way(&mut rng(7));
        for &items in sizes {
            let population = population.clone();
            jobs.push(Job {
                study: Study::HalfWay,
                case: case.clone(),
                items,
                of: Box::new(move |seed, n| {
                    let found = population.draw(&mut rng(1000 + seed), n).half_way(0.95);
                    covered(found.interval(), truth)
                }),
            });
        }
    };
    for (curve, accuracy, flips, rho) in CASES {
        let population = Population::new(curve, accuracy, flips, rho);
        add(case_name(curve, accuracy, flips), population, &ITEMS);
    }
    for (name, kind) in KINDS {
        for (curve, accuracy) in [
            (Curve::Sharp, 0.34),
            (Curve::Width4, 0.34),
            (Curve::Width4, 0.8),
            (Curve::Floor30, 0.8),
        ] {
            let population = Population::new(curve, accuracy, 0.057, 0.3).of(kind);
            let case = format!("{name}: {}, {:.0}% clean", curve.name(), 100.0 * accuracy);
            let sizes: &[usize] = if kind.cluster > 1 {
                &[60, 100, 200]
            } else {
                &[40, 100, 200]
            };
            add(case, population, sizes);
        }
    }
    jobs
}

/// Every third layer from `offset`.
fn thinned(profile: &Profile, offset: usize) -> Profile {
    let keep: Vec<usize> = (offset..LAYERS).step_by(3).collect();
    let items = profile.items.iter().map(|item| ItemScores {
        at: keep.iter().map(|&k| item.at[k]).collect(),
        ..item.clone()
    });
    Profile {
        items: items.collect(),
        layers: keep.iter().map(|&k| k as u32).collect(),
        chance: profile.chance,
    }
}

fn coarse() -> Vec<Job> {
    let mut jobs = Vec::new();
    for (curve, accuracy) in [
        (Curve::Sharp, 0.34),
        (Curve::Sharp, 0.8),
        (Curve::Width2, 0.34),
        (Curve::Width4, 0.34),
        (Curve::Width6, 0.8),
    ] {
        let population = Population::new(curve, accuracy, 0.057, 0.3);
        let truth = population.half_way(&mut rng(7));
        for offset in 0..3 {
            let population = population.clone();
            jobs.push(Job {
                study: Study::Coarse,
                case: format!(
                    "{}, {:.0}% clean, from layer {offset}",
                    curve.name(),
                    100.0 * accuracy
                ),
                items: 60,
                of: Box::new(move |seed, n| {
                    let drawn = population.draw(&mut rng(1000 + seed), n);
                    covered(thinned(&drawn, offset).half_way(0.95).interval(), truth)
                }),
            });
        }
    }
    jobs
}

/// The donor's answer is given below an item's change by those that know it, independently of
/// whether they are right above.
fn overtakes() -> Vec<Job> {
    let mut jobs = Vec::new();
    for (curve, accuracy) in [
        (Curve::Sharp, 0.34),
        (Curve::Width4, 0.34),
        (Curve::Width4, 0.8),
    ] {
        let own = Population::new(curve, accuracy, 0.018, 0.85);
        let donor = Population::new(curve, 0.8 * accuracy, 0.018, 0.85);
        let (_, up) = own.means(&mut rng(7));
        let (_, down) = donor.means(&mut rng(7));
        let over: Vec<f64> = (0..LAYERS)
            .map(|k| up[k] - (0.8 * accuracy - down[k]))
            .collect();
        let layers: Vec<u32> = (0..LAYERS as u32).collect();
        let truth = crossing(&layers, &over, 0.0);
        for items in [40, 60, 100, 200] {
            let (own, donor) = (own.clone(), donor.clone());
            jobs.push(Job {
                study: Study::Overtakes,
                case: format!("{}, {:.0}% clean", curve.name(), 100.0 * accuracy),
                items,
                of: Box::new(move |seed, n| {
                    let mut random = rng(1000 + seed);
                    let mut drawn = own.draw(&mut random, n);
                    let others = donor.draw(&mut random, n);
                    for (item, other) in drawn.items.iter_mut().zip(&others.items) {
                        // The known share minus what the donor's own curve gives.
                        item.donor = other.at.iter().map(|at| other.clean - at).collect();
                    }
                    covered(
                        drawn.overtakes(0.95).map(|(_, low, high)| (low, high)),
                        truth,
                    )
                }),
            });
        }
    }
    jobs
}

fn flags(study: Study) -> Vec<Job> {
    let mut jobs = Vec::new();
    let curves: &[Curve] = match study {
        Study::Dips => &[
            Curve::Dip,
            Curve::DipHalf,
            Curve::Bump40,
            Curve::Bump65,
            Curve::Bump90,
        ],
        _ => &[
            Curve::Sharp,
            Curve::Width2,
            Curve::Width4,
            Curve::Width6,
            Curve::Plateau97,
            Curve::Plateau90,
            Curve::Floor30,
            Curve::Over,
        ],
    };
    for &curve in curves {
        for accuracy in [0.34, 0.8] {
            let population = Population::new(curve, accuracy, 0.057, 0.3);
            for items in [40, 100, 200] {
                let population = population.clone();
                jobs.push(Job {
                    study,
                    case: format!("{}, {:.0}% clean", curve.name(), 100.0 * accuracy),
                    items,
                    of: Box::new(move |seed, n| {
                        let found = population.draw(&mut rng(1000 + seed), n).half_way(0.95);
                        let share = match found {
                            HalfWay::At(found) => {
                                Some(!(found.also_above.is_empty() && found.falls.is_empty()))
                            }
                            _ => None,
                        };
                        Seen { share, other: None }
                    }),
                });
            }
        }
    }
    jobs
}
