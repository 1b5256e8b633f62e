//! `midlayer bench sweep`: the planned strategy against the straightforward one.

use std::fmt::Write;
use std::fs;
use std::time::Instant;

use super::super::args::{BenchSweepArgs, Format};
use super::super::output::{print, spinner};
use super::super::setup::{Loaded, load};
use super::{Line, Sense, cells, median, prompt_tokens, timed};
use midlayer::engine::{Engine, Planned, Request, Rerun, Straightforward, Work, donor_states};
use midlayer::hook::{Anatomy, CacheFill, Cut, CutError, Row};
use midlayer::intervention::{Extent, Intervention, Kind, PositionSet};
use midlayer::runtime::Context;
use midlayer::sweep::ITEMS_TOGETHER;
use midlayer::tasks::{Capitals, Item};

/// Requests to be run by both strategies: a clean one and one for each layer, as in a sweep.
struct Case {
    name: &'static str,
    target: f64,
    requests: Vec<Request>,
    /// Requests that the planned strategy gets at once.
    together: usize,
    /// Every so many requests one is run the straightforward way too, and its time scaled.
    sample: usize,
    /// The least work that gives the same numbers.
    least: Vec<Part>,
}

/// Rows that a cut has to compute.
struct Part {
    cut: Cut,
    rows: usize,
    /// Rows whose logits are wanted.
    outputs: usize,
}

impl Part {
    /// All layers from `first` up.
    fn from(first: u32, rows: usize, outputs: usize) -> Self {
        Self {
            cut: Cut {
                first,
                cache: CacheFill::FromFirst,
                silent: false,
                onward: true,
            },
            rows,
            outputs,
        }
    }

    fn products(parts: &[Part], anatomy: &Anatomy) -> Result<f64, CutError> {
        let head = anatomy.edges.head_products();
        let each = parts.iter().map(|part| {
            let body = part.cut.products(anatomy)? * part.rows as u64;
            Ok((body + head * part.outputs as u64) as f64)
        });
        each.sum()
    }

    /// (rows times layers, of these of which only keys and values are computed).
    fn layer_rows(parts: &[Part], n_layer: u32) -> (u64, u64) {
        let of = |onward: bool| {
            let parts = parts.iter().filter(|part| part.cut.onward == onward);
            parts
                .map(|p| p.rows as u64 * u64::from(n_layer - p.cut.first))
                .sum()
        };
        (of(true), of(false))
    }
}

/// Prompts of this many tokens, as many as the targets speak of.
const LONG: u32 = 250;
/// Tokens that follow the prompt, and at how many layers.
const FOLLOW: (u32, u32) = (64, 8);
const CAPITALS: usize = 40;
/// One of so many capitals is run the straightforward way.
const SAMPLE: usize = 10;

pub fn run(args: &BenchSweepArgs) -> anyhow::Result<()> {
    let loaded = load(&args.model)?;
    let mut bench = Bench {
        args,
        lines: Vec::new(),
        remarks: Vec::new(),
        // Made and measured first: the peak of memory is the process's.
        planned: Planned::new(loaded.model.clone(), &loaded.options, args.parallel)?,
        loaded: &loaded,
    };
    bench.memory()?;
    let mut slow = loaded.engine()?;
    bench.next_tokens(&mut slow)?;
    bench.following(&mut slow)?;
    let text = match args.output {
        Format::Json => Line::json(&bench.lines),
        Format::Text => bench.report(),
    };
    print(&text)
}

struct Bench<'l> {
    args: &'l BenchSweepArgs,
    loaded: &'l Loaded,
    planned: Planned,
    lines: Vec<Line>,
    remarks: Vec<String>,
}

impl Bench<'_> {
    fn wants(&self, name: &str) -> bool {
        self.args
            .only
            .iter()
            .all(|part| name.contains(part.as_str()))
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
        let file = fs::metadata(&self.loaded.path)?.len();
        let buffers = self.planned.inspect().buffers();
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        self.remarks.push(format!(
            "memory: peak {:.0} MB; model file {:.0} MB, K/V, compute and output buffers {:.0} MB",
            megabytes(peak),
            megabytes(file),
            megabytes(buffers)
        ));
        self.lines.push(Line {
            name: format!("{name} (MB)"),
            seconds: (megabytes(peak), megabytes(file + buffers)),
            sense: Sense::AtMost,
            target: Some(1.25),
        });
        Ok(())
    }

    /// The cases in which only the next token is asked for.
    fn next_tokens(&mut self, slow: &mut Straightforward) -> anyhow::Result<()> {
        for case in self.cases(slow)? {
            if !self.wants(case.name) {
                continue;
            }
            let bound = self.bound(&case)?;
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
            let (rows, cache_rows) = Part::layer_rows(&case.least, self.n_layer());
            self.remarks.push(format!(
                "{}: layer-rows {} ({} least), of keys and values alone {} ({cache_rows} least), {} batches; arithmetic allows {bound:.1} x, {:.0}% of that reached",
                case.name,
                work.layer_rows,
                rows,
                work.cache_rows,
                work.decodes,
                100.0 * seconds.0 / seconds.1 / bound,
            ));
            self.lines.push(Line {
                name: case.name.into(),
                seconds,
                sense: Sense::AtLeast,
                target: Some(case.target),
            });
            if case.name.starts_with("freeze") {
                self.lines.push(Line {
                    name: "freeze, share of the bound".into(),
                    seconds: (seconds.0 / seconds.1, bound),
                    sense: Sense::AtLeast,
                    target: Some(0.8),
                });
            }
            if !rates.is_empty() {
                let mut planned: Vec<f64> = rates.iter().map(|r| r.0).collect();
                let mut own: Vec<f64> = rates.iter().map(|r| r.1).collect();
                self.lines.push(Line {
                    name: "layer-rows a second in random, to llama.cpp's batched prefill".into(),
                    seconds: (median(&mut planned), median(&mut own)),
                    sense: Sense::AtLeast,
                    target: Some(0.85),
                });
            }
        }
        Ok(())
    }

    /// How many times faster arithmetic alone allows a case to be: products of weights and
    /// values of all full passes over those of the least work.
    fn bound(&self, case: &Case) -> anyhow::Result<f64> {
        let anatomy = self.planned.inspect().anatomy();
        let anatomy = anatomy.ok_or_else(|| anyhow::anyhow!("the graph is not known"))?;
        let full: Vec<Part> = case
            .requests
            .iter()
            .flat_map(|r| {
                let follow: usize = r.continuations.iter().map(Vec::len).sum();
                [
                    Part::from(0, r.tokens.len(), 1),
                    Part::from(0, 2 * follow, follow),
                ]
            })
            .collect();
        Ok(Part::products(&full, anatomy)? / Part::products(&case.least, anatomy)?)
    }

    fn cases(&self, engine: &mut Straightforward) -> anyhow::Result<Vec<Case>> {
        let n_layer = self.n_layer();
        let n = LONG as usize;
        let case = |name, target, kind: Kind, each: &dyn Fn(u32) -> Vec<Part>| Case {
            name,
            target,
            requests: self.long(kind),
            together: usize::MAX,
            sample: 1,
            least: std::iter::once(Part::from(0, n, 1))
                .chain((kind.first_layer()..n_layer).flat_map(each))
                .collect(),
        };
        let silent = |k: u32| {
            let mut part = Part::from(k, 1, 1);
            part.cut.silent = true;
            part.cut.cache = CacheFill::None;
            vec![part]
        };
        let frozen = |k: u32| {
            let mut part = Part::from(k, n - 1, 0);
            part.cut.onward = false;
            vec![part, Part::from(k, 1, 1)]
        };
        let rows = |k: u32| vec![Part::from(k, n, 1)];
        let mut cases = vec![
            case(
                "skip-attention, long prompt, all layers",
                20.0,
                Kind::SkipAttention,
                &silent,
            ),
            case(
                "freeze, long prompt, all layers",
                11.0,
                Kind::Freeze,
                &frozen,
            ),
            self.injection(engine)?,
            case("random, long prompt, all layers", 1.8, Kind::Random, &rows),
            case(
                "shuffle, long prompt, all layers",
                1.8,
                Kind::Shuffle,
                &rows,
            ),
        ];
        for (name, kind) in [
            ("random, 40 five-shot capitals, all layers", Kind::Random),
            ("shuffle, 40 five-shot capitals, all layers", Kind::Shuffle),
        ] {
            cases.push(self.capitals(engine, name, kind)?);
        }
        Ok(cases)
    }

    fn items(&self, engine: &Straightforward, shots: usize, n: usize) -> anyhow::Result<Vec<Item>> {
        let task = Capitals { shots, chat: false };
        Ok(task.items(engine, n)?.items)
    }

    fn injection(&self, engine: &mut Straightforward) -> anyhow::Result<Case> {
        let items = self.items(engine, 1, CAPITALS)?;
        let item = items.iter().find(|item| item.swap.is_some());
        let item = item.ok_or_else(|| anyhow::anyhow!("no capital has a donor"))?;
        let swap = item.swap.as_ref().expect("just found");
        let last = swap.moves.last().expect("names have tokens").1;
        let [states, ..] = donor_states(engine, &swap.donor, &swap.moves)?;
        let at = PositionSet::ranges([last..last + 1]);
        let n = item.prompt.tokens.len();
        let n_layer = self.n_layer();
        let given = |k| Intervention::given(k, states.clone(), at.clone());
        Ok(Case {
            name: "inject, last country token, one shot, all layers",
            target: 5.0,
            requests: std::iter::once(Request::new(&item.prompt))
                .chain((0..n_layer).map(|k| Request::new(&item.prompt).with(given(k))))
                .collect(),
            together: usize::MAX,
            sample: 1,
            least: std::iter::once(Part::from(0, n, 1))
                .chain((0..n_layer).map(|k| Part::from(k, n - last as usize, 1)))
                .collect(),
        })
    }

    fn capitals(
        &self,
        engine: &Straightforward,
        name: &'static str,
        kind: Kind,
    ) -> anyhow::Result<Case> {
        let items = self.items(engine, 5, CAPITALS)?;
        let n_layer = self.n_layer();
        let of = |item: &Item, k: Option<u32>| {
            let (_, answer) = (item.answer.tokens.split_last()).expect("answers have tokens");
            let at = |k| kind.intervention(k, 1, Extent::Paper, PositionSet::all(), None);
            Request {
                continuations: vec![answer.to_vec()],
                plan: k.map(at).into_iter().collect(),
                ..Request::new(&item.prompt)
            }
        };
        let first = &items[0].prompt.tokens;
        let shared = items.iter().map(|item| {
            let pairs = item.prompt.tokens.iter().zip(first);
            pairs.take_while(|(a, b)| a == b).count()
        });
        let shared = shared.min().unwrap_or(0);
        let own: usize = items.iter().map(|i| i.prompt.tokens.len() - shared).sum();
        let follow: usize = items.iter().map(|i| i.answer.tokens.len() - 1).sum();
        let mut least = vec![
            Part::from(0, shared + own, items.len()),
            Part::from(0, follow, follow),
        ];
        for k in 0..n_layer {
            least.push(Part::from(k, shared + own, items.len()));
            least.push(Part::from(0, 2 * follow, follow));
        }
        // The items of one sample stand together, so that each is met at all layers.
        let requests: Vec<Request> = items
            .chunks(ITEMS_TOGETHER)
            .flat_map(|items| {
                let cells = std::iter::once(None).chain((0..n_layer).map(Some));
                cells.flat_map(move |k| items.iter().map(move |item| (item, k)))
            })
            .map(|(item, k)| of(item, k))
            .collect();
        Ok(Case {
            name,
            target: 8.0,
            requests,
            together: ITEMS_TOGETHER * (n_layer as usize + 1),
            sample: SAMPLE,
            least,
        })
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
        self.lines.push(Line {
            name: names[0].into(),
            seconds: (median(&mut times[0]), planned),
            sense: Sense::AtLeast,
            target: Some(2.5),
        });
        if !times[2].is_empty() {
            self.lines.push(Line {
                name: names[1].into(),
                seconds: (median(&mut times[2]), planned),
                sense: Sense::AtLeast,
                target: Some(40.0),
            });
            self.remarks
                .push("rerunning the text is timed at one layer and scaled to all 8".into());
        }
        Ok(())
    }

    fn report(&self) -> String {
        let facts = self.loaded.model.facts();
        let mut text = format!(
            "{} ({}), {} layers, long prompts of {LONG} tokens, {} threads, {} sequences in a batch, medians of {} rounds\n",
            facts.name,
            facts.quantization,
            facts.n_layer,
            self.loaded.options.threads,
            self.args.parallel,
            self.args.rounds
        );
        writeln!(text, "{}", Line::table(&self.lines)).expect("a String takes any text");
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
    }
}

/// The process's peak of resident memory in bytes, where /proc tells.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
