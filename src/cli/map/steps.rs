//! `midlayer map --steps`.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;

use super::terminal::{self, Paint};
use super::{PICTURES, part, placed, write_files};
use crate::cli::args::{Format, MapArgs};
use crate::cli::output::{picture_bar, print, print_painted, width};
use crate::cli::setup::load;
use crate::cli::tokens::read;
use crate::cli::try_prompt::engine;
use crate::intervention::LayerList;
use crate::maps::{Form, Map, Picture, Steps, draw_steps};
use crate::shown::plain;
use crate::trial;

pub fn run(args: &MapArgs, steps: &LayerList) -> anyhow::Result<()> {
    let text = args.prompt.prompt.read("-p")?;
    let loaded = load(&args.model)?;
    let mut engine = engine(&loaded)?;
    let prompt = read(&engine, &args.prompt, &text)?;
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
    let tokens: Vec<(i32, String)> = (question.steps.iter())
        .map(|step| {
            let token = question.followed.0[*step as usize];
            (token.0, plain(&loaded.model.piece(token)))
        })
        .collect();
    let title = format!(
        "{}: {} from a step on",
        loaded.model.facts().name,
        question.kind
    );
    let paint = Paint::of_stdout();
    let bar = picture_bar();
    let first = question.first_picture();
    let grows = args.output == Format::Text && io::stdout().is_terminal() && !bar.is_hidden();
    let drawn = draw_steps(&mut engine, &anatomy, &question, &mut |map, done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if grows && (done == first || done % all.div_ceil(PICTURES) == 0) {
            let picture = picture(map, &tokens, &title, &question);
            bar.set_message(terminal::text(&picture, width(), paint));
        }
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    let map = placed(drawn?, question.kind)?;
    let picture = picture(&map, &tokens, &title, &question);
    let printed = match args.output {
        Format::Text => print_painted(&terminal::text(&picture, width(), paint)),
        Format::Json => print(&picture.text(Form::Jsonl)),
    };
    write_files(args, |file| picture.write(file))?;
    printed
}

fn picture<'m>(
    map: &'m Map,
    tokens: &'m [(i32, String)],
    title: &str,
    question: &Steps<'_>,
) -> Picture<'m> {
    Picture {
        map,
        tokens,
        title: title.to_string(),
        measure: question.measure(),
        across: "layer",
        change: true,
        over: None,
    }
}
