//! `midlayer bench`: costs, as ratios within one run.

mod callback;
mod generation;
mod map;
mod model;
mod neighbours;
mod one_prompt;
mod scaling;
mod serve;
mod statistics;
mod sweep;

use std::fmt::Write;
use std::ops::ControlFlow;
use std::time::Instant;

use serde_json::json;

use super::args::{BenchArgs, BenchCommand, Format};
use super::output::print;
use super::setup::Loaded;
use crate::engine::{Decode, Engine, EngineError, Request};
use crate::hook::{CacheFill, Row};
use crate::intervention::{Extent, Kind, PositionSet};
use crate::runtime::Token;

pub fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.what {
        BenchCommand::Callback(args) => callback::run(&args),
        BenchCommand::Generation(args) => generation::run(&args),
        BenchCommand::Sweep(args) => sweep::run(&args),
        BenchCommand::Try(args) => one_prompt::run(&args),
        BenchCommand::Map(args) => map::run(&args),
        BenchCommand::Serve(args) => serve::run(&args),
        BenchCommand::Scaling(args) => scaling::run(&args),
        BenchCommand::Neighbours(args) => neighbours::run(&args),
        BenchCommand::Statistics(args) => statistics::run(&args),
        BenchCommand::Model(args) => model::run(&args),
        BenchCommand::Busy => neighbours::busy(),
    }
}

/// On which side of its target a ratio should be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    AtLeast,
    AtMost,
}

impl Sense {
    fn name(self) -> &'static str {
        match self {
            Sense::AtLeast => "at-least",
            Sense::AtMost => "at-most",
        }
    }
}

/// A ratio of two times, or of two other quantities of one unit.
struct Line {
    name: String,
    /// Of the one over the other.
    seconds: (f64, f64),
    sense: Sense,
    target: Option<f64>,
}

impl Line {
    fn ratio(&self) -> f64 {
        self.seconds.0 / self.seconds.1
    }

    fn is_met(&self) -> Option<bool> {
        self.target.map(|target| match self.sense {
            Sense::AtLeast => self.ratio() >= target,
            Sense::AtMost => self.ratio() <= target,
        })
    }

    /// One object a line.
    fn json(lines: &[Line]) -> String {
        let mut text = String::new();
        for line in lines {
            let object = json!({
                "name": line.name,
                "ratio": line.ratio(),
                "target": line.target,
                "sense": line.sense.name(),
                "times": [line.seconds.0, line.seconds.1],
            });
            writeln!(text, "{object}").expect("a String takes any text");
        }
        text
    }

    /// The head of the rows that [`Line::show`] prints.
    const HEAD: &str = "the one  the other    ratio  what\n";

    /// Prints the row, which has just been measured.
    fn show(&self, output: Format) -> anyhow::Result<()> {
        if output == Format::Json {
            return print(&Line::json(std::slice::from_ref(self)));
        }
        let target = self.target.map_or(String::new(), |target| {
            let sense = self.sense.name().replace('-', " ");
            let met = if self.is_met() == Some(true) {
                "met"
            } else {
                "missed"
            };
            format!(" ({sense} {target}: {met})")
        });
        let (one, other) = self.seconds;
        let ratio = self.ratio();
        print(&format!(
            "{one:7.3}  {other:9.3}  {ratio:7.2}  {}{target}\n",
            self.name
        ))
    }
}

/// Arbitrary but valid tokens.
fn prompt_tokens(loaded: &Loaded, n: u32) -> Vec<Token> {
    nth_prompt(loaded, 0, n)
}

/// One of several prompts that have no beginning in common.
fn nth_prompt(loaded: &Loaded, number: u32, n: u32) -> Vec<Token> {
    let n_vocab = loaded.model.facts().n_vocab.max(1);
    let token = |i| Token(((1000 + 37 * i + 11 * number) % n_vocab) as i32);
    (0..n).map(token).collect()
}

/// What a sweep asks of one text: a clean result, and one under `kind` at each of the layers.
fn cells(tokens: &[Token], kind: Kind, layers: impl Iterator<Item = u32>) -> Vec<Request> {
    let at = |k| kind.intervention(k, 1, Extent::Paper, PositionSet::all(), None);
    let plans = std::iter::once(vec![]).chain(layers.map(|k| vec![at(k)]));
    plans
        .map(|plan| Request {
            tokens: tokens.to_vec(),
            plan,
            ..Request::default()
        })
        .collect()
}

/// The least that [`cells`] of a text of `n` tokens need: a clean pass and, at each layer, what
/// the manipulation changes.
fn least(kind: Kind, n: usize, layers: impl Iterator<Item = u32>) -> Vec<Decode> {
    let of = |k: u32| match kind {
        Kind::SkipAttention => {
            let mut last = Decode::from(k, 1, 1);
            last.cut.silent = true;
            last.cut.cache = CacheFill::None;
            vec![last]
        }
        Kind::Freeze => {
            let mut prior = Decode::from(k, n - 1, 0);
            prior.cut.onward = false;
            vec![prior, Decode::from(k, 1, 1)]
        }
        _ => vec![Decode::from(k, n, 1)],
    };
    let clean = std::iter::once(Decode::from(0, n, 1));
    clean.chain(layers.flat_map(of)).collect()
}

/// How many times faster arithmetic alone allows work to be: products of weights and values of
/// full passes over those of the least work.
fn bound(engine: &dyn Engine, full: &[Decode], least: &[Decode]) -> f64 {
    let products = |decodes: &[Decode]| decodes.iter().map(|d| engine.products(d)).sum::<f64>();
    products(full) / products(least)
}

/// The tokens of [`prompt_tokens`] as a batch.
fn prompt_rows(loaded: &Loaded, n: u32) -> Vec<Row> {
    let tokens = prompt_tokens(loaded, n);
    let rows = tokens.iter().zip(0..n).map(|(token, i)| Row {
        sequence: 0,
        position: i,
        token: token.0,
        prior: i + 1 < n,
        output: i + 1 == n,
    });
    rows.collect()
}

/// Seconds that an engine takes for all requests together.
fn timed(engine: &mut dyn Engine, requests: &[Request]) -> Result<f64, EngineError> {
    let start = Instant::now();
    engine.run_all(requests, &mut |_, _| ControlFlow::Continue(()))?;
    Ok(start.elapsed().as_secs_f64())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (values[n / 2] + values[(n - 1) / 2]) / 2.0
}
