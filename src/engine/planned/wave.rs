//! A wave: requests whose cells fit into the cache side by side, computed together.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::classes::{Class, bundles, frozen_batches};
use super::route::Route;
use super::texts::{Text, Texts, row};
use super::{Job, Planned};
use crate::engine::{EngineError, Outcome};
use crate::hook::{Row, Start, Touched};
use crate::intervention::{Editor, Intervention, States};

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
    /// By sequence that has logits, the request.
    owners: HashMap<u32, usize>,
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

/// Hands over what nothing follows, and keeps the rest: what is continued, and what may not come
/// before the clean run of its text, which is continued.
fn hand_over<'j>(
    started: Vec<Started<'j>>,
    following: &mut Vec<Started<'j>>,
    done: &mut dyn FnMut(usize, Outcome) -> ControlFlow<()>,
) -> Result<(), EngineError> {
    for start in started {
        let waits = |earlier: &Started<'j>| {
            earlier.job.route == Route::Clean && earlier.job.text == start.job.text
        };
        if start.job.has_tails() || following.iter().any(waits) {
            following.push(start);
        } else {
            start.job.hand_over(start.logits, start.touched, done)?;
        }
    }
    Ok(())
}

impl Planned {
    /// Computes a wave and hands its outcomes over.
    pub(super) fn run_wave(
        &mut self,
        wave: &[Class<'_>],
        texts: &Texts,
        done: &mut dyn FnMut(usize, Outcome) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let mut following = Vec::new();
        let is = |of: fn(Route) -> bool| -> Vec<&Class<'_>> {
            wave.iter().filter(|class| of(class.route())).collect()
        };
        // Only those that are continued: the others have been handed over.
        for class in is(|route| route == Route::Clean) {
            for &job in &class.jobs {
                let text = &texts.texts[job.text];
                let own = self.sequences.take();
                let n = text.tokens.len() as u32;
                self.context().share(text.cells(), own, n)?;
                following.push(Started {
                    job,
                    sequence: Some(own),
                    states: text.states.clone(),
                    logits: text.logits.clone(),
                    touched: Vec::new(),
                });
            }
        }
        let silent = is(|r| matches!(r, Route::Silent { .. }));
        hand_over(self.prefill_silent(&silent, texts)?, &mut following, done)?;
        let frozen = is(|r| matches!(r, Route::Frozen { .. }));
        hand_over(self.prefill_frozen(&frozen, texts)?, &mut following, done)?;
        let rows = is(|r| matches!(r, Route::Rows { .. }));
        for bundle in bundles(&rows, texts.common) {
            hand_over(self.prefill_rows(bundle, texts)?, &mut following, done)?;
        }
        for class in is(|r| matches!(r, Route::Alone { .. })) {
            for &job in &class.jobs {
                let class = class.part(vec![job]);
                let begun = self.prefill_rows(&[&class], texts);
                let begun = begun.map_err(|error| error.of(job.index))?;
                hand_over(begun, &mut following, done)?;
            }
        }
        for (index, outcome) in self.run_tails(following)? {
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
                batch.owners.insert(sequence, job.index);
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
        for together in frozen_batches(classes, texts.common, n_ubatch) {
            let mut batch = Batch::default();
            for class in together {
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
            }
            given.extend(self.decode_batch(batch, together, false, false)?);
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
            last_rows.owners.insert(*sequence, job.index);
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
                batch.owners.insert(sequence, job.index);
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
        let cut = Class::cut(classes, silent, onward);
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
                let logits = self.context().logits(n).map_err(EngineError::from);
                let logits = logits.map_err(|error| error.of(batch.owners[&row.sequence]))?;
                given.logits.insert(row.sequence, logits.to_vec());
            }
            let layer_rows = rows.len() as u64 * u64::from(cut.layers(n_layer));
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
