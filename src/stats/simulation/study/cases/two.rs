//! Two models over the same items.

use super::{KINDS, covered};
use crate::stats::simulation::study::{Job, Seen, Study, rng};
use crate::stats::simulation::{Kind, Population};
use crate::stats::{Difference, Verdict};

pub(super) fn pairs(study: Study) -> Vec<Job> {
    let mut jobs = Vec::new();
    let plain = [
        ("", 1.5, 0.34, 0.34),
        ("", 4.0, 0.34, 0.34),
        ("", 1.5, 0.8, 0.8),
        ("", 4.0, 0.8, 0.8),
        ("", 4.0, 0.8, 0.5),
    ];
    let cases = plain
        .into_iter()
        .map(|case| (case, Kind::PLAIN, [20, 40, 60, 100, 200].to_vec()));
    let others = KINDS
        .into_iter()
        .map(|(name, kind)| ((name, 4.0, 0.8, 0.8), kind, vec![60, 100, 200]));
    for ((name, width, one, two), kind, sizes) in cases.chain(others) {
        let a = Population::logistic(one, 0.057, 0.3, 22.3, width).of(kind);
        let b = Population::logistic(two, 0.057, 0.3, 22.3, width).of(kind);
        let later = b.higher(1.0);
        let at = |population: &Population| population.half_way(&mut rng(7));
        let (none, one_later) = (at(&b) - at(&a), at(&later) - at(&a));
        for items in sizes {
            // Every cell draws data sets of its own: errors of cells that share them would not
            // cancel in the mean.
            let first = 1_000_000 * (1 + jobs.len() as u64);
            let (a, b, later) = (a.clone(), b.clone(), later.clone());
            let name = if name.is_empty() {
                String::new()
            } else {
                format!("{name}: ")
            };
            jobs.push(Job {
                study,
                case: format!(
                    "{name}{width} layers wide, {:.0}% and {:.0}% clean",
                    100.0 * one,
                    100.0 * two
                ),
                items,
                of: Box::new(move |seed, n| {
                    pair(study, (&a, &b, &later), (none, one_later), first + seed, n)
                }),
            });
        }
    }
    jobs
}

/// What a pair without a shift and one with a shift of a layer say.
fn pair(
    study: Study,
    (a, b, later): (&Population, &Population, &Population),
    (none, one_later): (f64, f64),
    seed: u64,
    n: usize,
) -> Seen {
    let difference = |other: &Population| {
        let (one, two) = a.draw_pair(other, &mut rng(seed), n);
        one.difference(&two)
    };
    let flag = |is: bool| f64::from(u8::from(is));
    let same = |d: &Difference| d.verdict(1.0, None) == Verdict::Same;
    match study {
        Study::Difference => {
            let (d, truth) = match seed % 2 {
                0 => (difference(b), none),
                _ => (difference(later), one_later),
            };
            covered(d.filter(|d| d.found).map(|d| d.interval), truth)
        }
        Study::Shift => {
            let rejects = |other| difference(other).map(|d| d.p < 0.05);
            Seen {
                share: rejects(b),
                other: rejects(later).map(flag),
            }
        }
        _ => Seen {
            // A shift a little short of one layer would be the same: the claim is false from
            // one on.
            share: difference(later).map(|d| same(&d)),
            other: difference(b).map(|d| flag(same(&d))),
        },
    }
}
