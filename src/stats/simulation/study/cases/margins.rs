//! Losses at the edge of a margin.

use super::KINDS;
use crate::stats::Margin;
use crate::stats::simulation::study::{Job, Seen, Study, rng};
use crate::stats::simulation::{LAYERS, Population};

/// The top layer's loss is exactly the margin: to claim it is an error.
pub(super) fn ignorable() -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut add =
        |case: String, items: usize, edge: Population, none: Population, margin: Margin| {
            let claims = move |population: &Population, seed, n| {
                let drawn = population.draw(&mut rng(5000 + seed), n);
                drawn.ignorable(margin, 0.95).from
            };
            let true_loss = |population: &Population| {
                let (clean, at) = population.means(&mut rng(7));
                match margin {
                    Margin::Points(_) => clean - at[LAYERS - 1],
                    Margin::Relative(_) => 1.0 - at[LAYERS - 1] / clean,
                }
            };
            // Graded scores do not lose what their thresholds do: the margin is put at the loss.
            let margin_of = match (edge.kind.graded || edge.kind.chance > 0.0, margin) {
                (false, _) => None,
                (true, Margin::Points(_)) => Some(Margin::Points(true_loss(&edge))),
                (true, Margin::Relative(_)) => Some(Margin::Relative(true_loss(&edge))),
            };
            jobs.push(Job {
                study: Study::Ignorable,
                case,
                items,
                of: Box::new(move |seed, n| {
                    let claimed = match margin_of {
                        None => claims(&edge, seed, n),
                        Some(margin) => {
                            let drawn = edge.draw(&mut rng(5000 + seed), n);
                            drawn.ignorable(margin, 0.95).from
                        }
                    };
                    Seen {
                        share: Some(claimed.is_some()),
                        other: Some(f64::from(u8::from(claims(&none, seed, n) == Some(0)))),
                    }
                }),
            });
        };
    let harmless = |accuracy, flips, rho| Population::at_margin(accuracy, flips, rho, 0.0);
    for (accuracy, flips, rho) in [
        (0.34, 0.009, 0.85),
        (0.34, 0.057, 0.3),
        (0.8, 0.009, 0.85),
        (0.8, 0.057, 0.3),
    ] {
        for margin in [
            Margin::Points(0.1),
            Margin::Points(0.05),
            Margin::Relative(0.1),
            Margin::Relative(0.05),
        ] {
            let loss = match margin {
                Margin::Points(loss) => loss,
                Margin::Relative(share) => share * accuracy,
            };
            for items in [40, 100, 200] {
                let edge = Population::at_margin(accuracy, flips, rho, loss);
                let case = format!(
                    "{margin}, {:.0}% clean, {:.1}% flip",
                    100.0 * accuracy,
                    100.0 * flips
                );
                add(case, items, edge, harmless(accuracy, flips, rho), margin);
            }
        }
    }
    for (name, kind) in KINDS {
        for accuracy in [0.34, 0.8] {
            for margin in [Margin::Points(0.1), Margin::Relative(0.1)] {
                let loss = match margin {
                    Margin::Points(loss) => loss,
                    Margin::Relative(share) => share * accuracy,
                };
                for items in [60, 100, 200] {
                    let edge = Population::at_margin(accuracy, 0.057, 0.3, loss).of(kind);
                    let none = harmless(accuracy, 0.057, 0.3).of(kind);
                    add(
                        format!("{name}: {margin}, {:.0}% clean", 100.0 * accuracy),
                        items,
                        edge,
                        none,
                        margin,
                    );
                }
            }
        }
    }
    jobs
}
