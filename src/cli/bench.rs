//! `midlayer bench`: what the callback costs, as ratios within one run.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Instant;

use comfy_table::{CellAlignment, Table};
use serde_json::json;

use super::args::{BenchArgs, BenchCallbackArgs, BenchCommand, BenchGenerationArgs, Format};
use super::output::{print, spinner};
use super::setup::{Loaded, load};
use midlayer::engine::{Engine, Request, Rerun, argmax};
use midlayer::hook::Row;
use midlayer::intervention::{Action, Editor, Intervention, LayerSpan};
use midlayer::report::STYLE;
use midlayer::runtime::{Context, RuntimeError, Token};

pub fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.what {
        BenchCommand::Callback(args) => callback(&args),
        BenchCommand::Generation(args) => generation(&args),
    }
}

/// What is measured, in the order in which each round measures it.
const VARIANTS: [&str; 4] = [
    "no callback",
    "callback, nothing asked for",
    "callback, one layer rewritten",
    "callback, all layers rewritten",
];

fn callback(args: &BenchCallbackArgs) -> anyhow::Result<()> {
    let loaded = load(&args.model)?;
    let mut bare = Context::without_callback(loaded.model.clone(), &loaded.options)?;
    let mut hooked = Context::new(loaded.model.clone(), &loaded.options)?;
    let rows = prompt_rows(&loaded, args.tokens);
    let n_layer = loaded.model.n_layer();
    let mut times = vec![Vec::new(); VARIANTS.len()];
    let waiting = spinner("warming up".into());
    for round in 0..=args.rounds {
        for (variant, times) in times.iter_mut().enumerate() {
            let plan = match variant {
                2 => Some(LayerSpan::only(n_layer / 2)),
                3 => Some(LayerSpan::from(0)),
                _ => None,
            };
            let context = if variant == 0 { &mut bare } else { &mut hooked };
            let seconds = forward(context, &rows, plan, n_layer)?;
            // The first round warms caches up.
            if round > 0 {
                times.push(seconds);
            }
        }
        waiting.set_message(format!("round {round} of {}", args.rounds));
    }
    waiting.finish_and_clear();
    let medians: Vec<f64> = times.iter_mut().map(|t| median(t)).collect();
    // Against the bare pass of the same round, so that a slow spell hits both.
    let ratios: Vec<f64> = times
        .iter()
        .map(|variant| {
            let mut pairs: Vec<f64> = variant.iter().zip(&times[0]).map(|(a, b)| a / b).collect();
            median(&mut pairs)
        })
        .collect();
    print(&show(args, &loaded, &medians, &ratios)?)
}

/// What `bench generation` measures, and what is asked of the ratio to the clean generation.
const GENERATIONS: [&str; 3] = [
    "clean, with the cache, one row a step",
    "freeze, with the cache",
    "freeze, whole text again at every step",
];

fn generation(args: &BenchGenerationArgs) -> anyhow::Result<()> {
    let loaded = load(&args.model)?;
    let mut cached = loaded.engine()?;
    let mut rerun = Rerun::new(loaded.engine()?);
    let rows = prompt_rows(&loaded, args.tokens);
    // The clean generation as anybody would run it, one row a step.
    let clean = Request {
        tokens: rows.iter().map(|row| Token(row.token)).collect(),
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
        ("freeze to clean", medians[1] / medians[0], "at most", 1.8),
        ("rerun to freeze", medians[2] / medians[1], "at least", 15.0),
    ];
    let mut text = String::new();
    if args.output == Format::Json {
        for (name, ratio, sense, target) in lines {
            let line = json!({"name": name, "ratio": ratio, "sense": sense, "target": target});
            writeln!(text, "{line}")?;
        }
        return print(&text);
    }
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
    for (name, ratio, sense, target) in lines {
        writeln!(
            text,
            "{name:40} {ratio:8.2}   (asked for: {sense} {target})"
        )?;
    }
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
    let mut logits = engine.start(request)?;
    for _ in 1..tokens {
        logits = engine.advance(argmax(&logits))?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Arbitrary but valid tokens.
fn prompt_rows(loaded: &Loaded, n: u32) -> Vec<Row> {
    let n_vocab = loaded.model.facts().n_vocab.max(1);
    (0..n)
        .map(|i| Row {
            sequence: 0,
            position: i,
            token: ((1000 + 37 * i) % n_vocab) as i32,
            prior: i + 1 < n,
            output: i + 1 == n,
        })
        .collect()
}

/// Seconds of one prefill; the rows of the span's layers are rewritten with themselves.
fn forward(
    context: &mut Context,
    rows: &[Row],
    span: Option<LayerSpan>,
    n_layer: u32,
) -> Result<f64, RuntimeError> {
    context.clear();
    let mut editors = HashMap::new();
    if let Some(span) = span {
        let itself = Action::Custom(std::sync::Arc::new(|_, _, _: &mut [f32]| {}));
        let plan = vec![Intervention::new(itself, span)];
        editors.insert(0, Editor::new(plan.into(), n_layer));
    }
    let start = Instant::now();
    context.decode(rows, editors, None)?;
    Ok(start.elapsed().as_secs_f64())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (values[n / 2] + values[(n - 1) / 2]) / 2.0
}

fn show(
    args: &BenchCallbackArgs,
    loaded: &Loaded,
    medians: &[f64],
    ratios: &[f64],
) -> anyhow::Result<String> {
    let per_second = |seconds: f64| f64::from(args.tokens) / seconds;
    let mut text = String::new();
    if args.output == Format::Json {
        for ((name, seconds), ratio) in VARIANTS.iter().zip(medians).zip(ratios) {
            let line = json!({
                "name": name,
                "seconds": seconds,
                "tokens_per_second": per_second(*seconds),
                "ratio": ratio,
            });
            writeln!(text, "{line}")?;
        }
        return Ok(text);
    }
    let facts = loaded.model.facts();
    writeln!(
        text,
        "{} ({}), {} tokens, {} threads, medians of {} rounds",
        facts.name, facts.quantization, args.tokens, loaded.options.threads, args.rounds
    )?;
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header(["forward pass", "seconds", "tokens/s", "to no callback"]);
    for ((name, seconds), ratio) in VARIANTS.iter().zip(medians).zip(ratios) {
        table.add_row([
            name.to_string(),
            format!("{seconds:.4}"),
            format!("{:.0}", per_second(*seconds)),
            format!("{ratio:.3}"),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(text, "{table}")?;
    Ok(text)
}
