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
    let answer = args.answer.as_ref();
    let answer = answer.map(|text| one_token(&engine, &prompt, text));
    let answer = answer.transpose()?;
    let layers = args.layers.resolve(engine.facts().n_layer)?;
    let positions = positions(args, &prompt)?;
    let lens = look(&mut engine, &prompt, (&layers, &positions), answer)?;
    let rows = tokens(&loaded, &prompt, &positions);
    let text_of = |token: Token| plain(&loaded.model.piece(token));
    let picture = LensPicture {
        lens: &lens,
        tokens: &rows,
        title: title(&loaded),
        answer: answer.map(text_of),
        text_of: &text_of,
    };
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

fn look(
    engine: &mut Planned,
    prompt: &Prompt,
    of: (&[u32], &[u32]),
    answer: Option<Token>,
) -> anyhow::Result<Lens> {
    let bar = layer_bar();
    let lens = Lens::of(engine, prompt, of, answer, &mut |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    Ok(lens?)
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
