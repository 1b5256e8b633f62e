//! Requests sorted by text and route, before anything is computed.

use std::ops::{ControlFlow, Range};

use super::WAVE_CELLS;
use super::route::Route;
use crate::engine::{EngineError, Outcome, Request};
use crate::hook::Touched;
use crate::runtime::Token;

/// A text, and the requests on it: index and route.
pub(super) type Asked = (Vec<Token>, Vec<(usize, Route)>);

/// Requests sorted by how they are computed.
#[derive(Default)]
pub(super) struct Sorted {
    /// Those computed in part, by text.
    pub texts: Vec<Asked>,
    /// Those computed whole.
    pub whole: Vec<usize>,
    /// Whether each text is computed by itself: llama.cpp would regroup the rows of several where
    /// there are recurrent layers.
    pub apart: bool,
}

impl Sorted {
    pub fn add(&mut self, n: usize, request: &Request, route: Route) {
        if route == Route::Whole {
            self.whole.push(n);
            return;
        }
        match self.texts.iter_mut().find(|(t, _)| *t == request.tokens) {
            Some((_, jobs)) => jobs.push((n, route)),
            None => self.texts.push((request.tokens.clone(), vec![(n, route)])),
        }
    }

    /// Ranges of texts that fit into the cache side by side, with room for as many cells again.
    pub fn groups(&self, sequences: u32) -> Vec<Range<usize>> {
        let texts = &self.texts;
        if self.apart {
            return (0..texts.len()).map(|n| n..n + 1).collect();
        }
        let mut groups = Vec::new();
        let (mut start, mut cells) = (0, 0);
        let most = (sequences / 3) as usize;
        for (n, (tokens, _)) in texts.iter().enumerate() {
            let first = &texts[start].0;
            let shared = tokens.iter().zip(first).take_while(|(a, b)| a == b);
            let own = tokens.len() - if n > start { shared.count() } else { 0 };
            if n > start && (cells + own > WAVE_CELLS / 2 || n - start >= most) {
                groups.push(start..n);
                (start, cells) = (n, tokens.len());
            } else {
                cells += own;
            }
        }
        if start < texts.len() {
            groups.push(start..texts.len());
        }
        groups
    }
}

/// The requests on a group of texts, clean ones first, then by kind and layer, so that
/// neighbours share work.
pub(super) fn jobs<'r>(requests: &'r [Request], group: &[Asked]) -> Vec<Job<'r>> {
    let mut jobs: Vec<Job> = Vec::new();
    for (text, (_, of)) in group.iter().enumerate() {
        jobs.extend(of.iter().map(|(index, route)| Job {
            request: &requests[*index],
            index: *index,
            route: *route,
            text,
        }));
    }
    jobs.sort_by_key(|job| job.route);
    jobs
}

/// The first position of which requests need the states of a text's clean run.
pub(super) fn first_state(group: &[Asked]) -> u32 {
    let of_text = |(tokens, jobs): &Asked| {
        let n = tokens.len() as u32;
        let needed = jobs.iter().map(|(_, route)| route.first_state(n));
        needed.min().unwrap_or(n)
    };
    group.iter().map(of_text).min().unwrap_or(0)
}

/// Whether a request builds on the cells of the `n`-th text.
pub(super) fn needed(n: usize, jobs: &[Job]) -> bool {
    jobs.iter().any(|job| job.text == n && job.needs_cells())
}

/// A request that is computed in part.
pub(super) struct Job<'r> {
    pub request: &'r Request,
    pub index: usize,
    pub route: Route,
    /// Its text among those at hand.
    pub text: usize,
}

impl Job<'_> {
    pub fn has_tails(&self) -> bool {
        self.request.longest_tail() > 0
    }

    /// Hands over what a prompt that nothing follows has given.
    pub fn hand_over(
        &self,
        logits: Vec<f32>,
        touched: Vec<Touched>,
        done: &mut dyn FnMut(usize, Outcome) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let outcome = Outcome {
            logits,
            touched,
            branches: vec![Vec::new(); self.request.continuations.len()],
            ..Outcome::default()
        };
        match done(self.index, outcome) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(EngineError::Stopped),
        }
    }

    /// Whether it builds on the cells of its text's clean run.
    pub fn needs_cells(&self) -> bool {
        match self.route {
            Route::Clean | Route::Silent { .. } => self.has_tails(),
            Route::Rows { row, .. } => row > 0,
            Route::Frozen { .. } | Route::Alone { .. } | Route::Whole => false,
        }
    }
}
