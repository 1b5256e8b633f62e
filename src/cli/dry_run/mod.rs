//! `midlayer sweep --dry-run`: the grid, and what it takes on this machine. Nothing is written.

mod grid;
mod guessed;

use std::path::PathBuf;
use std::time::Duration;

use indicatif::HumanDuration;

use super::args::SweepArgs;
use super::notices::{notes, tell_controls, tell_once, tell_samples};
use super::output::{print, say, say_progress, spinner, table, width};
use super::selftest::seconds_before;
use super::setup::{Loaded, Named, load_unnoted, named_models};
use super::specification::{cache_types, specification};
use crate::engine::{Planned, Strategy};
use crate::experiment::{Spec, Variant, alike, labels};
use crate::models::{Manifest, Remember, cache_folder};
use crate::report::{Column, wrap};
use crate::runtime::CacheType;
use crate::shards::pieces;
use crate::stats::{Expected, Margin};
use crate::sweep::{Effort, Measured, Pilot, Prepared, Prices, Speed, estimate, pilot};
use crate::tasks::TaskName;
use guessed::{Guessed, buffers_of, facts_of};

/// How long each of three measures of this machine's speed may take.
const MEASURING: Duration = Duration::from_millis(800);
/// How long a few clean items of each task may take.
const PILOT: Duration = Duration::from_secs(2);
/// An estimate may be off by so much: the bound says it.
const MARGIN: f64 = 1.5;

/// A variant of the grid, priced.
struct Priced {
    prepared: Prepared,
    effort: Effort,
    /// Seconds of the self-test before it.
    selftest: f64,
    /// How many times as long everything takes at the moment.
    load: f64,
    /// Bytes of the context's buffers: llama.cpp's own figure where the file is here.
    buffers: u64,
    /// What the clean model scores on a few items of each task; none of a model that is not here.
    pilots: Vec<(TaskName, Pilot)>,
    /// Whether the file has to be fetched.
    missing: bool,
}

/// What is known of a model before it is run.
struct Priceable<'a> {
    args: &'a SweepArgs,
    name: &'a Named,
    /// What is measured: the model itself, or one in its place.
    loaded: &'a Loaded,
}

pub fn run(args: &SweepArgs) -> anyhow::Result<()> {
    let (priced, reference) = priced(args)?;
    show(&priced, &reference, args)
}

/// The longest time of one of so many parts in seconds, and the bytes that it needs.
pub fn of_parts(args: &SweepArgs, count: u32) -> anyhow::Result<(f64, u64)> {
    let (priced, _) = priced(args)?;
    let groups: Vec<f64> = priced
        .iter()
        .flat_map(|one| one.prepared.groups())
        .collect();
    let work = |piece: &[f64]| piece.iter().sum::<f64>();
    let pieces = pieces(&groups, count as usize).into_iter();
    let largest = pieces.map(|piece| work(&groups[piece])).fold(0.0, f64::max);
    let share = largest / work(&groups).max(f64::MIN_POSITIVE);
    let bound = |seconds: f64, one: &Priced| seconds * one.load * MARGIN;
    let seconds = priced
        .iter()
        .map(|one| bound(one.effort.most.seconds * share, one) + bound(one.selftest, one));
    let bytes = priced
        .iter()
        .map(|one| one.prepared.variant().spec.model.facts.bytes + one.buffers);
    Ok((seconds.sum(), bytes.max().unwrap_or_default()))
}

/// Every variant with what it takes, and the model that speeds were measured with.
fn priced(args: &SweepArgs) -> anyhow::Result<(Vec<Priced>, Loaded)> {
    args.outside.check(args.manipulate.iter().copied())?;
    let names = named_models(&args.model)?;
    // A model that is not here is estimated by the tokens and the speed of one that is.
    let here = |name: &Named| match name {
        Named::File(path) | Named::Unmade { source: path, .. } => Some(path.clone()),
        Named::Hub(_) => None,
    };
    let file = match names.iter().find_map(here) {
        Some(file) => file,
        None => smallest_pulled()?,
    };
    let reference = load_unnoted(file, &args.model)?;
    let waiting = spinner("measuring this machine's speed".into());
    if waiting.is_hidden() {
        say_progress("measuring this machine's speed");
    }
    let mut priced = Vec::new();
    for name in &names {
        let other = match here(name) {
            Some(path) if path != reference.path => Some(load_unnoted(path, &args.model)?),
            _ => None,
        };
        let loaded = other.as_ref().unwrap_or(&reference);
        for cache in cache_types(args) {
            priced.push(Priceable { args, name, loaded }.price(cache)?);
        }
        if let Named::Unmade { source, level } = name {
            waiting.suspend(|| {
                say(&format!(
                    "{} is not requantized to {level} yet, which a sweep does first; its time and memory are those of the file as it is",
                    source.display()
                ));
            });
        }
    }
    waiting.finish_and_clear();
    Ok((priced, reference))
}

/// What a task's items can show, by what the clean model scores on a few.
fn shows(task: TaskName, tried: Pilot, items: usize, args: &SweepArgs) -> String {
    let Pilot { items: n, clean } = tried;
    let score = format!(
        "{task}: the clean model scores {:.0}% on the {n} items tried",
        100.0 * clean
    );
    if clean <= 0.0 {
        return format!("{score}, too few to say what more items would show");
    }
    let (sharp, gradual) = (Expected::of(clean, 1.0), Expected::of(clean, 4.0));
    let [within, wide] = [sharp, gradual].map(|expected| expected.precision(items));
    let [few, many] = [sharp, gradual].map(|expected| expected.items_for_precision(args.precision));
    let margin = args.verdicts.margin;
    let points = match margin {
        Margin::Points(points) => points,
        Margin::Relative(share) => share * clean,
    };
    let loss = sharp.items_for_margin(points);
    format!(
        "{score}. With {items} items the half-way layer of a sharp step is known to about {within:.1} layers to either side, of a step 4 layers wide to {wide:.1}. Within {} layers takes about {few} and {many} items (--precision, --limit); a loss of at most {margin} takes about {loss}.",
        args.precision
    )
}

impl Priceable<'_> {
    fn price(&self, cache: (CacheType, CacheType)) -> anyhow::Result<Priced> {
        let Self { args, name, loaded } = self;
        let mut spec = specification(args, loaded, cache, Remember::Nothing)?;
        let here = Loaded {
            path: loaded.path.clone(),
            files: loaded.files.clone(),
            model: loaded.model.clone(),
            options: spec.context.clone(),
            load: loaded.load.clone(),
        };
        let mut engine = here.engine_by(spec.strategy, args.parallel)?;
        if let Named::Hub(known) = name {
            spec.model.facts = facts_of(known);
            spec.layers = args.layers.resolve(known.n_layer)?;
            // What its layers lack is not known without its file.
            spec.left_out.clear();
        }
        let prepared = Prepared::new(Variant::new(spec)?, engine.as_ref())?;
        let items = prepared.tasks().iter().flat_map(|task| &task.set.items);
        let tokens: Vec<usize> = items.map(|item| item.prompt.tokens.len()).collect();
        let length = tokens.iter().sum::<usize>() / tokens.len().max(1);
        let speed = Speed::measure(engine.as_mut(), length, here.threads()?, MEASURING)?;
        let (effort, selftest, load, buffers) = match name {
            Named::Hub(known) => {
                let mut prices = Guessed::new(prepared.variant(), speed, loaded.model.facts());
                let (effort, selftest) = self.efforts(&prepared, &mut prices)?;
                let n_ctx = prepared.variant().spec.context.n_ctx;
                (effort, selftest, speed.load(), buffers_of(known, n_ctx))
            }
            Named::File(_) | Named::Unmade { .. } => {
                let mut prices = Measured::new(engine.as_mut(), speed);
                for task in prepared.tasks() {
                    prices.try_answers(task.task, &task.set.items)?;
                    prices.try_unit(&prepared, task)?;
                }
                let (effort, selftest) = self.efforts(&prepared, &mut prices)?;
                let load = prices.load();
                let planned = Planned::new(here.model.clone(), &here.options, args.parallel)?;
                (effort, selftest, load, planned.inspect().buffers())
            }
        };
        let mut pilots = Vec::new();
        if let Named::File(_) = name {
            for task in prepared.tasks() {
                let tried = pilot(&prepared, task, engine.as_mut(), PILOT)?;
                pilots.push((task.task, tried));
            }
        }
        Ok(Priced {
            prepared,
            pilots,
            effort,
            selftest,
            load,
            buffers,
            missing: matches!(name, Named::Hub(_)),
        })
    }

    /// What a variant takes, and the seconds of the self-test before it.
    fn efforts(
        &self,
        prepared: &Prepared,
        prices: &mut dyn Prices,
    ) -> anyhow::Result<(Effort, f64)> {
        let effort = estimate(prepared, prices)?;
        if self.args.no_selftest {
            return Ok((effort, 0.0));
        }
        let mut spec = prepared.variant().spec.clone();
        if let Named::Unmade { .. } = self.name {
            // What was found of its source says nothing of the copy.
            spec.model.sha256.clear();
        }
        let selftest = seconds_before(&spec, effort.likely.seconds, prices);
        Ok((effort, selftest))
    }
}

fn show(priced: &[Priced], reference: &Loaded, args: &SweepArgs) -> anyhow::Result<()> {
    let variants = priced.iter().map(|one| one.prepared.variant());
    let specs: Vec<&Spec> = variants.map(|variant| &variant.spec).collect();
    let spec = specs[0];
    tell_samples(spec);
    tell_controls(&args.manipulate, spec);
    tell_once(priced.iter().flat_map(|one| notes(&one.prepared)));
    alike(&specs).iter().for_each(|notice| say(notice));
    // Models that differ in nothing but their weights have the same grid.
    let mut grids: Vec<String> = Vec::new();
    for one in priced {
        let grid = grid::of(&one.prepared);
        if !grids.contains(&grid) {
            grids.push(grid);
        }
    }
    let labels = labels(&specs);
    let head = [
        "model",
        "items",
        "cells",
        "results",
        "memory, GB",
        "time",
        "time at most",
    ];
    let mut rows = Vec::new();
    let (mut likely, mut most, mut alone) = (0.0, 0.0, 0.0);
    let mut missing = 0;
    for (one, label) in priced.iter().zip(&labels) {
        let variant = one.prepared.variant();
        let effort = &one.effort;
        let bytes = variant.spec.model.facts.bytes;
        if one.missing {
            missing += bytes;
        }
        let seconds = effort.likely.seconds + one.selftest;
        let time = seconds * one.load;
        let bound = (effort.most.seconds + one.selftest) * one.load * MARGIN;
        likely += time;
        most += bound;
        alone += seconds;
        rows.push(vec![
            label.clone(),
            effort.items.to_string(),
            variant.grid.cells().count().to_string(),
            effort.results.to_string(),
            format!("{:.1}", (bytes + one.buffers) as f64 / 1e9),
            human(time),
            human(bound),
        ]);
    }
    let table = table(&head, &rows, &[Column::Words, Column::Numbers]);
    let mut text = format!(
        "{}\n\n{table}\nin all about {}, at most {}",
        grids.join("\n\n"),
        human(likely),
        human(most)
    );
    if spec.strategy == Strategy::Straightforward {
        text.push_str(" (straightforward; --strategy planned takes a fraction)");
    }
    text.push('\n');
    if spec.until.is_some() {
        text.push_str(
            "this is all that it may compute; it stops when it knows, often after a third\n",
        );
    }
    for one in priced.iter().take(1) {
        for (task, tried) in &one.pilots {
            let of = one.prepared.tasks().iter().find(|of| of.task == *task);
            let items = of.map_or(0, |of| of.set.items.len());
            let said = shows(*task, *tried, items, args);
            text.push_str(&format!("{}\n", wrap(&said, width())));
        }
    }
    if likely > BUSY * alone {
        text.push_str(&format!(
            "other processes are computing at the moment; on an idle machine about {}\n",
            human(alone)
        ));
    }
    if missing > 0 {
        text.push_str(&format!(
            "{:.1} GB are to be fetched from the hub first; models that are not here are estimated from their size, with the tokens and the speed of {}\n",
            missing as f64 / 1e9,
            reference.model.facts().name
        ));
    }
    print(&text)
}

/// A machine on which things take so many times as long is called busy.
const BUSY: f64 = 1.3;

fn human(seconds: f64) -> String {
    HumanDuration(Duration::from_secs_f64(seconds.max(1.0))).to_string()
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
