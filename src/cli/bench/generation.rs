//! `midlayer bench generation`: what generation under manipulation costs.

use std::time::Instant;

use super::super::args::{BenchGenerationArgs, Format};
use super::super::output::{print, spinner};
use super::super::setup::load;
use super::{Line, Sense, median, prompt_tokens};
use crate::engine::{Engine, Request, Rerun, argmax};
use crate::intervention::Intervention;

/// What is measured: one way of generating to another.
const ROWS: [&str; 2] = ["freeze to clean", "rerun to freeze"];

pub fn run(args: &BenchGenerationArgs) -> anyhow::Result<()> {
    args.only.check(&ROWS)?;
    let loaded = load(&args.model)?;
    let mut cached = loaded.engine()?;
    let mut rerun = Rerun::new(loaded.engine()?);
    // The clean generation as anybody would run it, one row a step.
    let clean = Request {
        tokens: prompt_tokens(&loaded, args.tokens),
        manipulate_generated: false,
        ..Request::default()
    };
    let middle = loaded.model.n_layer() / 2;
    let frozen = Request {
        plan: vec![Intervention::freeze(middle.max(1))],
        manipulate_generated: true,
        ..clean.clone()
    };
    if args.output == Format::Text {
        let facts = loaded.model.facts();
        print(&format!(
            "{} ({}), {} tokens after a prompt of {}, freeze at {middle}, {} threads, medians of {} rounds\nclean: with the cache, one row a step; freeze: with the cache; rerun: freeze, the whole text again at every step\n{}",
            facts.name,
            facts.quantization,
            args.generate,
            args.tokens,
            loaded.options.threads,
            args.rounds,
            Line::HEAD,
        ))?;
    }
    for name in ROWS.into_iter().filter(|name| args.only.wants(name)) {
        let again = name == ROWS[1];
        let (mut ones, mut others) = (Vec::new(), Vec::new());
        let waiting = spinner(name.into());
        for round in 0..args.rounds {
            let freeze = timed(&mut cached, &frozen, args.generate)?;
            if again {
                ones.push(timed(&mut rerun, &frozen, args.generate)?);
                others.push(freeze);
            } else {
                ones.push(freeze);
                others.push(timed(&mut cached, &clean, args.generate)?);
            }
            waiting.set_message(format!("{name}, round {} of {}", round + 1, args.rounds));
        }
        waiting.finish_and_clear();
        let (sense, target) = match again {
            true => (Sense::AtLeast, 15.0),
            false => (Sense::AtMost, 1.8),
        };
        let line = Line {
            name: name.into(),
            seconds: (median(&mut ones), median(&mut others)),
            sense,
            target: Some(target),
        };
        line.show(args.output)?;
        if again && args.output == Format::Text {
            print(&parted(&mut cached, &mut rerun, &frozen, args.generate)?)?;
        }
    }
    Ok(())
}

/// Whether the two ways under freeze give the same tokens, in a line.
fn parted(
    cached: &mut impl Engine,
    rerun: &mut impl Engine,
    request: &Request,
    tokens: u32,
) -> anyhow::Result<String> {
    Ok(match parting(cached, rerun, request, tokens)? {
        None => format!("the two ways under freeze give the same {tokens} tokens\n"),
        Some((step, margin)) => format!(
            "the two ways under freeze part at step {step}, where the two likeliest tokens are {margin:.3} apart\n"
        ),
    })
}

/// The first step at which generation with the cache and rerunning choose other tokens, and by
/// how much the likeliest logit exceeded the second there. On a quantized model rounding decides
/// where the margin is below the noise floor.
fn parting(
    cached: &mut impl Engine,
    rerun: &mut impl Engine,
    request: &Request,
    tokens: u32,
) -> anyhow::Result<Option<(usize, f32)>> {
    let a = cached.generate(request, tokens as usize, &mut |_| true)?;
    let b = rerun.generate(request, tokens as usize, &mut |_| true)?;
    let mut steps = a.tokens.iter().zip(&b.tokens);
    let step = steps.position(|(a, b)| a != b);
    Ok(step.map(|step| (step + 1, a.margins[step])))
}

/// Seconds to generate, prompt included, without stopping at an end token.
fn timed(engine: &mut impl Engine, request: &Request, tokens: u32) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut session = engine.start(request)?;
    for _ in 1..tokens {
        let token = argmax(session.logits());
        session.advance(token)?;
    }
    Ok(start.elapsed().as_secs_f64())
}
