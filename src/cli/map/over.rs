//! `midlayer map --task`: maps of a task's items, averaged.

use std::ops::ControlFlow;

use super::terminal::{self, Paint};
use super::{kind, part, placed, write_files};
use crate::cli::Usage;
use crate::cli::args::{Format, MapArgs, TaskArg};
use crate::cli::output::{item_bar, print, print_painted, say, width};
use crate::cli::setup::load;
use crate::cli::specification::{Told, task_spec};
use crate::cli::try_prompt::engine;
use crate::engine::{Engine, Planned};
use crate::experiment::Reasons;
use crate::intervention::Needs;
use crate::maps::{Averaged, Down, Form, Measure, Over, Picture};
use crate::models::Remember;
use crate::tasks::{ItemSet, TaskName};
use crate::trial::{self, ItemMaps, OfItems, item_maps};

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
    let made = item_maps(&mut engine, &anatomy, &of, &set.items, &mut |done| {
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
    let measure = match args.kl {
        true => Measure::Kl.name(),
        false => Measure::of_answer(),
    };
    let picture = Picture {
        map: &averaged.mean,
        tokens: &[],
        title: title(args, &loaded.model.facts().name, name, maps.len()),
        measure,
        across: "layer",
        change: true,
        over: Some(Over {
            averaged: &averaged,
            items: &maps,
        }),
    };
    let printed = match args.output {
        Format::Text => {
            let paint = Paint::of_stdout();
            print_painted(&terminal::text(&picture, width(), paint))
        }
        Format::Json => print(&picture.text(Form::Jsonl)),
    };
    write_files(args, |file| picture.write(file))?;
    printed
}

fn items(args: &MapArgs, task: &TaskArg, engine: &Planned) -> anyhow::Result<ItemSet> {
    let told = Told {
        limit: Some(args.limit as usize),
        shots: args.shots,
        chat: args.prompt.chat,
        wording: &args.prompt.wording,
        data: None,
        math: (20, 1),
    };
    let spec = task_spec(&told, task, Remember::Hash)?;
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

fn title(args: &MapArgs, model: &str, task: TaskName, items: usize) -> String {
    let one = match args.heads {
        true => "head",
        false => "state",
    };
    let s = if items == 1 { "" } else { "s" };
    let over = format!("{items} item{s} of {task}");
    match &args.corrupt {
        Some(selector) => format!(
            "{model}: one clean {one} put back after {} of {selector}, over {over}",
            args.corrupt_by
        ),
        None => format!(
            "{model}: {} of one {one} at a time, over {over}",
            args.manipulate
        ),
    }
}
