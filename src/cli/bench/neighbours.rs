//! `midlayer bench neighbours`: what is left of the speed when other processes are busy.

use std::io::Read;
use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::json;

use super::super::args::{BenchNeighboursArgs, Format};
use super::super::output::{print, spinner};
use super::super::setup::{Loaded, load};
use super::{cells, median, prompt_rows, prompt_tokens, timed};
use crate::engine::Planned;
use crate::hook::Row;
use crate::intervention::Kind;
use crate::runtime::{Context, ContextOptions};

/// How many other processes compute all the time.
const NEIGHBOURS: [usize; 4] = [0, 1, 2, 3];

/// A process that does nothing but count, until this one drops it or dies.
struct Neighbour(Child);

impl Neighbour {
    fn new() -> anyhow::Result<Self> {
        let mut command = crate::own::command()?;
        command.args(["bench", "busy"]).stdin(Stdio::piped());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What a [`Neighbour`] does.
pub fn busy() -> anyhow::Result<()> {
    std::thread::spawn(|| {
        let mut n = 0u64;
        loop {
            n = std::hint::black_box(n.wrapping_add(1));
        }
    });
    // Until whoever holds the other end is gone.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// One thread count beside some neighbours.
#[derive(Clone, Copy)]
struct Measured {
    threads: u32,
    neighbours: usize,
    /// Seconds of a whole prompt, of one token after it, and of freeze at all its layers.
    prompt: f64,
    token: f64,
    sweep: f64,
}

pub fn run(args: &BenchNeighboursArgs) -> anyhow::Result<()> {
    let cores = ContextOptions::default().threads;
    let mut counts = vec![1, cores.div_ceil(2), cores, 2 * cores];
    counts.sort_unstable();
    counts.dedup();
    let all = NEIGHBOURS
        .iter()
        .flat_map(|beside| counts.iter().map(|threads| name(*threads, *beside)));
    let all: Vec<String> = all.collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    args.only.check(&all)?;
    let loaded = load(&args.model)?;
    let mut measured: Vec<Measured> = Vec::new();
    if args.output == Format::Text {
        print(&head(args, &loaded, cores))?;
    }
    let waiting = spinner("measuring".into());
    for neighbours in NEIGHBOURS {
        let beside: Vec<Neighbour> = (0..neighbours)
            .map(|_| Neighbour::new())
            .collect::<Result<_, _>>()?;
        for &threads in &counts {
            let name = name(threads, neighbours);
            if !args.only.wants(&name) {
                continue;
            }
            waiting.set_message(name.clone());
            let row = measure(args, &loaded, threads, neighbours)?;
            let alone = measured.iter();
            let alone = alone
                .copied()
                .find(|m| m.neighbours == 0 && m.threads == threads);
            waiting.suspend(|| show(args, &name, row, alone))?;
            measured.push(row);
        }
        drop(beside);
    }
    waiting.finish_and_clear();
    Ok(())
}

fn name(threads: u32, neighbours: usize) -> String {
    format!("{threads} threads, {neighbours} neighbours")
}

fn measure(
    args: &BenchNeighboursArgs,
    loaded: &Loaded,
    threads: u32,
    neighbours: usize,
) -> anyhow::Result<Measured> {
    let options = ContextOptions {
        threads,
        ..loaded.options.clone()
    };
    let mut context = Context::new(loaded.model.clone(), &options)?;
    let rows = prompt_rows(loaded, args.tokens);
    let mut planned = Planned::new(loaded.model.clone(), &options, Planned::PARALLEL)?;
    let layers = 1..loaded.model.n_layer();
    let requests = cells(&prompt_tokens(loaded, args.tokens), Kind::Freeze, layers);
    let (mut prompts, mut tokens, mut sweeps) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        sweeps.push(timed(&mut planned, &requests)?);
        context.clear();
        prompts.push(seconds(&mut context, &rows)?);
        for n in 0..8 {
            let row = Row {
                position: args.tokens + n,
                ..rows[rows.len() - 1]
            };
            tokens.push(seconds(&mut context, &[row])?);
        }
    }
    Ok(Measured {
        threads,
        neighbours,
        prompt: median(&mut prompts),
        token: median(&mut tokens),
        sweep: median(&mut sweeps),
    })
}

fn seconds(context: &mut Context, rows: &[Row]) -> anyhow::Result<f64> {
    let start = Instant::now();
    context.decode(rows, std::collections::HashMap::new(), None)?;
    Ok(start.elapsed().as_secs_f64())
}

fn head(args: &BenchNeighboursArgs, loaded: &Loaded, cores: u32) -> String {
    let facts = loaded.model.facts();
    format!(
        "{} ({}), {cores} cores, a prompt of {} tokens, single tokens after it, freeze at all its layers, medians of {} rounds\nprompt ms  to alone  token ms  to alone  freeze s  to alone  what\n",
        facts.name, facts.quantization, args.tokens, args.rounds
    )
}

/// Prints a row, which has just been measured; `alone` is the one without neighbours.
fn show(
    args: &BenchNeighboursArgs,
    name: &str,
    m: Measured,
    alone: Option<Measured>,
) -> anyhow::Result<()> {
    if args.output == Format::Json {
        let line = json!({
            "name": name,
            "threads": m.threads,
            "neighbours": m.neighbours,
            "prompt_seconds": m.prompt,
            "token_seconds": m.token,
            "sweep_seconds": m.sweep,
        });
        return print(&format!("{line}\n"));
    }
    // The row without neighbours itself, or, where it was left out, none.
    let to = |of: fn(&Measured) -> f64| match alone.or((m.neighbours == 0).then_some(m)) {
        Some(alone) => format!("{:.2}", of(&m) / of(&alone)),
        None => String::new(),
    };
    print(&format!(
        "{:9.0}  {:>8}  {:8.1}  {:>8}  {:8.3}  {:>8}  {name}\n",
        1e3 * m.prompt,
        to(|m| m.prompt),
        1e3 * m.token,
        to(|m| m.token),
        m.sweep,
        to(|m| m.sweep),
    ))
}
