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
use crate::trial::{self, ItemMaps, OfItems, Told, item_maps};

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
        kl: args.kl,
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
    let ItemMaps { maps, mut left_out } = made?;
    left_out.extend(set.left_out);
    let reasons = || Reasons::of(left_out.iter().map(|(_, reason)| &**reason));
    let name = task.task;
    let Some(averaged) = Averaged::of(&maps) else {
        return Err(none(name, args.heads, &reasons()).into());
    };
    if !left_out.is_empty() {
        say(&format!(
            "{name}: {} items; {} others are left out: {}",
            maps.len(),
            left_out.len(),
            reasons()
        ));
    }
    placed(averaged.mean.clone(), kind)?;
    let picture = Picture {
        map: &averaged.mean,
        tokens: &[],
        title: of.title(&loaded.model.facts().name, name, maps.len()),
        measure: of.measure(),
        across: "layer",
        change: true,
        over: Some(Over {
            averaged: &averaged,
            items: &maps,
        }),
    };
    let printed = show(args, &picture)?;
    finish(unfinished)?;
    printed
}

fn items(args: &MapArgs, task: &TaskArg, engine: &Planned) -> anyhow::Result<ItemSet> {
    let wording = &args.prompt.wording;
    let told = Told {
        limit: Some(args.limit as usize),
        shots: args.shots.map(|shots| shots as usize),
        chat: args.prompt.chat.then_some(wording.chat_date),
        parse_special: wording.in_data(),
        ..Told::default()
    };
    let spec = task.named().spec(&told, Remember::Hash)?;
    let learned = engine.learned_positions();
    let n_ctx = engine.inspect().options().n_ctx;
    Ok(spec.items(engine.tokenizer(), n_ctx, learned)?)
}

fn none(task: TaskName, heads: bool, reasons: &Reasons) -> Usage {
    let heads = match heads {
        true => "",
        false => "; --heads needs no subject",
    };
    Usage(format!(
        "{task}: no item can be mapped: {reasons} (--task{heads})"
    ))
}
