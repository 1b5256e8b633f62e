//! `midlayer try`.

mod asked;
mod rows;
mod single;
mod stream;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use indicatif::ProgressBar;

use super::Usage;
use super::args::{Format, TryArgs};
use super::output::{print, run_bar, say, width};
use super::setup::{Loaded, load};
use crate::engine::{Engine, Outcome, Planned};
use crate::plan::{Plan, Shape};
use crate::runtime::Model;
use crate::shown::plain;
use crate::trial::{Run, continued};
pub use asked::{Asked, check};
use rows::{Layout, Row};

pub use crate::trial::FIELDS;
pub use stream::Stream;

/// Sequences at once: a small wave and what follows its texts.
const PARALLEL: u32 = 16;

pub fn run(args: TryArgs) -> anyhow::Result<()> {
    // Before the model is loaded: what can be known to be wrong without it.
    asked::check(&args)?;
    let text = args.prompt.prompt.read("-p")?;
    let donor = args.inject_from.as_ref();
    let donor = donor.map(|from| from.read("--inject-from")).transpose()?;
    let loaded = load(&args.model)?;
    let mut engine = engine(&loaded)?;
    let asked = Asked::of(&args, &loaded, &mut engine, &text, donor.as_deref())?;
    if let Some(path) = &args.save_plan {
        save_plan(path, &engine, &asked.runs)?;
    }
    let streams = args.generate.is_some() && args.output == Format::Text && asked.runs.len() == 1;
    let requests = asked.requests(args.generate.filter(|_| !streams));
    let mut show = Show {
        args: &args,
        model: &loaded.model,
        bar: run_bar(asked.runs.len() as u64),
        asked,
        clean: None,
        waiting: BTreeMap::new(),
        next: 0,
    };
    let mut failed = None;
    let result = engine.run_all(&requests, &mut |n, outcome| match show.take(n, outcome) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    });
    show.bar.finish_and_clear();
    match (failed, result) {
        (Some(error), _) => return Err(error),
        (None, result) => result?,
    }
    show.end()?;
    let Asked { runs, clean, .. } = &show.asked;
    if let (true, [run], Some(max)) = (streams, &runs[..], args.generate) {
        drop(engine);
        let both = (&mut loaded.engine()?, &mut loaded.engine()?);
        stream::stream(&loaded.model, both, clean, run, max as usize)?;
    }
    Ok(())
}

/// Refuses what is known at the start to end at the last position. The last token that is
/// generated needs none. A prompt that does not fit by itself is an error of its own.
fn check_room(prompt: usize, max: u32, positions: u32) -> Result<(), Usage> {
    let room = (positions as usize + 1).saturating_sub(prompt);
    if room == 0 || max as usize <= room {
        return Ok(());
    }
    Err(Usage(format!(
        "the prompt's {prompt} tokens and {max} more do not fit {positions} positions: generate at most {room}, or raise -c if it is below what the model has (--generate)"
    )))
}

/// The engine of somebody who waits.
pub fn engine(loaded: &Loaded) -> anyhow::Result<Planned> {
    let planned = Planned::new(loaded.model.clone(), &loaded.options, PARALLEL)?;
    Ok(planned.eager())
}

/// Writes the plan of the only run.
fn save_plan(path: &Path, engine: &dyn Engine, runs: &[Run]) -> anyhow::Result<()> {
    let [run] = runs else {
        let text = format!(
            "a plan is one run, and these are {} (--save-plan, --layers, --manipulate, --seed)",
            runs.len()
        );
        return Err(Usage(text).into());
    };
    let facts = engine.facts();
    let shape = Shape {
        layers: facts.n_layer,
        width: facts.n_embd,
    };
    Plan::of(&run.request.plan, shape)?.write(path)?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}

/// Shows outcomes as they come: the clean one first, the others in the order of the runs.
struct Show<'s> {
    args: &'s TryArgs,
    model: &'s Model,
    asked: Asked,
    /// The clean run's outcome, and where the columns of a list are.
    clean: Option<(Outcome, Layout)>,
    /// What came early, by its run.
    waiting: BTreeMap<usize, String>,
    next: usize,
    bar: ProgressBar,
}

impl Show<'_> {
    /// The outcome of request `n`; the first is the clean run.
    fn take(&mut self, n: usize, outcome: Outcome) -> anyhow::Result<()> {
        let Some(run) = n.checked_sub(1) else {
            return self.begin(outcome);
        };
        let text = self.of_run(run, &outcome)?;
        self.waiting.insert(run, text);
        while let Some(text) = self.waiting.remove(&self.next) {
            self.bar.suspend(|| print(&text))?;
            self.next += 1;
            self.bar.inc(1);
        }
        Ok(())
    }

    fn begin(&mut self, clean: Outcome) -> anyhow::Result<()> {
        self.asked.begin(self.model, &clean);
        self.tell_spaces(&clean);
        let n_vocab = self.model.facts().n_vocab;
        let Asked { runs, answers, .. } = &self.asked;
        let layout = Layout::new(runs, answers, n_vocab, width());
        let text = match (self.args.output, &runs[..]) {
            (Format::Json, _) => self.asked.first_line(self.model, &clean).text(),
            (Format::Text, [_]) => String::new(),
            (Format::Text, _) => layout.head(answers, &self.row(&clean, &clean)),
        };
        self.clean = Some((clean, layout));
        self.bar.suspend(|| print(&text))
    }

    fn of_run(&self, n: usize, outcome: &Outcome) -> anyhow::Result<String> {
        let Asked { runs, answers, .. } = &self.asked;
        let run = &runs[n];
        let (clean, layout) = self.clean.as_ref().expect("the clean run comes first");
        let model = self.model;
        match (self.args.output, &runs[..]) {
            (Format::Json, _) => Ok(self.asked.line(model, n, clean, outcome).text()),
            (Format::Text, [_]) if self.args.generate.is_some() => {
                Ok(single::findings(run, answers, clean, outcome) + "\n")
            }
            (Format::Text, [_]) => Ok(single::side_by_side(model, run, answers, clean, outcome)),
            (Format::Text, runs) => {
                let before = n.checked_sub(1).map(|n| (runs[n].stack, runs[n].seed));
                let title = match before == Some((run.stack, run.seed)) {
                    true => String::new(),
                    false => layout.title(run),
                };
                let layer = run.layer.map_or(String::new(), |layer| layer.to_string());
                let row = self.row(clean, outcome);
                Ok(format!("{title}{}", layout.row(&layer, &row)))
            }
        }
    }

    fn row(&self, clean: &Outcome, outcome: &Outcome) -> Row {
        let row = Row::of(self.model, &self.asked.answers, clean, outcome);
        let generated = self.args.generate;
        Row {
            generated: generated.map(|_| continued(self.model, outcome)),
            ..row
        }
    }

    /// An answer that lacks the space of the likeliest token is hardly what was meant.
    fn tell_spaces(&self, clean: &Outcome) {
        let likeliest = plain(&self.model.piece(clean.argmax()));
        let answers = self.asked.answers.iter();
        let mut texts = answers.map(|answer| &answer.text);
        if let Some(text) = texts.find(|t| **t != likeliest && t.trim() == likeliest.trim()) {
            let text = format!(
                "the likeliest token is {likeliest:?}, and {text:?} is another one (--answer)"
            );
            self.bar.suspend(|| say(&text));
        }
    }

    fn end(&self) -> anyhow::Result<()> {
        let list = self.args.output == Format::Text && self.asked.runs.len() != 1;
        match &self.clean {
            Some((_, layout)) if list => print(&layout.end(&self.asked.answers)),
            _ => Ok(()),
        }
    }
}
