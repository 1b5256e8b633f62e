//! The tokens that follow the prompts of a wave: one batch a step for all of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::route::Route;
use super::texts::row;
use super::wave::Started;
use super::{Job, Planned};
use crate::engine::{Engine, EngineError, Outcome, Request, likeliest};
use crate::hook::{CacheFill, Capture, Cut, Row, Start, Touched};
use crate::intervention::{Editor, Intervention, States, Target};
use crate::runtime::Token;

/// What follows a prompt: a forced continuation by its number, or a greedy one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Forced(usize),
    Greedy,
}

/// How a token that was clean while it was the last one becomes prior.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It is left as it is.
    Never,
    /// Where an intervention names it, it runs through the model again.
    Whole,
    /// Frozen from layer `k` up: what it left below stays, so that its keys and values alone
    /// are computed, of the states that it had.
    Cache {
        /// The layer.
        k: u32,
    },
}

impl Again {
    pub(super) fn of(job: &Job<'_>) -> Self {
        match job.route {
            _ if !job.request.manipulate_generated => Again::Never,
            // The last token's attention is silent too.
            Route::Clean | Route::Silent { .. } => Again::Never,
            Route::Frozen { k } => Again::Cache { k },
            _ => Again::Whole,
        }
    }
}

/// Whether the token at a position is treated otherwise once it is prior. (What it does not see is
/// the same then.)
pub(super) fn is_touched(plan: &[Intervention], position: usize) -> bool {
    let of_itself = |i: &&Intervention| i.action.touches_last() || i.target() == Target::Mask;
    let mut prior_only = plan.iter().filter(|i| !of_itself(i));
    prior_only.any(|i| i.tokens.contains(position as u32))
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
    /// How the newest token is decoded again once it is prior.
    again: Again,
    plan: Arc<[Intervention]>,
    /// The states entering every layer that the newest token has left, where they are needed.
    states: Arc<States>,
    /// The likeliest next token, and by how much it exceeds the second.
    likeliest: (Token, f32),
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
                ..Outcome::default()
            };
            outcomes.push((start.job, outcome));
            own.push((start.sequence, alone, start.states));
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
                    self.context().share(prompt, sequence, n)?;
                    sequence
                };
                waiting.pop_front();
                let plan = job.request.plan_at(0);
                let again = Again::of(job);
                let last = own[of].2.clone();
                let likeliest = likeliest(&outcomes[of].1.logits);
                active.push(Tail {
                    of,
                    kind,
                    sequence,
                    position: job.request.tokens.len() - 1,
                    newest: *job.request.tokens.last().expect("prompts are not empty"),
                    produced: 0,
                    again,
                    plan: plan.into(),
                    states: last,
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
        for (sequence, ..) in own {
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
                let (token, margin) = tail.likeliest;
                outcome.generated.push(token);
                outcome.margins.push(margin);
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
        let at_once = self.shape().tails_at_once();
        let mut stepped = Vec::new();
        let mut tails = VecDeque::from(tails);
        while !tails.is_empty() {
            let now: Vec<(Tail, Token)> = tails.drain(..tails.len().min(at_once)).collect();
            let touched = self.freeze_newest(now.iter().map(|(tail, _)| tail))?;
            let mut rows: Vec<Row> = Vec::new();
            let mut editors = HashMap::new();
            let mut kept = 0;
            for (tail, token) in &now {
                match tail.again {
                    Again::Whole if tail.is_touched() => {
                        self.drop_newest(tail)?;
                        rows.push(row(tail.sequence, tail.position, tail.newest, false));
                    }
                    Again::Cache { k } => kept = kept.max(k),
                    _ => {}
                }
                rows.push(row(tail.sequence, tail.position + 1, *token, true));
                // Under freeze, a row that is last is as it would be without.
                let frozen = matches!(tail.again, Again::Cache { .. });
                if !tail.plan.is_empty() && !frozen {
                    editors.insert(tail.sequence, Editor::new(tail.plan.clone(), n_layer));
                }
            }
            let capture = (kept > 0).then(|| Capture {
                targets: vec![Target::Input],
                layers: (0..kept).collect(),
                ..Capture::default()
            });
            let mut observed = self.context().decode(&rows, editors, capture)?;
            self.work.layer_rows += rows.len() as u64 * u64::from(n_layer);
            self.work.decodes += 1;
            let outputs = (0..rows.len()).filter(|n| rows[*n].output);
            for ((mut tail, token), at) in now.into_iter().zip(outputs) {
                let (job, outcome) = &mut outcomes[tail.of];
                let logits = self.inspect().logits(at).map_err(EngineError::from);
                let logits = logits.map_err(|error| error.of(job.index))?;
                tail.likeliest = likeliest(logits);
                if let Kind::Forced(n) = tail.kind {
                    outcome.branches[n].push(logits.to_vec());
                }
                for touched in [&observed.touched, &touched] {
                    if let Some(touched) = touched.get(&tail.sequence) {
                        Touched::add(&mut outcome.touched, touched);
                    }
                }
                if let Some(states) = observed.states.remove(&tail.sequence) {
                    tail.states = Arc::new(states.inputs);
                }
                tail.newest = token;
                tail.position += 1;
                tail.produced += 1;
                stepped.push(tail);
            }
        }
        Ok(stepped)
    }

    /// Makes the newest tokens prior under freeze.
    fn freeze_newest<'t>(
        &mut self,
        tails: impl Iterator<Item = &'t Tail>,
    ) -> Result<HashMap<u32, Vec<Touched>>, EngineError> {
        let (mut rows, mut starts) = (Vec::new(), Vec::new());
        let mut first = u32::MAX;
        for tail in tails {
            if let Again::Cache { k } = tail.again
                && tail.is_touched()
            {
                self.drop_newest(tail)?;
                // Logits are asked for and not computed: with as many rows and outputs as the
                // decode that follows, llama.cpp takes the same graph for both.
                rows.push(Row {
                    output: true,
                    ..row(tail.sequence, tail.position, tail.newest, false)
                });
                starts.push(Start {
                    states: tail.states.clone(),
                    from: k,
                    frozen: Some(k),
                });
                first = first.min(k);
            }
        }
        if rows.is_empty() {
            return Ok(HashMap::new());
        }
        let cut = Cut {
            first,
            cache: CacheFill::All,
            silent: false,
            onward: false,
        };
        self.work.cache_rows += rows.len() as u64 * u64::from(cut.layers(self.n_layer()));
        self.work.decodes += 1;
        let observed = self
            .context()
            .decode_part(&rows, HashMap::new(), &cut, starts)?;
        Ok(observed.touched)
    }

    /// Drops the newest token's cell. It may be shared with the prompt; this leaves it to the
    /// others.
    fn drop_newest(&mut self, tail: &Tail) -> Result<(), EngineError> {
        let first = tail.position as u32;
        Ok(self.context().rewind(tail.sequence, first)?)
    }
}

impl Tail {
    /// Whether the newest token is treated otherwise once it is prior.
    fn is_touched(&self) -> bool {
        is_touched(&self.plan, self.position)
    }
}
