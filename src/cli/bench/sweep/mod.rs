//! `midlayer bench sweep`: the planned strategy against the straightforward one.

mod cases;

use std::fmt::Write;
use std::fs;
use std::time::Instant;

use super::{Line, Sense, cells, median, prompt_tokens, timed};
use crate::cli::Usage;
use crate::cli::args::{BenchSweepArgs, Format};
use crate::cli::output::{print, spinner};
use crate::cli::setup::{Loaded, load};
use crate::engine::{Engine, Planned, Request, Rerun, Straightforward, Work};
use crate::hook::Row;
use crate::intervention::{Intervention, Kind};
use crate::runtime::Context;

/// Prompts of this many tokens, as many as the targets speak of.
const LONG: u32 = 250;
/// Tokens that follow the prompt, and at how many layers.
const FOLLOW: (u32, u32) = (64, 8);

pub fn run(args: &BenchSweepArgs) -> anyhow::Result<()> {
    let loaded = load(&args.model)?;
    let mut bench = Bench {
        args,
        measured: false,
        remarks: Vec::new(),
        // Made and measured first: the peak of memory is the process's.
        planned: Planned::new(loaded.model.clone(), &loaded.options, args.parallel)?,
        loaded: &loaded,
    };
    if args.output == Format::Text {
        print(&bench.head())?;
    }
    bench.memory()?;
    let mut slow = loaded.engine()?;
    bench.next_tokens(&mut slow)?;
    bench.following(&mut slow)?;
    if !bench.measured {
        let only = args.only.only.as_deref().unwrap_or_default();
        return Err(Usage(format!("no case has '{only}' in its name (--only)")).into());
    }
    match args.output {
        Format::Json => Ok(()),
        Format::Text => print(&bench.tail()),
    }
}

struct Bench<'l> {
    args: &'l BenchSweepArgs,
    loaded: &'l Loaded,
    planned: Planned,
    /// Whether there was a case to measure.
    measured: bool,
    remarks: Vec<String>,
}

impl Bench<'_> {
    fn wants(&self, name: &str) -> bool {
        self.args.only.wants(name)
    }

    /// Prints a row, which has just been measured.
    fn row(&mut self, line: Line) -> anyhow::Result<()> {
        self.measured = true;
        line.show(self.args.output)
    }

    fn n_layer(&self) -> u32 {
        self.loaded.model.n_layer()
    }

    fn long(&self, kind: Kind) -> Vec<Request> {
        let layers = kind.first_layer()..self.n_layer();
        cells(&prompt_tokens(self.loaded, LONG), kind, layers)
    }

    /// Peak memory of the planned strategy against what llama.cpp itself needs.
    fn memory(&mut self) -> anyhow::Result<()> {
        let name = "peak memory to model file and llama.cpp's buffers";
        if !self.wants(name) {
            return Ok(());
        }
        let requests = self.long(Kind::Freeze);
        timed(&mut self.planned, &requests)?;
        let Some(peak) = peak_memory() else {
            self.remarks
                .push("peak memory is read from /proc, which is not here".into());
            return Ok(());
        };
        let file = self.loaded.files.bytes();
        let buffers = self.planned.inspect().buffers();
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        self.remarks.push(format!(
            "memory: peak {:.0} MB; model file {:.0} MB, K/V, compute and output buffers {:.0} MB",
            megabytes(peak),
            megabytes(file),
            megabytes(buffers)
        ));
        self.row(Line {
            name: format!("{name} (MB)"),
            seconds: (megabytes(peak), megabytes(file + buffers)),
            sense: Sense::AtMost,
            target: Some(1.25),
        })?;
        Ok(())
    }

    /// The cases in which only the next token is asked for.
    fn next_tokens(&mut self, slow: &mut Straightforward) -> anyhow::Result<()> {
        for case in self.cases(slow)? {
            if !self.wants(case.name) {
                continue;
            }
            let bound = self.bound(&case);
            let waiting = spinner(case.name.into());
            let (mut ones, mut others, mut rates) = (Vec::new(), Vec::new(), Vec::new());
            let mut work = Work::default();
            for round in 0..self.args.rounds {
                waiting.set_message(format!("{}, round {}", case.name, round + 1));
                let sampled: Vec<Request> = (case.requests.iter().step_by(case.sample))
                    .cloned()
                    .collect();
                let scale = case.requests.len() as f64 / sampled.len() as f64;
                ones.push(timed(slow, &sampled)? * scale);
                let before = self.planned.work();
                let mut seconds = 0.0;
                for together in case.requests.chunks(case.together) {
                    seconds += timed(&mut self.planned, together)?;
                }
                others.push(seconds);
                work = since(&before, &self.planned.work());
                if case.name.starts_with("random, long") {
                    let own = self.prefill_rate()?;
                    rates.push((work.layer_rows as f64 / seconds, own));
                }
            }
            waiting.finish_and_clear();
            let seconds = (median(&mut ones), median(&mut others));
            let n_layer = self.n_layer();
            let least = (
                case.least.layer_rows(n_layer),
                case.least.cache_rows(n_layer),
            );
            self.remarks.push(format!(
                "{}: layer-rows {} ({} least), of keys and values alone {} ({} least), {} batches; arithmetic allows {bound:.1} x, {:.0}% of that reached; {} stops, {:.1} MB read, {:.1} MB written",
                case.name,
                work.layer_rows,
                least.0,
                work.cache_rows,
                least.1,
                work.decodes,
                100.0 * seconds.0 / seconds.1 / bound,
                work.traffic.stops,
                work.traffic.read as f64 / 1e6,
                work.traffic.written as f64 / 1e6,
            ));
            self.row(Line {
                name: case.name.into(),
                seconds,
                sense: Sense::AtLeast,
                target: Some(case.target),
            })?;
            if case.name.starts_with("freeze") {
                self.row(Line {
                    name: "freeze, share of the bound".into(),
                    seconds: (seconds.0 / seconds.1, bound),
                    sense: Sense::AtLeast,
                    target: Some(0.8),
                })?;
            }
            if !rates.is_empty() {
                let mut planned: Vec<f64> = rates.iter().map(|r| r.0).collect();
                let mut own: Vec<f64> = rates.iter().map(|r| r.1).collect();
                self.row(Line {
                    name: "layer-rows a second in random, to llama.cpp's batched prefill".into(),
                    seconds: (median(&mut planned), median(&mut own)),
                    sense: Sense::AtLeast,
                    target: Some(0.85),
                })?;
            }
        }
        Ok(())
    }

    /// Layer-rows a second of llama.cpp's own prefill, without any callback: two prompts in
    /// one batch.
    fn prefill_rate(&self) -> anyhow::Result<f64> {
        let tokens = prompt_tokens(self.loaded, LONG);
        let mut options = self.loaded.options.clone();
        options.n_seq_max = 2;
        let mut bare = Context::without_callback(self.loaded.model.clone(), &options)?;
        let n = tokens.len();
        let rows: Vec<Row> = (0..2 * n)
            .map(|i| Row {
                sequence: (i / n) as u32,
                position: (i % n) as u32,
                token: tokens[i % n].0,
                prior: i % n + 1 < n,
                output: i % n + 1 == n,
            })
            .collect();
        let mut rates = Vec::new();
        for round in 0..4 {
            bare.clear();
            let start = Instant::now();
            bare.decode(&rows, std::collections::HashMap::new(), None)?;
            // A device goes on computing until something is asked of it.
            bare.logits(rows.len() - 1)?;
            let seconds = start.elapsed().as_secs_f64();
            // The first one warms caches up.
            if round > 0 {
                rates.push(rows.len() as f64 * f64::from(self.n_layer()) / seconds);
            }
        }
        Ok(median(&mut rates))
    }

    /// Many tokens after a long prompt, at several layers.
    fn following(&mut self, slow: &mut Straightforward) -> anyhow::Result<()> {
        let names = [
            "64 tokens under freeze at 8 layers, one after another",
            "64 tokens under freeze at 8 layers, rerunning the text",
        ];
        if !names.iter().any(|name| self.wants(name)) {
            return Ok(());
        }
        let (tokens, layers) = FOLLOW;
        let n_layer = self.n_layer();
        let requests: Vec<Request> = (0..layers)
            .map(|n| Request {
                tokens: prompt_tokens(self.loaded, LONG),
                plan: vec![Intervention::freeze(
                    (1 + n * (n_layer - 1) / layers).min(n_layer - 1),
                )],
                // The last token is not run through the model.
                continuations: vec![prompt_tokens(self.loaded, tokens - 1)],
                ..Request::default()
            })
            .collect();
        let mut rerun = Rerun::new(self.loaded.engine()?);
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        let waiting = spinner(names[0].into());
        for _ in 0..self.args.rounds {
            times[0].push(timed(slow, &requests)?);
            times[1].push(timed(&mut self.planned, &requests)?);
            if self.wants(names[1]) {
                let one = &requests[requests.len() / 2..][..1];
                times[2].push(timed(&mut rerun, one)? * f64::from(layers));
            }
        }
        waiting.finish_and_clear();
        let planned = median(&mut times[1]);
        self.row(Line {
            name: names[0].into(),
            seconds: (median(&mut times[0]), planned),
            sense: Sense::AtLeast,
            target: Some(2.5),
        })?;
        if !times[2].is_empty() {
            self.row(Line {
                name: names[1].into(),
                seconds: (median(&mut times[2]), planned),
                sense: Sense::AtLeast,
                target: Some(40.0),
            })?;
            self.remarks
                .push("rerunning the text is timed at one layer and scaled to all 8".into());
        }
        Ok(())
    }

    fn head(&self) -> String {
        let facts = self.loaded.model.facts();
        format!(
            "{} ({}), {} layers, long prompts of {LONG} tokens, {} threads, {} sequences in a batch, medians of {} rounds\n{}",
            facts.name,
            facts.quantization,
            facts.n_layer,
            self.loaded.options.threads,
            self.args.parallel,
            self.args.rounds,
            Line::HEAD,
        )
    }

    fn tail(&self) -> String {
        let mut text = String::new();
        for remark in &self.remarks {
            writeln!(text, "{remark}").expect("a String takes any text");
        }
        text.push_str("the one: straightforward, or as named; the other: planned; seconds where nothing else is said. Of 40 capitals every tenth result is timed the straightforward way and the time scaled.\n");
        text
    }
}

fn since(before: &Work, now: &Work) -> Work {
    Work {
        layer_rows: now.layer_rows - before.layer_rows,
        cache_rows: now.cache_rows - before.cache_rows,
        decodes: now.decodes - before.decodes,
        fallbacks: now.fallbacks - before.fallbacks,
        reason: now.reason.clone(),
        traffic: now.traffic.since(before.traffic),
    }
}

/// The process's peak of resident memory in bytes, where /proc tells.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
