//! Which requests are computed together: classes that treat what their texts begin with alike, and
//! waves of classes that fit into the cache side by side.

use super::route::Route;
use super::texts::Texts;
use super::{Job, Planned, WAVE_CELLS};
use crate::hook::CacheFill;

/// Requests that do the same at the same layers to what their texts have in common, so that it
/// is computed once for them.
pub(super) struct Class<'j> {
    pub(super) jobs: Vec<&'j Job<'j>>,
    /// The first row that differs from the clean run.
    pub(super) first_row: usize,
}

impl Class<'_> {
    pub(super) fn route(&self) -> Route {
        self.jobs[0].route
    }

    pub(super) fn layer(&self) -> u32 {
        self.route().layer()
    }

    /// Whether rows of the common prefix are computed once for all.
    pub(super) fn has_base(&self, common: usize) -> bool {
        self.jobs.len() > 1 && self.first_row < common
    }

    /// The first row that each request computes for itself.
    pub(super) fn own_from(&self, common: usize) -> usize {
        if self.has_base(common) {
            common
        } else {
            self.first_row
        }
    }

    fn has_tails(&self) -> bool {
        self.jobs.iter().any(|job| job.has_tails())
    }

    /// Keys and values that later tokens read must be right in all layers.
    pub(super) fn cache(&self) -> CacheFill {
        match (self.has_tails(), self.route()) {
            (true, _) => CacheFill::All,
            (false, Route::Silent { .. }) => CacheFill::None,
            (false, _) => CacheFill::FromFirst,
        }
    }
}

/// Rows up to which another layer's rows join a batch: a batch of fewer rows costs as much.
const SMALL: usize = 16;

impl Planned {
    /// Sorts jobs into classes and classes into waves.
    pub(super) fn waves<'j>(&self, jobs: &'j [Job<'j>], texts: &Texts) -> Vec<Vec<Class<'j>>> {
        let mut classes: Vec<Class<'j>> = Vec::new();
        for job in jobs {
            let same = classes.iter_mut().rev().find(|class| {
                let first = class.jobs[0];
                first.route == job.route && same_prefix(first, job, texts.common)
            });
            match same {
                Some(class) => class.jobs.push(job),
                None => classes.push(Class {
                    jobs: vec![job],
                    first_row: match job.route {
                        Route::Rows { row, .. } => row as usize,
                        Route::Frozen { .. } => 0,
                        _ => job.request.tokens.len() - 1,
                    },
                }),
            }
        }
        // Requests with the same route stand together, whatever their order was.
        classes.sort_by_key(Class::route);
        let holding = texts.texts.iter().filter(|text| text.sequence.is_some());
        let own = holding.map(|text| text.tokens.len() - texts.common);
        let held = own.sum::<usize>() + texts.common;
        let cells = WAVE_CELLS.saturating_sub(held);
        let sequences = self.sequences.free.len();
        let mut waves: Vec<Vec<Class<'j>>> = Vec::new();
        let mut left = (0, 0);
        for class in classes {
            let base = usize::from(class.has_base(texts.common));
            let own_from = class.own_from(texts.common);
            let base_cells = base * (own_from - class.first_row);
            let costs: Vec<(usize, usize)> =
                class.jobs.iter().map(|job| cost(job, own_from)).collect();
            let whole = costs
                .iter()
                .fold((base, base_cells), |a, b| (a.0 + b.0, a.1 + b.1));
            let fits =
                |left: (usize, usize), cost: (usize, usize)| cost.0 <= left.0 && cost.1 <= left.1;
            let full = (sequences, cells);
            if waves.is_empty() || (!fits(left, whole) && (fits(full, whole) || left != full)) {
                waves.push(Vec::new());
                left = full;
            }
            // A class too large for any wave goes in parts.
            let first_row = class.first_row;
            let mut part: Vec<&'j Job<'j>> = Vec::new();
            let reserve = |left: (usize, usize)| {
                (
                    left.0.saturating_sub(base),
                    left.1.saturating_sub(base_cells),
                )
            };
            left = reserve(left);
            for (job, cost) in class.jobs.into_iter().zip(costs) {
                if !fits(left, cost) && !part.is_empty() {
                    let jobs = std::mem::take(&mut part);
                    let wave = waves.last_mut().expect("pushed above");
                    wave.push(Class { jobs, first_row });
                    waves.push(Vec::new());
                    left = reserve(full);
                }
                left = (left.0.saturating_sub(cost.0), left.1.saturating_sub(cost.1));
                part.push(job);
            }
            let wave = waves.last_mut().expect("pushed above");
            wave.push(Class {
                jobs: part,
                first_row,
            });
        }
        waves
    }
}

/// (sequences, cells) that a job takes, its tails included. A single tail goes on in its
/// prompt's cells, several have sequences of their own.
fn cost(job: &Job, own_from: usize) -> (usize, usize) {
    let request = job.request;
    let (tails, tail_cells) = request.tails();
    let n = request.tokens.len();
    let (prompt, cells) = match job.route {
        Route::Clean => (usize::from(tails > 0), 0),
        Route::Silent { .. } => (1, 1),
        _ => (1, n - own_from),
    };
    let tails = if tails > 1 { tails } else { 0 };
    (prompt + tails, cells + tail_cells)
}

fn same_prefix(a: &Job, b: &Job, common: usize) -> bool {
    let (a, b) = (&a.request, &b.request);
    a.manipulate_generated == b.manipulate_generated
        && a.plan.len() == b.plan.len()
        && a.plan
            .iter()
            .zip(&b.plan)
            .all(|(a, b)| a.same_below(b, common as u32))
}

/// Classes that are computed in one batch: those of one layer, and small ones of neighbouring
/// layers.
pub(super) fn bundles<'c, 'j>(
    classes: &'c [&'c Class<'j>],
    common: usize,
) -> Vec<&'c [&'c Class<'j>]> {
    let rows = |class: &Class| -> usize {
        let own_from = class.own_from(common);
        let own = class.jobs.iter().map(|j| j.request.tokens.len() - own_from);
        own.sum()
    };
    let mut bundles = Vec::new();
    let (mut start, mut total) = (0, 0);
    for n in 0..classes.len() {
        let joins =
            classes[n].layer() == classes[start].layer() || total + rows(classes[n]) <= SMALL;
        if n > start && !joins {
            bundles.push(&classes[start..n]);
            (start, total) = (n, 0);
        }
        total += rows(classes[n]);
    }
    if start < classes.len() {
        bundles.push(&classes[start..]);
    }
    bundles
}
