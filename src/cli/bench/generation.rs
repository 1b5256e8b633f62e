//! `midlayer bench generation`: what generation under manipulation costs.

use std::fmt::Write;
use std::time::Instant;

use super::super::args::{BenchGenerationArgs, Format};
use super::super::output::{print, spinner};
use super::super::setup::load;
use super::{Line, Sense, median, prompt_tokens};
use midlayer::engine::{Engine, Request, Rerun, argmax};
use midlayer::intervention::Intervention;

/// What `bench generation` measures, and what is asked of the ratio to the clean generation.
const GENERATIONS: [&str; 3] = [
    "clean, with the cache, one row a step",
    "freeze, with the cache",
    "freeze, whole text again at every step",
];

pub fn run(args: &BenchGenerationArgs) -> anyhow::Result<()> {
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
    let mut times = vec![Vec::new(); GENERATIONS.len()];
    let waiting = spinner("measuring".into());
    for round in 0..args.rounds {
        times[0].push(timed(&mut cached, &clean, args.generate)?);
        times[1].push(timed(&mut cached, &frozen, args.generate)?);
        times[2].push(timed(&mut rerun, &frozen, args.generate)?);
        waiting.set_message(format!("round {} of {}", round + 1, args.rounds));
    }
    waiting.finish_and_clear();
    let medians: Vec<f64> = times.iter_mut().map(|t| median(t)).collect();
    let parting = parting(&mut cached, &mut rerun, &frozen, args.generate)?;
    let lines = [
        Line {
            name: "freeze to clean".into(),
            seconds: (medians[1], medians[0]),
            sense: Sense::AtMost,
            target: Some(1.8),
        },
        Line {
            name: "rerun to freeze".into(),
            seconds: (medians[2], medians[1]),
            sense: Sense::AtLeast,
            target: Some(15.0),
        },
    ];
    if args.output == Format::Json {
        return print(&Line::json(&lines));
    }
    let mut text = String::new();
    let facts = loaded.model.facts();
    writeln!(
        text,
        "{} ({}), {} tokens after a prompt of {}, freeze at {middle}, {} threads, medians of {} rounds",
        facts.name,
        facts.quantization,
        args.generate,
        args.tokens,
        loaded.options.threads,
        args.rounds
    )?;
    for (name, seconds) in GENERATIONS.iter().zip(&medians) {
        writeln!(text, "{name:40} {seconds:8.3} s")?;
    }
    writeln!(text, "{}", Line::table(&lines))?;
    match parting {
        None => writeln!(
            text,
            "the two ways under freeze give the same {} tokens",
            args.generate
        )?,
        Some((step, margin)) => writeln!(
            text,
            "the two ways under freeze part at step {step}, where the two likeliest tokens are {margin:.3} apart"
        )?,
    }
    print(&text)
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
