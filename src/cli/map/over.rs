//! `midlayer map --task`: maps of a task's items, averaged.

use std::ops::ControlFlow;

use super::frame::show;
use super::{finish, kind, part, placed, unfinished};
use crate::cli::Usage;
use crate::cli::args::{MapArgs, TaskArg};
use crate::cli::output::{item_bar, say};
use crate::cli::setup::load;
use crate::cli::try_prompt::engine;
use crate::engine::{Engine, Planned};
use crate::experiment::Reasons;
use crate::intervention::Needs;
use crate::maps::{Averaged, Down, Over, Picture};
use crate::models::Remember;
use crate::tasks::{ItemSet, TaskName};
use crate::trial::{self, About, OfItems, Told, item_maps};

pub fn run(args: &MapArgs, task: &TaskArg) -> anyhow::Result<()> {
    let kind = kind(args);
    if args.corrupt.is_none() && kind.manipulation().needs() == Needs::Donor {
        return Err(Usage(format!(
            "{kind} needs a donor of as many tokens, which items do not have; corrupt a part of them and put it back (--corrupt subject)"
        ))
        .into());
    }
    let loaded = load(&args.model)?;
    let mut engine = engine(&loaded)?;
    let anatomy = engine.inspect().anatomy();
    let anatomy = anatomy.expect("engines have a callback").clone();
    let part = part(args, &engine)?;
    let of = OfItems {
        part: &part,
        layers: &args.layers,
        seeds: &args.seed,
        down: match args.heads {
            true => trial::heads(&anatomy, kind)?,
            false => Down::Roles,
        },
        corrupted: args.corrupt.as_ref().map(|at| (args.corrupt_by, at)),
        about: about(args),
    };
    let set = items(args, task, &engine)?;
    let bar = item_bar(set.items.len() as u64);
    let mut unfinished = unfinished(args, &loaded)?;
    let kept = unfinished.as_mut();
    let made = item_maps(&mut engine, &anatomy, &of, &set.items, kept, &mut |done| {
        bar.set_position(done as u64);
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    let mut made = made?;
    made.left_out.extend(set.left_out);
    let name = task.task;
    let Some(averaged) = Averaged::of(&made.maps) else {
        return Err(none(name, args, &made.reasons()).into());
    };
    if let Some(notice) = made.notice(name) {
        say(&notice);
    }
    placed(averaged.mean.clone(), kind)?;
    let picture = Picture {
        map: &averaged.mean,
        tokens: &[],
        title: of.title(&loaded.model.facts().name, name, made.maps.len()),
        measure: of.measure(),
        across: "layer",
        change: true,
        over: Some(Over {
            averaged: &averaged,
            items: &made.maps,
        }),
    };
    let printed = show(args, &picture)?;
    finish(unfinished)?;
    printed
}

fn about(args: &MapArgs) -> About<'_> {
    match &args.foil {
        Some(Some(text)) => About::Foil(text),
        Some(None) => About::OwnFoil,
        None if args.kl => About::Kl,
        None => About::Answer,
    }
}

fn items(args: &MapArgs, task: &TaskArg, engine: &Planned) -> anyhow::Result<ItemSet> {
    let wording = &args.prompt.wording;
    let data = args.data.as_ref();
    if let Some(other) = data.filter(|data| data.task != task.task) {
        let (of, task) = (other.task, task.task);
        return Err(Usage(format!(
            "--data is of {of}, and the task is {task} (--task)"
        ))
        .into());
    }
    let told = Told {
        limit: Some(args.limit as usize),
        shots: args.shots.map(|shots| shots as usize),
        chat: args.prompt.chat.then_some(wording.chat_date),
        parse_special: wording.in_data(),
        data: data.map(|data| &*data.path),
        ..Told::default()
    };
    let spec = task.named().spec(&told, Remember::Hash)?;
    let learned = engine.learned_positions();
    let n_ctx = engine.inspect().options().n_ctx;
    Ok(spec.items(engine.tokenizer(), n_ctx, learned)?)
}

fn none(task: TaskName, args: &MapArgs, reasons: &Reasons) -> Usage {
    let heads = match args.heads {
        true => "",
        false => "; --heads needs no subject",
    };
    let foil = match args.foil {
        Some(None) => "; --foil TEXT gives one to all items",
        _ => "",
    };
    Usage(format!(
        "{task}: no item can be mapped: {reasons} (--task{heads}{foil})"
    ))
}
