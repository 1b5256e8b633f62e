//! The tokens that follow the prompts of a wave: one batch a step for all of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::texts::row;
use super::wave::Started;
use super::{Job, Planned};
use crate::engine::{Engine, EngineError, Outcome, Request, argmax};
use crate::hook::{Row, Touched};
use crate::intervention::{Editor, Intervention};
use crate::runtime::Token;

/// What follows a prompt: a forced continuation by its number, or a greedy one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Forced(usize),
    Greedy,
}

/// A text being continued.
struct Tail {
    /// Its request, among those started.
    of: usize,
    kind: Kind,
    sequence: u32,
    /// Position of the newest token.
    position: usize,
    newest: Token,
    /// How many tokens have followed the prompt.
    produced: usize,
    /// Whether the newest token is decoded again once it is prior.
    again: bool,
    plan: Arc<[Intervention]>,
    /// The likeliest next token.
    likeliest: Token,
}

impl Planned {
    /// Continues what was started, as many at a time as there are sequences, and gives all of
    /// these back.
    pub(super) fn run_tails(
        &mut self,
        started: Vec<Started<'_>>,
    ) -> Result<Vec<(usize, Outcome)>, EngineError> {
        let mut waiting: VecDeque<(usize, Kind)> = VecDeque::new();
        let mut outcomes = Vec::new();
        let mut own = Vec::new();
        for (n, start) in started.into_iter().enumerate() {
            let request = start.job.request;
            let forced = request.continuations.iter().enumerate();
            let mut kinds: Vec<Kind> = forced
                .filter(|(_, tokens)| !tokens.is_empty())
                .map(|(n, _)| Kind::Forced(n))
                .collect();
            kinds.extend(request.generate.iter().map(|_| Kind::Greedy));
            let alone = kinds.len() == 1;
            waiting.extend(kinds.into_iter().map(|kind| (n, kind)));
            let outcome = Outcome {
                logits: start.logits,
                touched: start.touched,
                branches: vec![Vec::new(); request.continuations.len()],
                generated: Vec::new(),
            };
            outcomes.push((start.job, outcome));
            own.push((start.sequence, alone));
        }
        let mut active: Vec<Tail> = Vec::new();
        loop {
            while let Some(&(of, kind)) = waiting.front() {
                let (job, _) = &outcomes[of];
                let prompt = own[of].0.expect("a request with tails has cells");
                let sequence = if own[of].1 {
                    own[of].0 = None;
                    prompt
                } else {
                    let Some(sequence) = self.sequences.free.pop() else {
                        break;
                    };
                    let n = job.request.tokens.len() as u32;
                    self.context().share(prompt, sequence, n);
                    sequence
                };
                waiting.pop_front();
                let plan = job.request.plan_at(0);
                let likeliest = argmax(&outcomes[of].1.logits);
                active.push(Tail {
                    of,
                    kind,
                    sequence,
                    position: job.request.tokens.len() - 1,
                    newest: *job.request.tokens.last().expect("prompts are not empty"),
                    produced: 0,
                    again: job.request.manipulate_generated && !plan.is_empty(),
                    plan: plan.into(),
                    likeliest,
                });
            }
            if active.is_empty() {
                assert!(waiting.is_empty(), "a wave leaves a sequence for its tails");
                break;
            }
            let mut going = Vec::new();
            for tail in active {
                let (job, outcome) = &mut outcomes[tail.of];
                match self.next_token(&tail, job.request, outcome) {
                    Some(token) => going.push((tail, token)),
                    None => self.release(tail.sequence)?,
                }
            }
            active = self.step(going, &mut outcomes)?;
        }
        for (sequence, _) in own {
            if let Some(sequence) = sequence {
                self.release(sequence)?;
            }
        }
        let outcomes = outcomes.into_iter();
        Ok(outcomes
            .map(|(job, outcome)| (job.index, outcome))
            .collect())
    }

    /// The token to append, or `None` at the end. A greedy one is noted in the outcome.
    fn next_token(&self, tail: &Tail, request: &Request, outcome: &mut Outcome) -> Option<Token> {
        match tail.kind {
            Kind::Forced(n) => request.continuations[n].get(tail.produced).copied(),
            Kind::Greedy => {
                let ending = request.generate.as_ref()?;
                if ending.max_tokens == 0 {
                    return None;
                }
                let token = tail.likeliest;
                outcome.generated.push(token);
                let goes_on = outcome.generated.len() < ending.max_tokens
                    && !self.ends_generation(token)
                    && ending.goes_on(&self.text(&outcome.generated));
                goes_on.then_some(token)
            }
        }
    }

    /// Appends a token to each tail.
    fn step(
        &mut self,
        tails: Vec<(Tail, Token)>,
        outcomes: &mut [(&Job<'_>, Outcome)],
    ) -> Result<Vec<Tail>, EngineError> {
        let n_layer = self.n_layer();
        let at_once = (self.context().options().n_batch as usize / 2).max(1);
        let mut stepped = Vec::new();
        let mut tails = VecDeque::from(tails);
        while !tails.is_empty() {
            let now: Vec<(Tail, Token)> = tails.drain(..tails.len().min(at_once)).collect();
            let mut rows: Vec<Row> = Vec::new();
            let mut editors = HashMap::new();
            for (tail, token) in &now {
                if tail.again {
                    // It was clean while it was the last one. The cell it had may be shared
                    // with the prompt; dropping it here leaves it to the others.
                    let first = tail.position as u32;
                    self.context().rewind(tail.sequence, first)?;
                    rows.push(row(tail.sequence, tail.position, tail.newest, false));
                }
                rows.push(row(tail.sequence, tail.position + 1, *token, true));
                if !tail.plan.is_empty() {
                    editors.insert(tail.sequence, Editor::new(tail.plan.clone(), n_layer));
                }
            }
            let observed = self.context().decode(&rows, editors, None)?;
            self.work.layer_rows += rows.len() as u64 * u64::from(n_layer);
            self.work.decodes += 1;
            let outputs = (0..rows.len()).filter(|n| rows[*n].output);
            for ((mut tail, token), at) in now.into_iter().zip(outputs) {
                let outcome = &mut outcomes[tail.of].1;
                let logits = self.inspect().logits(at)?;
                tail.likeliest = argmax(logits);
                if let Kind::Forced(n) = tail.kind {
                    outcome.branches[n].push(logits.to_vec());
                }
                if let Some(touched) = observed.touched.get(&tail.sequence) {
                    Touched::add(&mut outcome.touched, touched);
                }
                tail.newest = token;
                tail.position += 1;
                tail.produced += 1;
                stepped.push(tail);
            }
        }
        Ok(stepped)
    }
}
