//! `midlayer bench neighbours`: what is left of the speed when other processes are busy.

use std::fmt::Write;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use comfy_table::{CellAlignment, Table};
use serde_json::json;

use super::super::args::{BenchNeighboursArgs, Format};
use super::super::output::{print, spinner};
use super::super::setup::{Loaded, load};
use super::{median, prompt_rows};
use midlayer::hook::Row;
use midlayer::report::STYLE;
use midlayer::runtime::{Context, ContextOptions};

/// How many other processes compute all the time.
const NEIGHBOURS: [usize; 3] = [0, 1, 3];

/// A process that does nothing but count, until this one drops it or dies.
struct Neighbour(Child);

impl Neighbour {
    fn new() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
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
struct Measured {
    threads: u32,
    neighbours: usize,
    /// Seconds of a whole prompt, and of one token after it.
    prompt: f64,
    token: f64,
}

pub fn run(args: &BenchNeighboursArgs) -> anyhow::Result<()> {
    let loaded = load(&args.model)?;
    let cores = ContextOptions::default().threads;
    let mut counts = vec![1, cores.div_ceil(2), cores, 2 * cores];
    counts.sort_unstable();
    counts.dedup();
    let mut measured = Vec::new();
    let waiting = spinner("measuring".into());
    for neighbours in NEIGHBOURS {
        let beside: Vec<Neighbour> = (0..neighbours)
            .map(|_| Neighbour::new())
            .collect::<Result<_, _>>()?;
        for &threads in &counts {
            waiting.set_message(format!("{threads} threads, {neighbours} neighbours"));
            measured.push(measure(args, &loaded, threads, neighbours)?);
        }
        drop(beside);
    }
    waiting.finish_and_clear();
    print(&show(args, &loaded, cores, &measured)?)
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
    let (mut prompts, mut tokens) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
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
    })
}

fn seconds(context: &mut Context, rows: &[Row]) -> anyhow::Result<f64> {
    let start = Instant::now();
    context.decode(rows, std::collections::HashMap::new(), None)?;
    Ok(start.elapsed().as_secs_f64())
}

fn show(
    args: &BenchNeighboursArgs,
    loaded: &Loaded,
    cores: u32,
    measured: &[Measured],
) -> anyhow::Result<String> {
    let alone = |threads: u32| {
        let mut found = measured.iter();
        found.find(|m| m.neighbours == 0 && m.threads == threads)
    };
    let mut text = String::new();
    if args.output == Format::Json {
        for m in measured {
            let line = json!({
                "name": format!("{} threads, {} neighbours", m.threads, m.neighbours),
                "threads": m.threads,
                "neighbours": m.neighbours,
                "prompt_seconds": m.prompt,
                "token_seconds": m.token,
            });
            writeln!(text, "{line}")?;
        }
        return Ok(text);
    }
    let facts = loaded.model.facts();
    writeln!(
        text,
        "{} ({}), {cores} cores, a prompt of {} tokens and single tokens after it, medians of {} rounds",
        facts.name, facts.quantization, args.tokens, args.rounds
    )?;
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header([
        "neighbours",
        "threads",
        "prompt ms",
        "to alone",
        "token ms",
        "to alone",
    ]);
    for m in measured {
        let base = alone(m.threads).expect("measured first");
        table.add_row([
            m.neighbours.to_string(),
            m.threads.to_string(),
            format!("{:.0}", 1e3 * m.prompt),
            format!("{:.2}", m.prompt / base.prompt),
            format!("{:.1}", 1e3 * m.token),
            format!("{:.2}", m.token / base.token),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(text, "{table}")?;
    Ok(text)
}
