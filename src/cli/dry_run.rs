//! `midlayer sweep --dry-run`: the grid, and what it takes on this machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table};
use indicatif::HumanDuration;

use super::args::SweepArgs;
use super::output::{print, say, spinner};
use super::setup::{Loaded, Named, load_file, named_models};
use super::sweep::{cache_types, notes, specification, tell_once, tell_samples};
use midlayer::engine::{Engine, Planned, Request, Straightforward, Strategy};
use midlayer::models::{HubModel, Manifest, cache_folder};
use midlayer::report::STYLE;
use midlayer::runtime::Facts;
use midlayer::sweep::{Effort, Prepared, Spec, Variant, alike, labels, layer_weights};

/// What this machine computes in a second, in products of a weight and a value.
#[derive(Clone, Copy)]
struct Speed {
    /// In large batches.
    prefill: f64,
    /// A token at a time.
    decode: f64,
}

/// A model of the grid.
struct Model {
    facts: Facts,
    /// Bytes of the context's buffers: llama.cpp's own figure where the file is here.
    buffers: u64,
    /// Measured where the file is here.
    speed: Option<Speed>,
}

pub fn run(args: &SweepArgs) -> anyhow::Result<()> {
    let names = named_models(&args.model)?;
    // A model that is not here is estimated by the tokens and the speed of one that is.
    let mut reference: Option<Loaded> = None;
    for name in &names {
        if let (Named::File(path), None) = (name, &reference) {
            reference = Some(load_file(path.clone(), &args.model)?);
        }
    }
    let reference = match reference {
        Some(loaded) => loaded,
        None => load_file(smallest_pulled()?, &args.model)?,
    };
    let waiting = spinner("measuring this machine's speed".into());
    let (mut models, mut variants, mut efforts) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let other = match &name {
            Named::File(path) if *path != reference.path => {
                Some(load_file(path.clone(), &args.model)?)
            }
            _ => None,
        };
        let loaded = other.as_ref().unwrap_or(&reference);
        let mut engine = loaded.engine()?;
        for cache in cache_types(args) {
            let mut spec = specification(args, loaded, cache)?;
            let (buffers, speed) = match &name {
                Named::Hub(known) => {
                    spec.model.facts = facts_of(known);
                    spec.layers = args.layers.resolve(known.n_layer)?;
                    // What its layers lack is not known without its file.
                    spec.left_out.clear();
                    (buffers_of(known, spec.context.n_ctx), None)
                }
                Named::File(_) => {
                    let mut options = loaded.options.clone();
                    (options.cache_k, options.cache_v) = cache;
                    let planned = Planned::new(loaded.model.clone(), &options, args.parallel)?;
                    (planned.inspect().buffers(), Some(speed(&mut engine)?))
                }
            };
            let facts = spec.model.facts.clone();
            let prepared = Prepared::new(Variant::new(spec)?, &engine)?;
            efforts.push(prepared.effort());
            variants.push(prepared);
            models.push(Model {
                facts,
                buffers,
                speed,
            });
        }
    }
    waiting.finish_and_clear();
    let here = match models.iter().find_map(|model| model.speed) {
        Some(speed) => speed,
        None => speed(&mut reference.engine()?)?,
    };
    let notes: Vec<String> = variants.iter().flat_map(notes).collect();
    let variants: Vec<&Variant> = variants.iter().map(Prepared::variant).collect();
    tell_samples(&variants[0].spec);
    tell_once(notes);
    let specs: Vec<&Spec> = variants.iter().map(|v| &v.spec).collect();
    alike(&specs).iter().for_each(|notice| say(notice));
    let labels = labels(&specs);
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header([
        "model",
        "layers",
        "items",
        "cells",
        "results",
        "memory, GB",
        "time at most",
    ]);
    let mut total = Duration::ZERO;
    let mut missing = 0;
    for ((variant, label), (model, effort)) in variants
        .iter()
        .zip(&labels)
        .zip(models.iter().zip(&efforts))
    {
        if model.speed.is_none() {
            missing += model.facts.bytes;
        }
        let memory = model.facts.bytes + model.buffers;
        let time = seconds(effort, &model.facts, model.speed.unwrap_or(here));
        total += time;
        table.add_row([
            label.clone(),
            variant.spec.layers.len().to_string(),
            effort.items.to_string(),
            variant.grid.cells().count().to_string(),
            effort.results.to_string(),
            format!("{:.1}", memory as f64 / 1e9),
            HumanDuration(time).to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let cells = variants.first().map(|variant| variant.grid.words());
    let cells = cells.unwrap_or_default().join("\n");
    let mut text = format!(
        "{table}\n{cells}\na result is one item under one cell\nin all at most {}",
        HumanDuration(total)
    );
    let strategy = variants.first().map(|v| v.spec.strategy);
    if strategy == Some(Strategy::Straightforward) {
        text.push_str(" (straightforward; --strategy planned takes a fraction)");
    }
    text.push('\n');
    if missing > 0 {
        text.push_str(&format!(
            "{:.1} GB are to be fetched from the hub first; models that are not here are estimated from their size, with the tokens and the speed of {}\n",
            missing as f64 / 1e9,
            reference.model.facts().name
        ));
    }
    print(&text)
}

/// The pulled model with the smallest file.
fn smallest_pulled() -> anyhow::Result<PathBuf> {
    let manifest = Manifest::builtin();
    let pulled = manifest.models.iter().filter_map(|entry| {
        let file = cache_folder().join(&entry.file);
        file.is_file().then_some((entry.bytes, file))
    });
    match pulled.min() {
        Some((_, file)) => Ok(file),
        None => anyhow::bail!(
            "no model is here to measure this machine with; run: midlayer pull smollm2-135m"
        ),
    }
}

/// Tokens of the prompt that the speed is measured with, and tokens after it.
const MEASURED: (usize, usize) = (128, 4);

fn speed(engine: &mut Straightforward) -> anyhow::Result<Speed> {
    let facts = engine.facts().clone();
    let token = |n: usize| midlayer::runtime::Token((n as u32 * 37 % facts.n_vocab) as i32);
    let request = Request {
        tokens: (0..MEASURED.0).map(token).collect(),
        ..Request::default()
    };
    let weights = layer_weights(&facts) * f64::from(facts.n_layer);
    // The first run warms memory up.
    engine.start(&request)?;
    let begun = Instant::now();
    let mut session = engine.start(&request)?;
    let prefill = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    for n in 0..MEASURED.1 {
        session.advance(token(n))?;
    }
    let decode = begun.elapsed().as_secs_f64();
    Ok(Speed {
        prefill: MEASURED.0 as f64 * weights / prefill,
        decode: MEASURED.1 as f64 * weights / decode,
    })
}

/// The share of a layer's products that keys and values take: a guess between models with many
/// and with few heads for them.
const CACHE_SHARE: f64 = 0.1;

fn seconds(effort: &Effort, facts: &Facts, speed: Speed) -> Duration {
    let weights = layer_weights(facts);
    let large = (effort.prefill + CACHE_SHARE * effort.cache) * weights / speed.prefill;
    Duration::from_secs_f64((large + effort.decode * weights / speed.decode).max(1.0))
}

fn facts_of(known: &HubModel) -> Facts {
    Facts {
        architecture: known.architecture.clone(),
        name: known.repo.clone(),
        n_layer: known.n_layer,
        n_embd: known.n_embd,
        n_vocab: known.n_vocab,
        n_ctx_train: 0,
        quantization: known.quantization.clone(),
        bytes: known.bytes,
        n_params: known.n_params,
        left_out_end: None,
        unrotated: false,
        weights: Default::default(),
        guesses_splitting: false,
    }
}

/// Bytes of keys and values, 16 bits each, in the cells that the planned strategy asks for, and
/// a guess at llama.cpp's other buffers.
fn buffers_of(known: &HubModel, n_ctx: u32) -> u64 {
    let cells = u64::from(Planned::cells(n_ctx));
    2 * 2 * cells * u64::from(known.n_layer) * u64::from(known.n_embd_kv) + 300_000_000
}
