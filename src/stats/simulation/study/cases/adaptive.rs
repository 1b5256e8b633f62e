//! Sweeps that stop when they know.

use super::{case_name, covered};
use crate::stats::simulation::study::{Job, Seen, Study, rng};
use crate::stats::simulation::{Curve, LAYERS, Population, swept};
use crate::stats::{Compared, LOOKS_LEVEL, Margin, Until};

/// Items that there are.
const POOL: usize = 400;

/// The interval of a half-way layer at which a sweep stopped: coverage, and the cells that it took
/// as a share of those of the full grid over the items that it ended with.
pub(super) fn half_way() -> Vec<Job> {
    let until = Until {
        half_way: Some(0.25),
        ignorable: None,
    };
    let mut jobs = Vec::new();
    for (curve, accuracy, flips) in [
        (Curve::Sharp, 0.34, 0.057),
        (Curve::Sharp, 0.34, 0.009),
        (Curve::Sharp, 0.8, 0.057),
        (Curve::Width2, 0.34, 0.057),
        (Curve::Width2, 0.8, 0.057),
        (Curve::Width4, 0.34, 0.018),
        (Curve::Width4, 0.8, 0.057),
        (Curve::Width6, 0.8, 0.057),
        (Curve::Dip, 0.8, 0.057),
        (Curve::Plateau90, 0.8, 0.057),
        (Curve::Bump65, 0.8, 0.057),
        (Curve::Floor30, 0.8, 0.057),
    ] {
        let population = Population::new(curve, accuracy, flips, 0.3);
        let truth = population.half_way(&mut rng(7));
        for items in [100, POOL] {
            let population = population.clone();
            jobs.push(Job {
                study: Study::Stopped,
                case: case_name(curve, accuracy, flips),
                items,
                of: Box::new(move |seed, n| {
                    let drawn = population.draw(&mut rng(1000 + seed), n);
                    let (known, decisions) = swept(&drawn, &until, &Compared::Alone);
                    let window = decisions.half_way.unwrap_or_default();
                    let found = known.profile(&window).half_way(LOOKS_LEVEL);
                    let cells: usize = decisions.asked.at.iter().sum();
                    Seen {
                        other: Some(cells as f64 / (LAYERS * window.items) as f64),
                        ..covered(found.interval(), truth)
                    }
                }),
            });
        }
    }
    jobs
}

/// The top layer's loss is exactly the margin: to claim it at any look is an error.
pub(super) fn ignorable() -> Vec<Job> {
    let mut jobs = Vec::new();
    for (accuracy, flips, rho) in [
        (0.34, 0.009, 0.85),
        (0.34, 0.057, 0.3),
        (0.8, 0.009, 0.85),
        (0.8, 0.057, 0.3),
    ] {
        for share in [0.05, 0.1] {
            let margin = Margin::Points(share);
            let until = Until {
                half_way: None,
                ignorable: Some(margin),
            };
            let edge = Population::at_margin(accuracy, flips, rho, share);
            let none = Population::at_margin(accuracy, flips, rho, 0.0);
            for items in [40, 100, 200, 400] {
                let (edge, none) = (edge.clone(), none.clone());
                let claim = move |population: &Population, seed, n| {
                    let drawn = population.draw(&mut rng(5000 + seed), n);
                    let (_, decisions) = swept(&drawn, &until, &Compared::Alone);
                    decisions.ignorable.and_then(|found| found.from)
                };
                jobs.push(Job {
                    study: Study::StoppedLoss,
                    case: format!(
                        "{margin}, {:.0}% clean, {:.1}% flip",
                        100.0 * accuracy,
                        100.0 * flips
                    ),
                    items,
                    of: Box::new(move |seed, n| Seen {
                        share: Some(claim(&edge, seed, n).is_some()),
                        other: Some(f64::from(u8::from(claim(&none, seed, n) == Some(0)))),
                    }),
                });
            }
        }
    }
    jobs
}
