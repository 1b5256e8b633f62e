//! A wave: requests whose cells fit into the cache side by side, computed together.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::route::Route;
use super::texts::{Text, Texts, row};
use super::{Job, Planned, WAVE_CELLS};
use crate::engine::{EngineError, Outcome};
use crate::hook::{CacheFill, Cut, Row, Start, Touched};
use crate::intervention::{Editor, Intervention, States};

/// Requests that do the same at the same layers to what their texts have in common, so that it
/// is computed once for them.
pub(super) struct Class<'j> {
    jobs: Vec<&'j Job<'j>>,
    /// The first row that differs from the clean run.
    first_row: usize,
}

impl Class<'_> {
    fn route(&self) -> Route {
        self.jobs[0].route
    }

    fn layer(&self) -> u32 {
        self.route().layer()
    }

    /// Whether rows of the common prefix are computed once for all.
    fn has_base(&self, common: usize) -> bool {
        self.jobs.len() > 1 && self.first_row < common
    }

    /// The first row that each request computes for itself.
    fn own_from(&self, common: usize) -> usize {
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
    fn cache(&self) -> CacheFill {
        match (self.has_tails(), self.route()) {
            (true, _) => CacheFill::All,
            (false, Route::Silent { .. }) => CacheFill::None,
            (false, _) => CacheFill::FromFirst,
        }
    }
}

/// A request whose prompt has been computed.
pub(super) struct Started<'j> {
    pub job: &'j Job<'j>,
    /// Its cells; `None` where they are those of the clean text and nothing follows.
    pub sequence: Option<u32>,
    /// The clean states of its text.
    pub states: Arc<States>,
    pub logits: Vec<f32>,
    pub touched: Vec<Touched>,
}

/// Rows of one decode, each with where it begins and its request's plan.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    starts: Vec<Start>,
    plans: HashMap<u32, Arc<[Intervention]>>,
}

impl Batch {
    fn push(&mut self, row: Row, text: &Text, from: u32, frozen: Option<u32>) {
        self.rows.push(row);
        self.starts.push(Start {
            states: text.states.clone(),
            from,
            frozen,
        });
    }
}

/// What a batch gave, by sequence.
#[derive(Default)]
struct Given {
    logits: HashMap<u32, Vec<f32>>,
    touched: HashMap<u32, Vec<Touched>>,
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

    /// Computes a wave and hands its outcomes over.
    pub(super) fn run_wave(
        &mut self,
        wave: &[Class<'_>],
        texts: &Texts,
        done: &mut dyn FnMut(usize, Outcome) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let mut started = Vec::new();
        let is = |of: fn(Route) -> bool| -> Vec<&Class<'_>> {
            wave.iter().filter(|class| of(class.route())).collect()
        };
        for class in is(|route| route == Route::Clean) {
            for &job in &class.jobs {
                let text = &texts.texts[job.text];
                let mut sequence = None;
                if job.has_tails() {
                    let own = self.sequences.take();
                    let n = text.tokens.len() as u32;
                    self.context().share(text.cells(), own, n)?;
                    sequence = Some(own);
                }
                started.push(Started {
                    job,
                    sequence,
                    states: text.states.clone(),
                    logits: text.logits.clone(),
                    touched: Vec::new(),
                });
            }
        }
        started.extend(self.prefill_silent(&is(|r| matches!(r, Route::Silent { .. })), texts)?);
        started.extend(self.prefill_frozen(&is(|r| matches!(r, Route::Frozen { .. })), texts)?);
        let rows = is(|r| matches!(r, Route::Rows { .. }));
        for bundle in bundles(&rows, texts.common) {
            started.extend(self.prefill_rows(bundle, texts)?);
        }
        for (index, outcome) in self.run_tails(started)? {
            if done(index, outcome).is_break() {
                return Err(EngineError::Stopped);
            }
        }
        Ok(())
    }

    fn prefill_silent<'j>(
        &mut self,
        classes: &[&Class<'j>],
        texts: &Texts,
    ) -> Result<Vec<Started<'j>>, EngineError> {
        let mut batch = Batch::default();
        let mut begun = Vec::new();
        for class in classes {
            for &job in &class.jobs {
                let text = &texts.texts[job.text];
                let last = text.tokens.len() - 1;
                let sequence = self.sequences.take();
                if job.has_tails() {
                    self.context().share(text.cells(), sequence, last as u32)?;
                }
                let row = row(sequence, last, text.tokens[last], true);
                batch.push(row, text, class.layer(), None);
                begun.push((job, sequence));
            }
        }
        let given = self.decode_batch(batch, classes, true, true)?;
        self.started(given, begun, texts)
    }

    fn prefill_frozen<'j>(
        &mut self,
        classes: &[&Class<'j>],
        texts: &Texts,
    ) -> Result<Vec<Started<'j>>, EngineError> {
        let n_ubatch = self.context().options().n_ubatch as usize;
        let mut shares = Vec::new();
        let mut begun = Vec::new();
        let mut given = Given::default();
        let mut batch = Batch::default();
        let mut chunk: Vec<&Class<'_>> = Vec::new();
        for (n, &class) in classes.iter().enumerate() {
            let k = class.layer();
            let own_from = class.own_from(texts.common);
            let base = class.has_base(texts.common).then(|| self.sequences.take());
            if let Some(base) = base {
                let text = &texts.texts[class.jobs[0].text];
                for i in 0..own_from {
                    batch.push(row(base, i, text.tokens[i], false), text, k, Some(k));
                }
            }
            for &job in &class.jobs {
                let text = &texts.texts[job.text];
                let sequence = self.sequences.take();
                for i in own_from..text.tokens.len() - 1 {
                    let row = row(sequence, i, text.tokens[i], false);
                    batch.push(row, text, k, Some(k));
                }
                shares.extend(base.map(|base| (base, sequence, own_from)));
                begun.push((job, sequence));
            }
            chunk.push(class);
            // Neighbouring layers share a batch, from the lowest one up.
            let span = k - chunk[0].layer();
            let rows = batch.rows.len();
            if rows >= n_ubatch || (span >= 3 && 4 * rows >= n_ubatch) || n + 1 == classes.len() {
                let made = self.decode_batch(std::mem::take(&mut batch), &chunk, false, false)?;
                given.extend(made);
                chunk.clear();
            }
        }
        let mut bases = Vec::new();
        for (base, sequence, end) in shares {
            self.context().share(base, sequence, end as u32)?;
            given.inherit(base, sequence);
            if !bases.contains(&base) {
                bases.push(base);
            }
        }
        for base in bases {
            self.release(base)?;
        }
        let mut last_rows = Batch::default();
        for (job, sequence) in &begun {
            let text = &texts.texts[job.text];
            let last = text.tokens.len() - 1;
            let row = row(*sequence, last, text.tokens[last], true);
            last_rows.push(row, text, job.route.layer(), None);
        }
        given.extend(self.decode_batch(last_rows, classes, false, true)?);
        self.started(given, begun, texts)
    }

    fn prefill_rows<'j>(
        &mut self,
        classes: &[&Class<'j>],
        texts: &Texts,
    ) -> Result<Vec<Started<'j>>, EngineError> {
        let mut bases = Vec::new();
        let mut batch = Batch::default();
        for class in classes {
            let base = class.has_base(texts.common).then(|| self.sequences.take());
            bases.push(base);
            let Some(base) = base else { continue };
            let job = class.jobs[0];
            let text = &texts.texts[job.text];
            let first = class.first_row;
            if first > 0 {
                self.context().share(text.cells(), base, first as u32)?;
            }
            for i in first..texts.common {
                let row = row(base, i, text.tokens[i], false);
                batch.push(row, text, class.layer(), None);
            }
            batch.plans.insert(base, job.request.plan_at(0).into());
        }
        let mut given = self.decode_batch(batch, classes, false, true)?;
        let mut batch = Batch::default();
        let mut begun = Vec::new();
        for (class, base) in classes.iter().zip(&bases) {
            let own_from = class.own_from(texts.common);
            for &job in &class.jobs {
                let text = &texts.texts[job.text];
                let sequence = self.sequences.take();
                if own_from > 0 {
                    let from = base.unwrap_or_else(|| text.cells());
                    self.context().share(from, sequence, own_from as u32)?;
                }
                if let Some(base) = base {
                    given.inherit(*base, sequence);
                }
                for i in own_from..text.tokens.len() {
                    let last = i + 1 == text.tokens.len();
                    let row = row(sequence, i, text.tokens[i], last);
                    batch.push(row, text, class.layer(), None);
                }
                batch.plans.insert(sequence, job.request.plan_at(0).into());
                begun.push((job, sequence));
            }
        }
        for base in bases.into_iter().flatten() {
            self.release(base)?;
        }
        given.extend(self.decode_batch(batch, classes, false, true)?);
        self.started(given, begun, texts)
    }

    /// What has been begun, with its logits. The cells of what nothing follows are free again.
    fn started<'j>(
        &mut self,
        mut given: Given,
        begun: Vec<(&'j Job<'j>, u32)>,
        texts: &Texts,
    ) -> Result<Vec<Started<'j>>, EngineError> {
        let mut started = Vec::new();
        for (job, sequence) in begun {
            if !job.has_tails() {
                self.release(sequence)?;
            }
            let logits = given.logits.remove(&sequence);
            started.push(Started {
                job,
                sequence: job.has_tails().then_some(sequence),
                states: texts.texts[job.text].states.clone(),
                logits: logits.expect("last rows are outputs"),
                touched: given.touched.remove(&sequence).unwrap_or_default(),
            });
        }
        Ok(started)
    }

    /// Decodes the rows of `classes` from the lowest of their layers up.
    fn decode_batch(
        &mut self,
        batch: Batch,
        classes: &[&Class<'_>],
        silent: bool,
        onward: bool,
    ) -> Result<Given, EngineError> {
        let mut given = Given::default();
        if batch.rows.is_empty() {
            return Ok(given);
        }
        let first = classes.iter().map(|class| class.layer()).min();
        let cut = Cut {
            first: first.expect("rows come from classes"),
            cache: classes
                .iter()
                .map(|class| class.cache())
                .max()
                .expect("rows come from classes"),
            silent,
            onward,
        };
        let n_layer = self.n_layer();
        let n_batch = self.context().options().n_batch as usize;
        let mut starts = batch.starts.chunks(n_batch);
        for rows in batch.rows.chunks(n_batch) {
            let mut editors = HashMap::new();
            for row in rows {
                if let Some(plan) = batch.plans.get(&row.sequence) {
                    let make = || Editor::new(plan.clone(), n_layer);
                    editors.entry(row.sequence).or_insert_with(make);
                }
            }
            let starts = starts.next().expect("as many as rows").to_vec();
            let observed = self.context().decode_part(rows, editors, &cut, starts)?;
            for (sequence, touched) in observed.touched {
                Touched::add(given.touched.entry(sequence).or_default(), &touched);
            }
            for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.output) {
                let logits = self.context().logits(n)?.to_vec();
                given.logits.insert(row.sequence, logits);
            }
            let layer_rows = rows.len() as u64 * u64::from(n_layer - cut.first);
            if onward {
                self.work.layer_rows += layer_rows;
            } else {
                self.work.cache_rows += layer_rows;
            }
            self.work.decodes += 1;
        }
        Ok(given)
    }
}

impl Given {
    fn extend(&mut self, other: Self) {
        self.logits.extend(other.logits);
        for (sequence, touched) in other.touched {
            Touched::add(self.touched.entry(sequence).or_default(), &touched);
        }
    }

    /// What was touched of a shared prefix was touched for each that shares it.
    fn inherit(&mut self, base: u32, sequence: u32) {
        if let Some(touched) = self.touched.get(&base).cloned() {
            Touched::add(self.touched.entry(sequence).or_default(), &touched);
        }
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
fn bundles<'c, 'j>(classes: &'c [&'c Class<'j>], common: usize) -> Vec<&'c [&'c Class<'j>]> {
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
