//! A prompt with all that is to be run on it, and the lines of JSON that come of it.

use super::answers::{Answer, follow};
use super::json::Line;
use super::runs::{self, Run};
use super::{check_room, continued};
use crate::cli::args::{TryArgs, YesNo};
use crate::cli::output::say;
use crate::cli::setup::Loaded;
use crate::cli::text::plain;
use crate::cli::tokens::{listed, read};
use crate::engine::{Ending, Outcome, Planned, Prompt, Request};
use crate::intervention::PositionSet;
use crate::runtime::{Model, Token};

/// A prompt and its runs.
pub struct Asked {
    pub prompt: Prompt,
    pub runs: Vec<Run>,
    /// Those asked about; the likeliest token is filled in once the clean run is there.
    pub answers: Vec<Answer>,
    /// The clean run, without what answers need.
    pub clean: Request,
    selected: PositionSet,
    continuations: Vec<Vec<Token>>,
    generate: Option<u32>,
}

impl Asked {
    /// What the arguments ask for, of the texts that they name.
    pub fn of(
        args: &TryArgs,
        loaded: &Loaded,
        engine: &mut Planned,
        text: &str,
        donor: Option<&str>,
    ) -> anyhow::Result<Self> {
        let prompt = read(engine, &args.prompt, text)?;
        let longest = prompt.tokens.len() + args.generate.unwrap_or(0) as usize;
        if let Some(notice) = loaded.model.facts().length_notice(longest) {
            say(&notice);
        }
        let anatomy = engine.inspect().anatomy();
        let anatomy = anatomy.expect("engines have a callback").clone();
        if let Some(max) = args.generate {
            let positions = anatomy.learned_positions.unwrap_or(u32::MAX);
            let positions = positions.min(loaded.options.n_ctx);
            check_room(prompt.tokens.len(), max, positions)?;
        }
        let runs = runs::runs(args, engine, &anatomy, &prompt, donor)?;
        let (answers, continuations) = Answer::of(engine, &prompt, &args.answer)?;
        let clean = Request {
            manipulate_generated: args.generation.manipulate_generated == YesNo::Yes,
            ..Request::new(&prompt)
        };
        Ok(Self {
            selected: args.place.tokens.positions(&prompt)?,
            generate: args.generate,
            prompt,
            runs,
            answers,
            clean,
            continuations,
        })
    }

    /// The clean run and all others, each continued by so many tokens.
    pub fn requests(&self, generate: Option<u32>) -> Vec<Request> {
        let ending = generate.map(|max| Ending {
            max_tokens: max as usize,
            stop: String::new(),
        });
        std::iter::once(&self.clean)
            .chain(self.runs.iter().map(|run| &run.request))
            .map(|request| Request {
                generate: ending.clone(),
                ..follow(request.clone(), &self.continuations)
            })
            .collect()
    }

    /// Follows the likeliest token where no answer was asked about.
    pub fn begin(&mut self, model: &Model, clean: &Outcome) {
        if self.answers.is_empty() {
            self.answers.push(Answer::likeliest(model, clean));
        }
    }

    /// The tokens that are manipulated.
    pub fn selected(&self) -> &PositionSet {
        &self.selected
    }

    /// The clean run's line of JSON.
    pub fn first_line(&self, model: &Model, clean: &Outcome) -> Line {
        let tokens = listed(model, &self.prompt, Some(&self.selected));
        let line = self.of_run(model, None, clean, clean);
        line.with_prompt(&self.prompt, tokens)
    }

    /// A run's line of JSON.
    pub fn line(&self, model: &Model, run: usize, clean: &Outcome, outcome: &Outcome) -> Line {
        self.of_run(model, Some(&self.runs[run]), clean, outcome)
    }

    fn of_run(&self, model: &Model, run: Option<&Run>, clean: &Outcome, outcome: &Outcome) -> Line {
        let line = Line::new(model, run, &self.answers, clean, outcome);
        match self.generate {
            None => line,
            Some(_) => {
                let bytes = continued(model, outcome);
                line.with_generated(model, plain(&bytes), outcome)
            }
        }
    }
}
