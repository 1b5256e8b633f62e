//! Which requests are computed together: classes that treat what their texts begin with alike, and
//! waves of classes that fit into the cache side by side.

use super::route::Route;
use super::{Job, Pace, TAIL_CELLS, WAVE_CELLS};
use crate::hook::{CacheFill, Cut};

/// Requests that do the same at the same layers to what their texts have in common, so that it
/// is computed once for them.
pub(super) struct Class<'j> {
    pub(super) jobs: Vec<&'j Job<'j>>,
    /// The first row that differs from the clean run.
    pub(super) first_row: usize,
}

impl<'j> Class<'j> {
    /// The same of some of its jobs.
    pub(super) fn part(&self, jobs: Vec<&'j Job<'j>>) -> Self {
        Self {
            jobs,
            first_row: self.first_row,
        }
    }

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

    /// Rows of the common prefix that are computed once for all.
    pub(super) fn base_rows(&self, common: usize) -> usize {
        self.own_from(common) - self.first_row
    }

    /// Rows that the requests compute each for itself.
    pub(super) fn own_rows(&self, common: usize) -> usize {
        let own_from = self.own_from(common);
        let own = self.jobs.iter().map(|j| j.request.tokens.len() - own_from);
        own.sum()
    }

    /// All rows but each request's last.
    pub(super) fn prior_rows(&self, common: usize) -> usize {
        self.base_rows(common) + self.own_rows(common) - self.jobs.len()
    }

    fn has_tails(&self) -> bool {
        self.jobs.iter().any(|job| job.has_tails())
    }

    /// The part of the graph that a batch of some classes' rows needs: from the lowest of their
    /// layers up.
    pub(super) fn cut(classes: &[&Class<'_>], silent: bool, onward: bool) -> Cut {
        let first = classes.iter().map(|class| class.layer()).min();
        let cache = classes.iter().map(|class| class.cache()).max();
        Cut {
            first: first.expect("rows come from classes"),
            cache: cache.expect("rows come from classes"),
            silent,
            onward,
        }
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

/// Sorts jobs into classes and classes into waves. `held` are the lengths of the texts whose
/// cells stay, `sequences` how many there are in all.
pub(super) fn waves<'j>(
    jobs: &'j [Job<'j>],
    common: usize,
    held: &[usize],
    sequences: u32,
    pace: Pace,
) -> Vec<Vec<Class<'j>>> {
    let mut classes: Vec<Class<'j>> = Vec::new();
    for job in jobs {
        let same = classes.iter_mut().rev().find(|class| {
            let first = class.jobs[0];
            first.route == job.route && same_prefix(first, job, common)
        });
        match same {
            Some(class) => class.jobs.push(job),
            None => classes.push(Class {
                jobs: vec![job],
                first_row: match job.route {
                    Route::Rows { row, .. } => row as usize,
                    Route::Frozen { .. } | Route::Alone { .. } => 0,
                    _ => job.request.tokens.len() - 1,
                },
            }),
        }
    }
    let cells = match classes.iter().any(Class::has_tails) {
        true => TAIL_CELLS,
        false => WAVE_CELLS,
    };
    let own = held.iter().map(|length| length - common);
    let room = Room {
        sequences: sequences as usize - held.len(),
        cells: cells.saturating_sub(own.sum::<usize>() + common),
    };
    match pace {
        Pace::Steady => {
            // Requests with the same route stand together, whatever their order was.
            classes.sort_by_key(Class::route);
            pack_evenly(&classes, common, room)
        }
        Pace::Eager => in_small_waves(classes, common, room),
    }
}

/// Frozen classes whose keys and values are computed in one batch: neighbouring layers share
/// it, from the lowest one up, as long as it is computed at once.
pub(super) fn frozen_batches<'c, 'j>(
    classes: &'c [&'c Class<'j>],
    common: usize,
    n_ubatch: usize,
) -> Vec<&'c [&'c Class<'j>]> {
    let mut batches = Vec::new();
    let (mut start, mut rows) = (0, 0);
    for (n, class) in classes.iter().enumerate() {
        let own = class.prior_rows(common);
        let span = classes[n.saturating_sub(1)].layer() - classes[start].layer();
        let full = rows + own > n_ubatch || (span >= 3 && 4 * rows >= n_ubatch);
        if n > start && full {
            batches.push(&classes[start..n]);
            (start, rows) = (n, 0);
        }
        rows += own;
    }
    if start < classes.len() {
        batches.push(&classes[start..]);
    }
    batches
}

/// Classes that a small wave holds at most: from here on a larger one saves little.
const SMALL_WAVE: usize = 8;

/// Waves in the order of the classes, each of one kind of route: of one first, then of twice as
/// many each time.
fn in_small_waves<'j>(
    mut classes: Vec<Class<'j>>,
    common: usize,
    room: Room,
) -> Vec<Vec<Class<'j>>> {
    let mut waves = Vec::new();
    let mut size = 1;
    while !classes.is_empty() {
        let kind = |class: &Class| std::mem::discriminant(&class.route());
        let same = classes.iter().take_while(|c| kind(c) == kind(&classes[0]));
        let rest = classes.split_off(size.min(same.count()));
        classes.sort_by_key(Class::route);
        waves.extend(pack_evenly(&classes, common, room));
        classes = rest;
        size = (2 * size).min(SMALL_WAVE);
    }
    waves
}

/// What a wave has to offer, or a part of it takes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Room {
    sequences: usize,
    cells: usize,
}

impl Room {
    fn fits(self, other: Self) -> bool {
        other.sequences <= self.sequences && other.cells <= self.cells
    }

    fn less(self, other: Self) -> Self {
        Self {
            sequences: self.sequences.saturating_sub(other.sequences),
            cells: self.cells.saturating_sub(other.cells),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            sequences: self.sequences + other.sequences,
            cells: self.cells + other.cells,
        }
    }
}

/// As few waves as possible, and those alike in size: a step costs little more for eight rows
/// than for two.
fn pack_evenly<'j>(classes: &[Class<'j>], common: usize, room: Room) -> Vec<Vec<Class<'j>>> {
    let fewest = pack(classes, common, room);
    let (mut low, mut high) = (0, room.cells);
    while low < high {
        let cells = low + (high - low) / 2;
        if pack(classes, common, Room { cells, ..room }).len() > fewest.len() {
            low = cells + 1;
        } else {
            high = cells;
        }
    }
    match high == room.cells {
        true => fewest,
        false => pack(
            classes,
            common,
            Room {
                cells: high,
                ..room
            },
        ),
    }
}

/// Fills one wave after another.
fn pack<'j>(classes: &[Class<'j>], common: usize, full: Room) -> Vec<Vec<Class<'j>>> {
    let mut waves: Vec<Vec<Class<'j>>> = Vec::new();
    let mut left = full;
    for class in classes {
        let own_from = class.own_from(common);
        let base = usize::from(class.has_base(common));
        let base = Room {
            sequences: base,
            cells: base * (own_from - class.first_row),
        };
        let costs: Vec<Room> = class.jobs.iter().map(|job| cost(job, own_from)).collect();
        let whole = costs.iter().fold(base, |sum, cost| sum.plus(*cost));
        if waves.is_empty() || (!left.fits(whole) && (full.fits(whole) || left != full)) {
            waves.push(Vec::new());
            left = full;
        }
        // A class too large for any wave goes in parts.
        let mut part: Vec<&'j Job<'j>> = Vec::new();
        left = left.less(base);
        for (&job, cost) in class.jobs.iter().zip(costs) {
            if !left.fits(cost) && !part.is_empty() {
                let wave = waves.last_mut().expect("pushed above");
                wave.push(class.part(std::mem::take(&mut part)));
                waves.push(Vec::new());
                left = full.less(base);
            }
            left = left.less(cost);
            part.push(job);
        }
        let wave = waves.last_mut().expect("pushed above");
        wave.push(class.part(part));
    }
    waves
}

/// What a job takes, its tails included. A single tail goes on in its
/// prompt's cells, several have sequences of their own.
fn cost(job: &Job, own_from: usize) -> Room {
    let request = job.request;
    let (tails, tail_cells) = request.tails();
    let n = request.tokens.len();
    let (prompt, cells) = match job.route {
        Route::Clean => (usize::from(tails > 0), 0),
        Route::Silent { .. } => (1, 1),
        _ => (1, n - own_from),
    };
    let tails = if tails > 1 { tails } else { 0 };
    Room {
        sequences: prompt + tails,
        cells: cells + tail_cells,
    }
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
    let mut bundles = Vec::new();
    let (mut start, mut total) = (0, 0);
    for n in 0..classes.len() {
        let rows = classes[n].own_rows(common);
        let joins = classes[n].layer() == classes[start].layer() || total + rows <= SMALL;
        if n > start && !joins {
            bundles.push(&classes[start..n]);
            (start, total) = (n, 0);
        }
        total += rows;
    }
    if start < classes.len() {
        bundles.push(&classes[start..]);
    }
    bundles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Request;
    use crate::intervention::Intervention;
    use crate::runtime::Token;

    #[test]
    fn waves_are_few_and_alike_in_size() {
        let requests: Vec<Request> = (1..=20)
            .map(|layer| Request {
                tokens: vec![Token(1); 250],
                plan: vec![Intervention::freeze(layer)],
                continuations: vec![vec![Token(1); 50]],
                ..Request::default()
            })
            .collect();
        let jobs: Vec<Job> = requests
            .iter()
            .enumerate()
            .map(|(index, request)| Job {
                request,
                index,
                route: Route::Frozen {
                    k: index as u32 + 1,
                },
                text: 0,
            })
            .collect();
        let classes: Vec<Class> = jobs
            .iter()
            .map(|job| Class {
                jobs: vec![job],
                first_row: 0,
            })
            .collect();
        let room = |cells| Room {
            sequences: 128,
            cells,
        };
        let sizes = |cells| -> Vec<usize> {
            let waves = pack_evenly(&classes, 250, room(cells));
            waves.iter().map(Vec::len).collect()
        };
        let each = cost(&jobs[0], 0).cells;
        assert_eq!(sizes(20 * each), [20]);
        assert_eq!(sizes(8 * each), [7, 7, 6]);
        // What fits nowhere goes alone.
        assert_eq!(sizes(each - 1), [1; 20]);
    }
}
