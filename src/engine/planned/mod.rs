//! Computes only what differs between a manipulated run and the clean one.
//!
//! Every text runs clean once, with the states entering every layer kept. A request then needs
//! only some rows, and those only from some layer up ([`route`]): the graph is cut there, and
//! the cells are the request's own, or shared with another sequence and never edited. Nothing
//! relies on what a cell held before: keys and values of lower layers that later tokens will
//! read are projected anew from the states that were kept.
//!
//! Many requests travel together: their rows in one batch, the tokens that follow in another at
//! each step.

mod captured;
mod classes;
pub(super) mod cost;
mod route;
mod sorted;
mod tails;
mod texts;
mod wave;

use std::ops::ControlFlow;
use std::sync::Arc;

use classes::waves;
use route::Route;
use sorted::{Asked, Job, Sorted, first_state, jobs, needed};

use super::cost::{Cost, Decode, Shape};
use super::{
    Engine, EngineError, Outcome, Request, Session, Straightforward, Strategy, Tokenizer, Work,
};
use crate::hook::{Captured, HookFault};
use crate::intervention::Target;
use crate::runtime::{Context, ContextOptions, Model, RuntimeError, Token};

/// Runs requests in parts, many at a time. What it cannot run so goes the straightforward way,
/// in the same context, and is counted.
pub struct Planned {
    inner: Straightforward,
    sequences: Sequences,
    pace: Pace,
    work: Work,
}

/// When outcomes are handed over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// After waves as large as fit: the fewest batches.
    Steady,
    /// After small waves, in the order of the requests.
    Eager,
}

/// The sequences of a context that are not in use.
struct Sequences {
    free: Vec<u32>,
    n: u32,
}

impl Sequences {
    fn new(n: u32) -> Self {
        Self {
            free: (0..n).rev().collect(),
            n,
        }
    }

    fn take(&mut self) -> u32 {
        self.free.pop().expect("waves are made to fit")
    }
}

/// Cells beyond which a wave takes no further request: attention looks at every cell in use,
/// whosever it is.
const WAVE_CELLS: usize = 2048;

/// The same where tokens follow: with few rows a step, each that joins is worth more than what
/// attention looks at in vain.
const TAIL_CELLS: usize = 4096;

/// Sequences that the least wave takes: a text, what two share, themselves and their tails.
const LEAST: u32 = 8;

impl Planned {
    /// Sequences in one batch unless asked for otherwise.
    pub const PARALLEL: u32 = 128;

    /// How many cells of keys and values the context of an engine has, for texts of up to
    /// `n_ctx` tokens: two of the longest fit, one clean and one manipulated.
    pub fn cells(n_ctx: u32) -> u32 {
        (2 * n_ctx).max(TAIL_CELLS as u32)
    }

    /// An engine with a context of its own: texts of up to `options.n_ctx` tokens, `parallel`
    /// sequences at once (at least 8, at most [`Model::max_sequences`]).
    ///
    /// # Errors
    /// [`RuntimeError`] when the context cannot be made.
    pub fn new(
        model: Arc<Model>,
        options: &ContextOptions,
        parallel: u32,
    ) -> Result<Self, RuntimeError> {
        let parallel = parallel.clamp(LEAST, model.max_sequences());
        let cells = Self::cells(options.n_ctx);
        Ok(Self {
            inner: Straightforward::with_cells(model, options, cells, parallel)?,
            sequences: Sequences::new(parallel),
            pace: Pace::Steady,
            work: Work::default(),
        })
    }

    /// The same engine for somebody who waits: outcomes of one text come in the order of the
    /// requests and in small waves, which costs a few more batches.
    #[must_use]
    pub fn eager(self) -> Self {
        Self {
            pace: Pace::Eager,
            ..self
        }
    }

    /// The context.
    pub fn inspect(&self) -> &Context {
        self.inner.context()
    }

    /// The engine that runs whole texts in the same context.
    pub(super) fn whole(&mut self) -> &mut Straightforward {
        &mut self.inner
    }

    fn context(&mut self) -> &mut Context {
        self.inner.context_mut()
    }

    fn n_layer(&self) -> u32 {
        self.inner.facts().n_layer
    }

    fn clear(&mut self) {
        self.context().clear();
        self.sequences = Sequences::new(self.sequences.n);
    }

    fn release(&mut self, sequence: u32) -> Result<(), EngineError> {
        self.context().rewind(sequence, 0)?;
        self.sequences.free.push(sequence);
        Ok(())
    }

    /// Whether layers keep a state besides keys and values.
    fn recurs(&self) -> bool {
        let anatomy = self.inspect().anatomy();
        anatomy.is_some_and(|anatomy| anatomy.edges.kept.is_some())
    }

    /// Requests by the way they go, and for each that is computed whole although a part should
    /// do, why.
    fn sort(&mut self, requests: &[Request]) -> (Sorted, Vec<RuntimeError>) {
        let mut sorted = Sorted {
            apart: self.recurs(),
            ..Sorted::default()
        };
        let mut reasons = Vec::new();
        for (n, request) in requests.iter().enumerate() {
            let (route, reason) = self.route(request);
            reasons.extend(reason);
            sorted.add(n, request, route);
        }
        (sorted, reasons)
    }

    fn shape(&self) -> Shape {
        let options = self.inspect().options();
        Shape {
            strategy: Strategy::Planned,
            n_layer: self.n_layer(),
            n_batch: options.n_batch as usize,
            n_ubatch: options.n_ubatch as usize,
            sequences: self.sequences.n,
        }
    }

    fn fall_back(&mut self, requests: usize, reason: &RuntimeError) {
        self.work.fallbacks += requests as u64;
        self.work.reason.get_or_insert_with(|| reason.to_string());
    }

    fn run_whole(
        &mut self,
        requests: &[Request],
        indices: &[usize],
        done: &mut dyn FnMut(usize, Outcome) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        for &n in indices {
            let outcome = self.inner.run(&requests[n]);
            let outcome = outcome.map_err(|error| error.of(n))?;
            if done(n, outcome).is_break() {
                return Err(EngineError::Stopped);
            }
        }
        Ok(())
    }
}

/// Whether a full pass can succeed where this failed.
fn is_about_parts(error: &EngineError) -> Option<&RuntimeError> {
    match error {
        EngineError::Runtime(
            error @ (RuntimeError::Cut(_)
            | RuntimeError::CacheFull { .. }
            | RuntimeError::CellsLost { .. }
            | RuntimeError::CannotRewind
            | RuntimeError::NotNumbers(_)
            | RuntimeError::Hook(HookFault::GraphChanged { .. })),
        ) => Some(error),
        _ => None,
    }
}

impl Engine for Planned {
    fn tokenizer(&self) -> &dyn Tokenizer {
        self.inner.tokenizer()
    }

    fn learned_positions(&self) -> Option<u32> {
        self.inner.learned_positions()
    }

    /// A text continued token by token runs whole: its steps share nothing with other texts.
    fn start<'e>(&'e mut self, request: &Request) -> Result<Box<dyn Session + 'e>, EngineError> {
        self.inner.start(request)
    }

    fn captured(
        &mut self,
        tokens: &[Token],
        first_position: u32,
        targets: &[Target],
    ) -> Result<Captured, EngineError> {
        self.inner.captured(tokens, first_position, targets)
    }

    fn shares(&self) -> bool {
        true
    }

    fn cost(&mut self, requests: &[Request]) -> Cost {
        let (sorted, _) = self.sort(requests);
        sorted.cost(requests, &self.shape())
    }

    fn products(&self, decode: &Decode) -> f64 {
        self.inner.products(decode)
    }

    fn work(&self) -> Work {
        let (own, whole) = (self.work.clone(), self.inner.work());
        Work {
            layer_rows: own.layer_rows + whole.layer_rows,
            decodes: own.decodes + whole.decodes,
            traffic: whole.traffic,
            ..own
        }
    }

    fn run_all(
        &mut self,
        requests: &[Request],
        done: &mut dyn FnMut(usize, Outcome) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let (n_layer, positions) = (self.n_layer(), self.inner.positions());
        for (n, request) in requests.iter().enumerate() {
            let checked = request.check(n_layer, positions);
            checked.map_err(|error| error.of(n))?;
        }
        let (sorted, reasons) = self.sort(requests);
        for reason in reasons {
            self.fall_back(1, &reason);
        }
        let groups = sorted.groups(self.sequences.n);
        let Sorted { texts, whole, .. } = sorted;
        for group in groups {
            let mut left: Vec<usize> = texts[group.clone()]
                .iter()
                .flat_map(|(_, jobs)| jobs.iter().map(|(n, _)| *n))
                .collect();
            let mut tell = |n: usize, outcome: Outcome| {
                left.retain(|m| *m != n);
                done(n, outcome)
            };
            let Err(error) = self.run_texts(requests, &texts[group], &mut tell) else {
                continue;
            };
            self.clear();
            let (suspect, error) = error.request();
            let Some(reason) = is_about_parts(&error) else {
                return Err(match suspect {
                    Some(n) => error.of(n),
                    None => error,
                });
            };
            if let (Some(n), RuntimeError::NotNumbers(_)) = (suspect, reason) {
                // What is no number spreads to other requests, whose cells are read in the same
                // batch. Alone, the request at fault is known; most often it is this.
                self.run_whole(requests, &[n], &mut |_, _| ControlFlow::Continue(()))?;
            }
            self.fall_back(left.len(), reason);
            self.run_whole(requests, &left, done)?;
        }
        self.clear();
        self.run_whole(requests, &whole, done)
    }
}

impl Planned {
    fn run_texts(
        &mut self,
        requests: &[Request],
        group: &[Asked],
        done: &mut dyn FnMut(usize, Outcome) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.clear();
        let numbers = group
            .iter()
            .flat_map(|(_, jobs)| jobs.iter().map(|(n, _)| *n));
        let mut plans = numbers.flat_map(|n| &requests[n].plan);
        let hides = plans.any(|intervention| intervention.target() == Target::Mask);
        self.context().follow_cells(hides);
        let asked: Vec<(&[Token], usize)> = group
            .iter()
            .map(|(tokens, jobs)| (&tokens[..], jobs[0].0))
            .collect();
        let mut texts = self.run_clean(&asked, first_state(group))?;
        let mut jobs = jobs(requests, group);
        if self.pace == Pace::Eager {
            jobs.sort_by_key(|job| (job.route != Route::Clean, job.index));
        }
        let is_there = |job: &Job| job.route == Route::Clean && !job.has_tails();
        let (there, jobs): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(is_there);
        for job in there {
            let logits = texts.texts[job.text].logits.clone();
            job.hand_over(logits, Vec::new(), done)?;
        }
        self.free_texts(&mut texts, &jobs)?;
        let holding = texts.texts.iter().filter(|text| text.sequence.is_some());
        let held: Vec<usize> = holding.map(|text| text.tokens.len()).collect();
        for wave in waves(&jobs, texts.common, &held, self.sequences.n, self.pace) {
            self.run_wave(&wave, &texts, done)?;
        }
        Ok(())
    }
}
