//! `midlayer map --steps`.

use super::frame::{Frame, show};
use super::{finish, part, row, tell_kept, unfinished};
use crate::cli::args::MapArgs;
use crate::cli::output::say;
use crate::cli::setup::load;
use crate::cli::tokens::read;
use crate::cli::try_prompt::engine;
use crate::intervention::LayerList;
use crate::maps::draw_steps_on;
use crate::trial;

pub fn run(args: &MapArgs, steps: &LayerList) -> anyhow::Result<()> {
    let text = args.prompt.prompt.read("-p")?;
    let loaded = load(&args.model)?;
    let mut engine = engine(&loaded)?;
    let prompt = read(&engine, &args.prompt, &text)?;
    let facts = loaded.model.facts();
    let longest = prompt.tokens.len() + args.generate as usize;
    if let Some(notice) = facts.length_notice(longest) {
        say(&notice);
    }
    let anatomy = engine.inspect().anatomy();
    let anatomy = anatomy.expect("engines have a callback").clone();
    let part = part(args, &engine)?;
    let question = trial::steps(
        &part,
        (&args.layers, steps),
        (&args.seed, args.generate as usize),
        args.kl,
        &mut engine,
        &prompt,
    )?;
    let followed = |step: &u32| row(&loaded, question.followed.0[*step as usize]);
    let frame = Frame {
        kind: question.kind,
        tokens: question.steps.iter().map(followed).collect(),
        title: question.title(&facts.name),
        measure: question.measure(),
        first: question.first_picture(),
    };
    let mut unfinished = unfinished(args, &loaded)?;
    tell_kept(unfinished.as_ref(), &question);
    let kept = unfinished.as_mut();
    let map = frame.drawn(args, |told| {
        draw_steps_on(&mut engine, &anatomy, &question, kept, told)
    })?;
    let printed = show(args, &frame.picture(&map))?;
    finish(unfinished)?;
    printed
}
