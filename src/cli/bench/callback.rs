//! `midlayer bench callback`: what the callback costs.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Instant;

use comfy_table::{CellAlignment, Table};
use serde_json::json;

use super::super::args::{BenchCallbackArgs, Format};
use super::super::output::{print, spinner};
use super::super::setup::{Loaded, load};
use super::{median, prompt_rows};
use midlayer::hook::Row;
use midlayer::intervention::{Action, Editor, Intervention, LayerSpan};
use midlayer::report::STYLE;
use midlayer::runtime::{Context, RuntimeError};

/// What is measured, in the order in which each round measures it.
const VARIANTS: [&str; 4] = [
    "no callback",
    "callback, nothing asked for",
    "callback, one layer rewritten",
    "callback, all layers rewritten",
];

pub fn run(args: &BenchCallbackArgs) -> anyhow::Result<()> {
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
    // A device goes on computing until something is asked of it.
    context.logits(rows.len() - 1)?;
    Ok(start.elapsed().as_secs_f64())
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
