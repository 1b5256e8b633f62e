//! From the arguments of `midlayer try` to a prompt with all that is to be run on it, and the
//! lines of JSON that come of it.

use std::rc::Rc;

use super::check_room;
use crate::cli::Usage;
use crate::cli::args::{TryArgs, YesNo};
use crate::cli::output::say;
use crate::cli::setup::Loaded;
use crate::cli::tokens::read;
use crate::engine::{Ending, Engine, Outcome, Planned, Prompt, Request};
use crate::experiment::Outside;
use crate::intervention::{Needs, PositionSet};
use crate::runtime::{Model, Token};
use crate::sweep::Given;
use crate::trial::{Answer, Donor, Line, Part, Place, Run, Trial, follow, listed, runs};

/// What can be known to be wrong without a model.
pub fn check(args: &TryArgs) -> Result<(), Usage> {
    for (kind, _) in args.manipulate.iter().flat_map(|stack| &stack.0) {
        let mut sites = args.place.sites().into_iter();
        sites
            .try_for_each(|site| kind.check_site(site))
            .map_err(|why| Usage(format!("{why} (--site)")))?;
    }
    let stacks = args.manipulate.iter().flat_map(|stack| &stack.0);
    args.outside.check(stacks.map(|(kind, _)| *kind))?;
    let injects = args
        .manipulate
        .iter()
        .any(|stack| stack.needs(Needs::Donor));
    let residual = args.place.sites().iter().any(|site| !site.is_cached());
    let named = (args.inject_from.is_some(), args.inject_at.is_some());
    let fits = match named {
        (true, true) => injects,
        // Keys and values may come from the same positions of the donor.
        (true, false) => injects && !residual,
        (false, true) => false,
        (false, false) => !injects,
    };
    if fits {
        return Ok(());
    }
    Err(Usage(
        "inject needs --inject-from (the donor prompt) and, but for keys and values, --inject-at (the part replaced); both need --manipulate inject".into(),
    ))
}

/// A trial for each stack.
fn trials(args: &TryArgs, engine: &dyn Engine, donor: Option<&str>) -> anyhow::Result<Vec<Trial>> {
    let outside = Outside::of(args.outside.files(), engine.facts())?;
    let given = Rc::new(Given::read(&outside, engine)?);
    let donor = donor.map(|from| {
        let wording = args.prompt.wording.of_argument(false);
        wording.prompt(engine.tokenizer(), from)
    });
    let donor = donor.transpose()?.map(|prompt| Donor {
        prompt,
        at: args.inject_at.clone(),
        from_at: args.inject_from_at.clone(),
    });
    let place = Place {
        tokens: args.place.tokens(),
        extent: args.place.extent,
        sites: args.place.sites(),
    };
    let trials = args.manipulate.iter().map(|stack| {
        let parts = stack.0.iter().map(|&(kind, layer)| Part {
            kind,
            layer,
            place: place.clone(),
            donor: donor.clone().filter(|_| kind.has_donor()),
            given: given.clone(),
        });
        Trial {
            seeds: args.seed.clone(),
            manipulate_generated: args.generation.manipulate_generated == YesNo::Yes,
            from_step: args.generation.from_step as usize,
            generates: args.generate.is_some(),
            ..Trial::new(parts.collect(), args.layers.clone())
        }
    });
    Ok(trials.collect())
}

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
        let trials = trials(args, engine, donor)?;
        let runs = runs(&trials, engine, &anatomy, &prompt, &mut |text| say(text))?;
        let (answers, continuations) = Answer::of(engine, &prompt, &args.answer)?;
        let clean = Request {
            manipulate_generated: args.generation.manipulate_generated == YesNo::Yes,
            ..Request::new(&prompt)
        };
        Ok(Self {
            selected: args.place.tokens().positions(&prompt)?,
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
            Some(_) => line.with_generated(model, outcome),
        }
    }
}
