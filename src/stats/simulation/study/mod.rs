//! The studies behind `docs/statistics.md`: how often intervals cover, tests reject what is true
//! and find what is there.

mod cases;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::stats::{normal_quantile, tango_bound};

/// A number of a study and what it may be.
#[derive(Clone, Debug)]
pub struct Line {
    /// The study.
    pub study: Study,
    /// The case.
    pub case: String,
    /// Items.
    pub items: usize,
    /// Data sets that count: those in which anything is said.
    pub sets: usize,
    /// What is promised: a coverage or a size.
    pub share: f64,
    /// What it costs: the median width of the interval in layers, or the power.
    pub other: f64,
}

/// What is studied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Study {
    /// The interval of the half-way layer: coverage, median width.
    HalfWay,
    /// The same where every third layer was swept.
    Coarse,
    /// The layer at which the original answer overtakes the donor's.
    Overtakes,
    /// The claim that a loss is within the margin, at its edge: size; without a loss: power.
    Ignorable,
    /// The interval of a difference of half-way layers: coverage, median width.
    Difference,
    /// The permutation test: size; power at a shift of one layer.
    Shift,
    /// The claim "the same within 1 layer" at a shift of one layer: size; power at none.
    Same,
    /// Flags of a curve that is not monotone, on curves that are: size.
    Flags,
    /// The same on curves that are not: power.
    Dips,
    /// The half-way layer of a sweep that stops when its interval is narrow: coverage, share of the
    /// full grid's cells.
    Stopped,
    /// The claim that a loss is within the margin, at the first look that allows it: size; power
    /// without a loss.
    StoppedLoss,
}

impl Study {
    /// All of them.
    pub const ALL: [Study; 11] = [
        Study::HalfWay,
        Study::Coarse,
        Study::Overtakes,
        Study::Ignorable,
        Study::Difference,
        Study::Shift,
        Study::Same,
        Study::Flags,
        Study::Dips,
        Study::Stopped,
        Study::StoppedLoss,
    ];

    /// A title, and what the two numbers are.
    pub fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Study::HalfWay => ("half-way layer", "coverage", "median width, layers"),
            Study::Coarse => (
                "half-way layer, every third layer swept",
                "coverage",
                "median width, layers",
            ),
            Study::Overtakes => (
                "layer at which the original answer overtakes",
                "coverage",
                "median width, layers",
            ),
            Study::Ignorable => ("a loss at most the margin", "size", "power without a loss"),
            Study::Difference => (
                "difference of half-way layers",
                "coverage",
                "median width, layers",
            ),
            Study::Shift => ("permutation test", "size", "power, shift of 1 layer"),
            Study::Same => (
                "same within 1 layer",
                "size, shift of 1 layer",
                "power without a shift",
            ),
            Study::Stopped => (
                "half-way layer, stopped at 0.25 layers",
                "coverage",
                "median share of the cells",
            ),
            Study::StoppedLoss => (
                "a loss at most the margin, at four looks",
                "size",
                "power without a loss",
            ),
            Study::Flags => ("flag \"not monotone\"", "size", "-"),
            Study::Dips => ("flag \"not monotone\" where it is due", "power", "-"),
        }
    }

    /// Whether the first number is a coverage or a power, which may not be low; a size may not be
    /// high.
    pub fn is_coverage(self) -> bool {
        matches!(
            self,
            Study::HalfWay
                | Study::Coarse
                | Study::Overtakes
                | Study::Difference
                | Study::Dips
                | Study::Stopped
        )
    }

    /// What the first number should be; a power may be anything, of which half varies most.
    pub fn promised(self) -> f64 {
        match self {
            Study::Dips => 0.5,
            study if study.is_coverage() => 0.95,
            _ => 0.05,
        }
    }
}

/// Something to be simulated: data sets of so many items.
struct Job {
    study: Study,
    case: String,
    items: usize,
    of: Box<dyn Fn(u64, usize) -> Seen + Sync + Send>,
}

/// What one data set says: whether the promise was kept (a truth covered, a false claim made),
/// and the width or whether what is there was found. `None` where nothing is said.
struct Seen {
    share: Option<bool>,
    other: Option<f64>,
}

/// Runs a study with `sets` data sets a case, on all processors; `told` hears of each case that
/// is done.
pub fn run(study: Study, sets: usize, told: impl Fn(usize, usize) + Sync) -> Vec<Line> {
    let jobs = cases::jobs(study);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let lines: Mutex<Vec<(usize, Line)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((n, job)) = {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    jobs.get(n).map(|job| (n, job))
                } {
                    let line = job.line(sets);
                    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                    lines.push((n, line));
                    told(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
                }
            });
        }
    });
    let mut lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
    lines.sort_by_key(|(n, _)| *n);
    lines.into_iter().map(|(_, line)| line).collect()
}

impl Job {
    fn line(&self, sets: usize) -> Line {
        let seen: Vec<Seen> = (0..sets as u64)
            .map(|seed| (self.of)(seed, self.items))
            .collect();
        let kept: Vec<bool> = seen.iter().filter_map(|s| s.share).collect();
        let mut other: Vec<f64> = seen.iter().filter_map(|s| s.other).collect();
        other.sort_by(f64::total_cmp);
        let other = match self.study.is_coverage() {
            true => other.get(other.len() / 2).copied().unwrap_or(f64::NAN),
            false => other.iter().sum::<f64>() / other.len() as f64,
        };
        Line {
            study: self.study,
            case: self.case.clone(),
            items: self.items,
            sets: kept.len(),
            share: kept.iter().filter(|k| **k).count() as f64 / kept.len() as f64,
            other,
        }
    }
}

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// The exact size of [`tango_bound`]'s claim, by enumeration of losses and gains: the largest over
/// the share of gains from 0 to 20%.
pub fn exact_size(items: usize, margin: f64) -> f64 {
    let z = normal_quantile(0.95);
    let n = items as f64;
    let log_factorial: Vec<f64> = (0..=items)
        .scan(0.0, |sum, k| {
            *sum += (k.max(1) as f64).ln();
            Some(*sum)
        })
        .collect();
    let claims: Vec<(usize, usize)> = (0..=items)
        .flat_map(|b| (0..=items - b).map(move |g| (b, g)))
        .filter(|&(b, g)| tango_bound(b as f64, g as f64, n, z) <= margin)
        .collect();
    let size = |gain: f64| {
        let loss = gain + margin;
        let power = |k: usize, p: f64| if k == 0 { 0.0 } else { k as f64 * p.ln() };
        let chance = |&(b, g): &(usize, usize)| {
            let rest = items - b - g;
            let ways =
                log_factorial[items] - log_factorial[b] - log_factorial[g] - log_factorial[rest];
            (ways + power(b, loss) + power(g, gain) + power(rest, 1.0 - loss - gain)).exp()
        };
        claims.iter().map(chance).sum::<f64>()
    };
    (0..=40).map(|n| size(n as f64 * 0.005)).fold(0.0, f64::max)
}
