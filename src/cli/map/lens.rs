//! `midlayer map --lens`: the logit lens.

mod terminal;

use std::ops::ControlFlow;

use super::terminal::Paint;
use super::{check_files, tokens, write_files};
use crate::cli::Usage;
use crate::cli::args::{Format, MapArgs};
use crate::cli::output::{layer_bar, print, print_painted, say, width};
use crate::cli::setup::{Loaded, load};
use crate::cli::tokens::read;
use crate::cli::try_prompt::engine;
use crate::engine::{Engine, Planned, Prompt};
use crate::maps::{Form, Lens, LensPicture};
use crate::runtime::Token;
use crate::shown::{plain, shown};
use crate::trial::answer_tokens;

pub fn run(args: &MapArgs) -> anyhow::Result<()> {
    check_files(args)?;
    let text = args.prompt.prompt.read("-p")?;
    let loaded = load(&args.model)?;
    let mut engine = engine(&loaded)?;
    let prompt = read(&engine, &args.prompt, &text)?;
    if let Some(notice) = loaded.model.facts().length_notice(prompt.tokens.len()) {
        say(&notice);
    }
    let bar = layer_bar();
    let looked = Looked::of(args, &mut engine, &prompt, &mut |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    let looked = looked?;
    let rows = tokens(&loaded, &prompt, &looked.lens.positions);
    let text_of = |token: Token| plain(&loaded.model.piece(token));
    let picture = looked.picture(&loaded, &rows, &text_of);
    let printed = match args.output {
        Format::Text => print_painted(&terminal::text(&picture, width(), Paint::of_stdout())),
        Format::Json => print(&picture.text(Form::Jsonl)),
    };
    write_files(args, |file| picture.write(file))?;
    printed
}

fn title(loaded: &Loaded) -> String {
    let model = &loaded.model.facts().name;
    format!("{model}: what its final norm and head say of each state (logit lens)")
}

/// The rows: the tokens chosen, and the last one, after which the answer comes.
fn positions(args: &MapArgs, prompt: &Prompt) -> anyhow::Result<Vec<u32>> {
    let last = prompt.tokens.len() as u32 - 1;
    let mut positions = Vec::new();
    if last > 0 {
        let chosen = args.tokens.positions(prompt)?;
        positions.extend((0..last).filter(|at| chosen.contains(*at)));
    }
    positions.push(last);
    Ok(positions)
}

/// A lens and the answer that it follows.
struct Looked {
    lens: Lens,
    answer: Option<Token>,
}

impl Looked {
    fn of(
        args: &MapArgs,
        engine: &mut Planned,
        prompt: &Prompt,
        told: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> anyhow::Result<Self> {
        let answer = args.answer.as_ref();
        let answer = answer.map(|text| one_token(engine, prompt, text));
        let answer = answer.transpose()?;
        let layers = args.layers.resolve(engine.facts().n_layer)?;
        let positions = positions(args, prompt)?;
        let lens = Lens::of(engine, prompt, (&layers, &positions), answer, told)?;
        Ok(Self { lens, answer })
    }

    fn picture<'l>(
        &'l self,
        loaded: &Loaded,
        rows: &'l [(i32, String)],
        text_of: &'l dyn Fn(Token) -> String,
    ) -> LensPicture<'l> {
        LensPicture {
            lens: &self.lens,
            tokens: rows,
            title: title(loaded),
            answer: self.answer.map(text_of),
            text_of,
        }
    }
}

/// The lines of `-o json`, on an engine that is there.
pub fn json_lines(
    args: &MapArgs,
    loaded: &Loaded,
    engine: &mut Planned,
    text: &str,
    told: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> anyhow::Result<String> {
    let prompt = read(engine, &args.prompt, text)?;
    let looked = Looked::of(args, engine, &prompt, told)?;
    let rows = tokens(loaded, &prompt, &looked.lens.positions);
    let text_of = |token: Token| plain(&loaded.model.piece(token));
    Ok(looked.picture(loaded, &rows, &text_of).text(Form::Jsonl))
}

/// The token of an answer, which must be a single one: the head says what token comes next.
fn one_token(engine: &dyn Engine, prompt: &Prompt, text: &str) -> anyhow::Result<Token> {
    let tokens = answer_tokens(engine, prompt, text, "--answer")?;
    match &tokens[..] {
        [token] => Ok(*token),
        [] => Err(Usage(format!("{text:?} has no tokens (--answer)")).into()),
        [first, ..] => Err(Usage(format!(
            "{text:?} has {} tokens, and a state says which one comes next; follow the first of them, {} (--answer)",
            tokens.len(),
            shown(engine.piece(*first).as_bytes()),
        ))
        .into()),
    }
}
