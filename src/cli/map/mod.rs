//! `midlayer map`.

mod attention;
mod frame;
mod geometry;
mod lens;
mod over;
mod steps;
mod terminal;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;

use super::Usage;
use super::args::MapArgs;
use super::output::say;
use super::setup::{Loaded, load};
use super::tokens::read;
use super::try_prompt::engine;
use crate::engine::{Engine, Planned, Prompt};
use crate::experiment::Outside;
use crate::hook::Anatomy;
use crate::intervention::{Kind, Needs};
use crate::maps::{Form, Keyed, Map, Measure, Question, Unfinished, draw, draw_on};
use crate::runtime::Token;
use crate::shown::{plain, shown};
use crate::sweep::Given;
use crate::tasks::Parts;
use crate::trial::{self, Donor, Part, Place};
use frame::{Frame, show};

pub fn run(args: MapArgs) -> anyhow::Result<()> {
    if args.lens {
        return lens::run(&args);
    }
    if !args.attention.is_empty() {
        return attention::run(&args);
    }
    if let Some(aspect) = args.geometry {
        return geometry::run(&args, aspect);
    }
    check(&args)?;
    if let Some(of) = &args.steps {
        return steps::run(&args, of);
    }
    if let Some(task) = &args.task {
        return over::run(&args, task);
    }
    let text = args.prompt.prompt.read("-p")?;
    let from = args.from.as_ref();
    let from = from.map(|from| from.read("--from")).transpose()?;
    let loaded = load(&args.model)?;
    let mut engine = engine(&loaded)?;
    let prompt = read(&engine, &args.prompt, &text)?;
    if let Some(notice) = loaded.model.facts().length_notice(prompt.tokens.len()) {
        say(&notice);
    }
    let anatomy = engine.inspect().anatomy();
    let anatomy = anatomy.expect("engines have a callback").clone();
    let question = question(&args, &mut engine, &anatomy, &prompt, from.as_deref())?;
    let frame = frame(&loaded, &question);
    let mut unfinished = unfinished(&args, &loaded)?;
    tell_kept(unfinished.as_ref(), &question);
    let kept = unfinished.as_mut();
    let map = frame.drawn(&args, |told| {
        draw_on(&mut engine, &anatomy, &question, kept, told)
    })?;
    let printed = show(&args, &frame.picture(&map))?;
    finish(unfinished)?;
    printed
}

/// What is computed of a map that is to be written, so that it goes on after an interruption.
fn unfinished(args: &MapArgs, loaded: &Loaded) -> anyhow::Result<Option<Unfinished>> {
    let Some(out) = args.out.first() else {
        return Ok(None);
    };
    let settings = serde_json::to_string(&loaded.options)?;
    let sha256 = loaded.files.sha256();
    let source = format!("{sha256} {settings} {:?} {}", loaded.load, crate::REVISION);
    let file = Unfinished::beside(out, &source);
    let file =
        file.map_err(|error| anyhow::anyhow!("{}.unfinished: {error} (--out)", out.display()));
    file.map(Some)
}

/// Says what is there of a map.
fn tell_kept(unfinished: Option<&Unfinished>, question: &impl Keyed) {
    let Some(file) = unfinished else { return };
    let n = file.cells(question);
    if n > 0 {
        let path = file.path().display();
        say(&format!("{n} cells are in {path}: going on"));
    }
}

/// The map is written: what was kept of it meanwhile goes.
fn finish(unfinished: Option<Unfinished>) -> anyhow::Result<()> {
    let Some(file) = unfinished else {
        return Ok(());
    };
    let path = file.path().display().to_string();
    if let Some(why) = file.failed() {
        say(&format!(
            "{path}: {why}; an interruption would have begun anew"
        ));
    }
    file.finish()
        .map_err(|error| anyhow::anyhow!("{path}: {error}"))
}

/// The lines of `-o json`, on an engine that is there. `told` is given how many runs, or layers,
/// are done, and of how many; it may stop the rest.
pub fn json_lines(
    args: &MapArgs,
    loaded: &Loaded,
    engine: &mut Planned,
    text: &str,
    told: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> anyhow::Result<String> {
    if args.lens {
        return lens::json_lines(args, loaded, engine, text, told);
    }
    check(args)?;
    let prompt = read(engine, &args.prompt, text)?;
    let anatomy = engine.inspect().anatomy();
    let anatomy = anatomy.expect("engines have a callback").clone();
    let question = question(args, engine, &anatomy, &prompt, None)?;
    let drawn = draw(engine, &anatomy, &question, &mut |_, done, all| {
        told(done, all)
    })?;
    let map = placed(drawn, question.kind)?;
    let frame = frame(loaded, &question);
    Ok(frame.picture(&map).text(Form::Jsonl))
}

/// A map that has a cell.
fn placed(map: Map, kind: Kind) -> Result<Map, Usage> {
    match map.values.iter().flatten().all(Option::is_none) {
        false => Ok(map),
        true => Err(Usage(format!(
            "{kind} has no place at any of the layers asked for (--layers)"
        ))),
    }
}

/// Writes what is to be written, and says so.
fn write_files(args: &MapArgs, write: impl Fn(&Path) -> io::Result<()>) -> anyhow::Result<()> {
    for file in &args.out {
        write(file).map_err(|error| {
            anyhow::anyhow!("{} cannot be written: {error} (--out)", file.display())
        })?;
        say(&format!("wrote {}", file.display()));
    }
    Ok(())
}

/// Refuses files whose endings name no form.
fn check_files(args: &MapArgs) -> Result<(), Usage> {
    for file in &args.out {
        Form::check(file).map_err(|why| Usage(format!("{why} (--out)")))?;
    }
    Ok(())
}

/// What can be known to be wrong without a model.
fn check(args: &MapArgs) -> Result<(), Usage> {
    let kind = kind(args);
    for site in args.place().sites() {
        kind.check_site(site)
            .map_err(|why| Usage(format!("{why} (--site)")))?;
    }
    let lacks = match kind.manipulation().needs() {
        // Items have no donors, which is said where they run.
        Needs::Donor if args.corrupt.is_some() || args.from.is_some() || args.task.is_some() => {
            None
        }
        Needs::Donor if args.steps.is_some() => {
            return Err(Usage(format!(
                "{kind} needs a donor's states, which generated tokens do not have (--steps)"
            )));
        }
        Needs::Donor => Some("--from, the donor prompt"),
        _ => args.outside.files().lack(kind),
    };
    if let Some(option) = lacks {
        return Err(Usage(format!("{kind} needs {option}")));
    }
    if args.from.is_some() && kind.manipulation().needs() != Needs::Donor {
        return Err(Usage(format!(
            "--from needs --manipulate {}",
            Kind::patch()
        )));
    }
    if args.foil == Some(None) && args.task.is_none() {
        return Err(Usage(
            "--foil needs a text, as --foil ' Rome'; without one it is each item's own (--task)"
                .into(),
        ));
    }
    let needs = args.corrupt_by.manipulation().needs();
    if args.corrupt.is_some() && needs != Needs::Nothing {
        return Err(Usage(format!(
            "{} needs states, and what corrupts a prompt is given none (--corrupt-by)",
            args.corrupt_by
        )));
    }
    check_files(args)
}

/// What is done to each state: where something is restored, its clean self is put back.
fn kind(args: &MapArgs) -> Kind {
    match args.corrupt {
        Some(_) => Kind::patch(),
        None => args.manipulate,
    }
}

fn question<'q>(
    args: &MapArgs,
    engine: &mut Planned,
    anatomy: &Anatomy,
    prompt: &'q Prompt,
    from: Option<&str>,
) -> anyhow::Result<Question<'q>> {
    let donor = match (from, &args.corrupt) {
        (Some(from), _) => {
            let wording = args.prompt.wording.of_argument(args.prompt.chat);
            Some(wording.prompt(engine.tokenizer(), from)?)
        }
        // What is restored is the prompt's own.
        (None, Some(_)) => Some(prompt.clone()),
        (None, None) => None,
    };
    let mut part = part(args, engine)?;
    part.donor = donor.map(|prompt| Donor {
        prompt,
        at: None,
        from_at: None,
    });
    let measure = measure(args, engine, prompt)?;
    let mut question = trial::question(&part, &args.layers, &args.seed, measure, engine, prompt)?;
    if from.is_some() {
        let asked = part.place.tokens.positions(prompt)?;
        let asked = asked.count_below(prompt.tokens.len() as u32 - 1);
        let left = asked as usize - question.positions.len();
        if left > 0 {
            say(&format!(
                "tokens without a counterpart in the donor prompt are left out: {left} (--from)"
            ));
        }
    }
    if args.heads {
        question.down = trial::heads(anatomy, part.kind)?;
    }
    if let Some(selector) = &args.corrupt {
        let (kind, seed) = (args.corrupt_by, question.seeds[0]);
        let by = trial::corruption(kind, selector, seed, prompt, &Parts::new())?;
        question.corrupted = Some(by);
    }
    Ok(question)
}

/// What is done to each state, without the prompt whose states are put there.
fn part(args: &MapArgs, engine: &Planned) -> anyhow::Result<Part> {
    let outside = Outside::of(args.outside.files(), engine.facts())?;
    Ok(Part {
        kind: kind(args),
        layer: None,
        place: Place {
            tokens: args.tokens.clone(),
            extent: args.place().extent,
            sites: args.place().sites(),
        },
        donor: None,
        given: Rc::new(Given::read(&outside, engine)?),
    })
}

fn measure(args: &MapArgs, engine: &mut Planned, prompt: &Prompt) -> anyhow::Result<Measure> {
    if args.kl {
        return Ok(Measure::Kl);
    }
    let answer = args.answer.as_deref();
    let foil = args.foil.as_ref().and_then(Option::as_deref);
    let measure = trial::measure(engine, prompt, answer, foil)?;
    if let (None, Measure::LogProbability(of) | Measure::LogitDifference(of, _)) =
        (answer, &measure)
    {
        say(&format!(
            "the answer is the clean run's likeliest token, {} (--answer)",
            shown(&engine.tokenizer().piece(of.0[0]).into_bytes())
        ));
    }
    Ok(measure)
}

/// The frame of a prompt's map.
fn frame(loaded: &Loaded, question: &Question<'_>) -> Frame {
    Frame {
        kind: question.kind,
        tokens: tokens(loaded, question.prompt, &question.positions),
        title: question.title(&loaded.model.facts().name),
        measure: question.measure.name(),
        first: question.first_picture(),
    }
}

/// The tokens of the map's rows.
fn tokens(loaded: &Loaded, prompt: &Prompt, positions: &[u32]) -> Vec<(i32, String)> {
    let token = |at: &u32| row(loaded, prompt.tokens[*at as usize]);
    positions.iter().map(token).collect()
}

/// What a row tells of its token: its id and its text.
fn row(loaded: &Loaded, token: Token) -> (i32, String) {
    (token.0, plain(&loaded.model.piece(token)))
}
