//! `midlayer bench try`: one prompt at all layers, by the planned strategy as `midlayer try` has
//! it and by the straightforward one.

use std::ops::ControlFlow;
use std::time::Instant;

use super::super::args::{BenchTryArgs, Format};
use super::super::output::{print, spinner};
use super::super::setup::load;
use super::super::try_prompt::engine;
use super::{Line, Sense, cells, median, prompt_tokens, timed};
use crate::engine::{Engine, EngineError, Request};
use crate::intervention::Kind;

/// What is asked of the ratio. One prompt under `random` allows no more than 2 L / (L + 1): with
/// the manipulation at layer k, what is above it must be computed.
const CASES: [(Kind, f64); 3] = [
    (Kind::Freeze, 8.0),
    (Kind::SkipAttention, 15.0),
    (Kind::Random, 1.8),
];

pub fn run(args: &BenchTryArgs) -> anyhow::Result<()> {
    let names = CASES.map(|(kind, _)| kind.to_string());
    args.only.check(&names.each_ref().map(String::as_str))?;
    let loaded = load(&args.model)?;
    let mut slow = loaded.engine()?;
    let mut fast = engine(&loaded)?;
    let facts = loaded.model.facts();
    let n_layer = facts.n_layer;
    if args.output == Format::Text {
        print(&format!(
            "{} ({}), {n_layer} layers, a prompt of {} tokens, {} threads, medians of {} rounds\n{:32}{:>12}{:>12}{:>8}{:>14}{:>10}\n",
            facts.name,
            facts.quantization,
            args.tokens,
            loaded.options.threads,
            args.rounds,
            "clean and at all layers",
            "straight, s",
            "try, s",
            "ratio",
            "first row, s",
            "at least",
        ))?;
    }
    for (kind, target) in CASES {
        let name = kind.to_string();
        if !args.only.wants(&name) {
            continue;
        }
        let layers = kind.first_layer()..n_layer;
        let requests = cells(&prompt_tokens(&loaded, args.tokens), kind, layers);
        let waiting = spinner(format!("measuring {name}"));
        let (mut ones, mut others, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=args.rounds {
            let (first, other) = as_they_come(&mut fast, &requests)?;
            // The first round warms caches up.
            if round > 0 {
                ones.push(timed(&mut slow, &requests)?);
                others.push(other);
                firsts.push(first);
            }
        }
        waiting.finish_and_clear();
        let line = Line {
            name,
            seconds: (median(&mut ones), median(&mut others)),
            sense: Sense::AtLeast,
            target: Some(target),
        };
        let first = median(&mut firsts);
        print(&match args.output {
            Format::Json => Line::json(std::slice::from_ref(&line)),
            Format::Text => format!(
                "{:32}{:>12.3}{:>12.3}{:>8.2}{first:>14.3}{:>10} {}\n",
                line.name,
                line.seconds.0,
                line.seconds.1,
                line.ratio(),
                target,
                if line.is_met() == Some(true) {
                    "met"
                } else {
                    "missed"
                },
            ),
        })?;
    }
    Ok(())
}

/// Seconds until the first manipulated outcome, and until the last.
fn as_they_come(engine: &mut dyn Engine, requests: &[Request]) -> Result<(f64, f64), EngineError> {
    let start = Instant::now();
    let mut first = None;
    engine.run_all(requests, &mut |n, _| {
        if n > 0 {
            first.get_or_insert_with(|| start.elapsed().as_secs_f64());
        }
        ControlFlow::Continue(())
    })?;
    let all = start.elapsed().as_secs_f64();
    Ok((first.unwrap_or(all), all))
}
