//! What the runs of a trial gave.

use std::ops::ControlFlow;

use super::{Answer, Line, Run, TrialError, follow};
use crate::engine::{Ending, Engine, EngineError, Outcome, Prompt, Request};
use crate::runtime::Model;

/// The outcomes of a trial, beside the clean one.
#[derive(Debug)]
pub struct Results {
    /// What was run.
    pub runs: Vec<Run>,
    /// The answers followed: those asked about, or the clean run's likeliest token.
    pub answers: Vec<Answer>,
    /// The clean run.
    pub clean: Outcome,
    /// The runs' outcomes, in their order.
    pub outcomes: Vec<Outcome>,
    /// Whether the prompt was continued.
    generated: bool,
}

impl Results {
    /// A run as JSON, or the clean run.
    pub fn line(&self, model: &Model, run: Option<usize>) -> Line {
        let outcome = run.map_or(&self.clean, |n| &self.outcomes[n]);
        let run = run.map(|n| &self.runs[n]);
        let line = Line::new(model, run, &self.answers, &self.clean, outcome);
        match self.generated {
            true => line.with_generated(model, outcome),
            false => line,
        }
    }
}

/// Runs a prompt clean and as `runs` say, and follows `answers`; `generate` continues it by so many
/// tokens. `done` is told how many outcomes there are, and may want no more.
///
/// # Errors
/// [`TrialError`]; [`EngineError::Stopped`] where `done` wanted no more.
pub fn results(
    engine: &mut dyn Engine,
    model: &Model,
    prompt: &Prompt,
    runs: Vec<Run>,
    answers: &[String],
    generate: Option<usize>,
    done: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Results, TrialError> {
    let (mut answers, continuations) = Answer::of(engine, prompt, answers)?;
    let ending = generate.map(|max_tokens| Ending {
        max_tokens,
        stop: String::new(),
    });
    let clean = Request::new(prompt);
    let requests: Vec<Request> = std::iter::once(&clean)
        .chain(runs.iter().map(|run| &run.request))
        .map(|request| Request {
            generate: ending.clone(),
            ..follow(request.clone(), &continuations)
        })
        .collect();
    let mut outcomes: Vec<Option<Outcome>> = vec![None; requests.len()];
    let mut n = 0;
    engine.run_all(&requests, &mut |at, outcome| {
        outcomes[at] = Some(outcome);
        n += 1;
        done(n)
    })?;
    let outcomes: Option<Vec<Outcome>> = outcomes.into_iter().collect();
    let mut outcomes = outcomes.ok_or(EngineError::Stopped)?;
    let clean = outcomes.remove(0);
    if answers.is_empty() {
        answers.push(Answer::likeliest(model, &clean));
    }
    Ok(Results {
        runs,
        answers,
        clean,
        outcomes,
        generated: generate.is_some(),
    })
}
