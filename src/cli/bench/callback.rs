//! `midlayer bench callback`: what the callback costs.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::json;

use super::super::args::{BenchCallbackArgs, Format};
use super::super::output::{print, spinner};
use super::super::setup::{Loaded, load};
use super::{median, prompt_rows};
use crate::hook::Row;
use crate::intervention::{Action, Editor, Intervention, LayerSpan};
use crate::runtime::{Context, RuntimeError};

/// What is measured.
const VARIANTS: [&str; 4] = [
    "no callback",
    "callback, nothing asked for",
    "callback, one layer rewritten",
    "callback, all layers rewritten",
];

pub fn run(args: &BenchCallbackArgs) -> anyhow::Result<()> {
    args.only.check(&VARIANTS)?;
    let loaded = load(&args.model)?;
    let mut bare = Context::without_callback(loaded.model.clone(), &loaded.options)?;
    let mut hooked = Context::new(loaded.model.clone(), &loaded.options)?;
    let rows = prompt_rows(&loaded, args.tokens);
    let n_layer = loaded.model.n_layer();
    if args.output == Format::Text {
        print(&head(args, &loaded))?;
    }
    for (variant, name) in VARIANTS.iter().enumerate() {
        if !args.only.wants(name) {
            continue;
        }
        let plan = match variant {
            2 => Some(LayerSpan::only(n_layer / 2)),
            3 => Some(LayerSpan::from(0)),
            _ => None,
        };
        let waiting = spinner(name.to_string());
        let (mut times, mut ratios) = (Vec::new(), Vec::new());
        for round in 0..=args.rounds {
            // Against the bare pass of the same round, so that a slow spell hits both.
            let without = forward(&mut bare, &rows, None, n_layer)?;
            let seconds = match variant {
                0 => without,
                _ => forward(&mut hooked, &rows, plan, n_layer)?,
            };
            // The first round warms caches up.
            if round > 0 {
                times.push(seconds);
                ratios.push(seconds / without);
            }
            waiting.set_message(format!("{name}, round {round} of {}", args.rounds));
        }
        waiting.finish_and_clear();
        print(&row(args, name, median(&mut times), median(&mut ratios)))?;
    }
    Ok(())
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

fn head(args: &BenchCallbackArgs, loaded: &Loaded) -> String {
    let facts = loaded.model.facts();
    format!(
        "{} ({}), {} tokens, {} threads, medians of {} rounds\nseconds  tokens/s  to no callback  forward pass\n",
        facts.name, facts.quantization, args.tokens, loaded.options.threads, args.rounds
    )
}

fn row(args: &BenchCallbackArgs, name: &str, seconds: f64, ratio: f64) -> String {
    let per_second = f64::from(args.tokens) / seconds;
    match args.output {
        Format::Json => {
            let line = json!({
                "name": name,
                "seconds": seconds,
                "tokens_per_second": per_second,
                "ratio": ratio,
            });
            format!("{line}\n")
        }
        Format::Text => format!("{seconds:7.4}  {per_second:8.0}  {ratio:14.3}  {name}\n"),
    }
}
