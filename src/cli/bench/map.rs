//! `midlayer bench map`: an effect map against a full forward pass a cell, and a logit lens
//! against a clean prefill.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::super::args::{BenchMapArgs, Format};
use super::super::output::{print, spinner};
use super::super::setup::{Loaded, load};
use super::super::try_prompt::engine;
use super::{Line, Sense, median, prompt_tokens, timed};
use crate::engine::{Decode, Engine, Planned, Prompt, Request, Straightforward, Work};
use crate::hook::{Anatomy, Cut, Row, Start};
use crate::intervention::{Extent, Kind, PositionSet, Site, States};
use crate::maps::{Down, Followed, Lens, Measure, Question, draw};
use crate::runtime::{Context, Token};

const MAP: &str = "effect map, all tokens and layers";
const SHARE: &str = "effect map, share of what arithmetic allows";
const FIRST: &str = "effect map, first picture to the whole";
const LENS: &str = "logit lens beyond the head, to a clean prefill";
const NAMES: [&str; 4] = [MAP, SHARE, FIRST, LENS];

/// Of so many cells one is run the straightforward way.
const SAMPLE: usize = 10;
/// The answer: which token it is does not matter.
const ANSWER: Token = Token(100);

pub fn run(args: &BenchMapArgs) -> anyhow::Result<()> {
    args.only.check(&NAMES)?;
    let loaded = load(&args.model)?;
    let mut bench = Bench {
        args,
        prompt: Prompt::new("", prompt_tokens(&loaded, args.tokens), |_| Vec::new()),
        fast: engine(&loaded)?,
        slow: loaded.engine()?,
        head: Context::new(loaded.model.clone(), &loaded.options)?,
        remarks: Vec::new(),
        loaded: &loaded,
    };
    if args.output == Format::Text {
        print(&bench.title())?;
    }
    if NAMES[..3].iter().any(|name| args.only.wants(name)) {
        bench.effect()?;
    }
    if args.only.wants(LENS) {
        bench.lens()?;
    }
    match args.output {
        Format::Json => Ok(()),
        Format::Text => print(&bench.tail()),
    }
}

struct Bench<'l> {
    args: &'l BenchMapArgs,
    loaded: &'l Loaded,
    prompt: Prompt,
    fast: Planned,
    slow: Straightforward,
    /// A context for the head alone.
    head: Context,
    remarks: Vec<String>,
}

/// What a map took.
struct Drawn {
    /// Seconds until the first picture, and until the last cell.
    first: f64,
    all: f64,
    work: Work,
}

impl Bench<'_> {
    fn n_layer(&self) -> u32 {
        self.loaded.model.n_layer()
    }

    fn n(&self) -> usize {
        self.prompt.tokens.len()
    }

    fn show(&self, line: &Line) -> anyhow::Result<()> {
        match self.args.only.wants(&line.name) {
            true => line.show(self.args.output),
            false => Ok(()),
        }
    }

    fn effect(&mut self) -> anyhow::Result<()> {
        let anatomy = self.fast.inspect().anatomy();
        let anatomy = anatomy.expect("engines have a callback").clone();
        let cells = self.cells();
        let sampled: Vec<Request> = cells.iter().step_by(SAMPLE).cloned().collect();
        let scale = cells.len() as f64 / sampled.len() as f64;
        let waiting = spinner(MAP.into());
        let (mut slow, mut fast, mut first) = (Vec::new(), Vec::new(), Vec::new());
        let mut work = Work::default();
        for round in 0..=self.args.rounds {
            let drawn = self.drawn(&anatomy)?;
            // The first round warms caches up.
            if round > 0 {
                slow.push(timed(&mut self.slow, &sampled)? * scale);
                fast.push(drawn.all);
                first.push(drawn.first);
                work = drawn.work;
            }
        }
        waiting.finish_and_clear();
        let seconds = (median(&mut slow), median(&mut fast));
        let (full, least) = self.decodes();
        let bound = self.products(&full) / self.products(&least);
        self.remarks.push(format!(
            "effect map: {} cells; layer-rows {} ({} least), {} batches; arithmetic allows {bound:.2} x",
            cells.len(),
            work.layer_rows,
            layer_rows(&least, self.n_layer()),
            work.decodes,
        ));
        self.show(&Line {
            name: MAP.into(),
            seconds,
            sense: Sense::AtLeast,
            target: Some(6.0),
        })?;
        self.show(&Line {
            name: SHARE.into(),
            seconds: (seconds.0 / seconds.1, bound),
            sense: Sense::AtLeast,
            target: Some(0.8),
        })?;
        self.show(&Line {
            name: FIRST.into(),
            seconds: (median(&mut first), seconds.1),
            sense: Sense::AtMost,
            target: Some(0.1),
        })
    }

    /// A run for each token and layer.
    fn cells(&self) -> Vec<Request> {
        let layers = 0..self.n_layer();
        let cells = layers.flat_map(|layer| (0..self.n() as u32 - 1).map(move |at| (layer, at)));
        cells
            .map(|(layer, at)| {
                let at = PositionSet::ranges([at..at + 1]);
                let kind = Kind::noise();
                let random = kind.intervention(layer, 1, Extent::Only, at, None);
                Request::new(&self.prompt).with(random)
            })
            .collect()
    }

    /// What a full pass a cell computes, and the least that gives the same: in each cell the rows
    /// from its token on, from its layer up, and the clean run.
    fn decodes(&self) -> (Vec<Decode>, Vec<Decode>) {
        let n = self.n();
        let layers = 0..self.n_layer();
        let cells = layers.flat_map(|layer| (0..n - 1).map(move |at| (layer, at)));
        let least = cells
            .clone()
            .map(|(layer, at)| Decode::from(layer, n - at, 1));
        let full = cells.map(|_| Decode::whole(n, 1)).collect();
        (full, least.chain([Decode::whole(n, 1)]).collect())
    }

    fn products(&self, decodes: &[Decode]) -> f64 {
        let each = decodes.iter().map(|decode| self.fast.products(decode));
        each.sum()
    }

    fn drawn(&mut self, anatomy: &Anatomy) -> anyhow::Result<Drawn> {
        let question = Question {
            prompt: &self.prompt,
            kind: Kind::noise(),
            states: None,
            sites: vec![Site::Residual],
            seeds: vec![1],
            layers: (0..self.n_layer()).collect(),
            positions: (0..self.n() as u32 - 1).collect(),
            down: Down::Tokens,
            corrupted: None,
            measure: Measure::LogProbability(Followed(vec![ANSWER])),
        };
        let coarse = question.first_picture();
        let before = self.fast.work();
        let start = Instant::now();
        let mut first = None;
        draw(&mut self.fast, anatomy, &question, &mut |_, done, _| {
            if done >= coarse {
                first.get_or_insert_with(|| start.elapsed().as_secs_f64());
            }
            ControlFlow::Continue(())
        })?;
        let all = start.elapsed().as_secs_f64();
        let now = self.fast.work();
        Ok(Drawn {
            first: first.unwrap_or(all),
            all,
            work: Work {
                layer_rows: now.layer_rows - before.layer_rows,
                decodes: now.decodes - before.decodes,
                ..Work::default()
            },
        })
    }

    fn lens(&mut self) -> anyhow::Result<()> {
        let n_layer = self.n_layer();
        let clean = [Request::new(&self.prompt)];
        let waiting = spinner(LENS.into());
        let (mut lenses, mut prefills, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=self.args.rounds {
            let prefill = timed(&mut self.slow, &clean)?;
            let lens = self.look()?;
            let row = self.head_row()?;
            if round > 0 {
                prefills.push(prefill);
                lenses.push(lens);
                rows.push(row);
            }
        }
        waiting.finish_and_clear();
        let (lens, row) = (median(&mut lenses), median(&mut rows));
        let in_head = self.n() * (n_layer as usize + 1);
        let head = in_head as f64 * row;
        self.remarks.push(format!(
            "logit lens: {lens:.3} s, of which {head:.3} s are {in_head} rows of the head at {:.3} ms each",
            1e3 * row
        ));
        self.show(&Line {
            name: LENS.into(),
            seconds: (lens - head, median(&mut prefills)),
            sense: Sense::AtMost,
            target: Some(4.0),
        })
    }

    /// Seconds of the lens at all tokens and layers.
    fn look(&mut self) -> anyhow::Result<f64> {
        let layers: Vec<u32> = (0..self.n_layer()).collect();
        let positions: Vec<u32> = (0..self.n() as u32).collect();
        let start = Instant::now();
        Lens::of(
            &mut self.fast,
            &self.prompt,
            (&layers, &positions),
            Some(ANSWER),
            &mut |_, _| ControlFlow::Continue(()),
        )?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds of the head for one row more: what a batch of twice the rows takes beyond one of
    /// the prompt's.
    fn head_row(&mut self) -> anyhow::Result<f64> {
        let n = self.n() as u32;
        Ok((self.head_alone(2 * n)? - self.head_alone(n)?) / f64::from(n))
    }

    /// Seconds of the head alone for so many rows, whatever their states.
    fn head_alone(&mut self, n: u32) -> anyhow::Result<f64> {
        const TIMES: usize = 10;
        let (n_layer, n_embd) = (self.n_layer(), self.loaded.model.facts().n_embd);
        let mut states = States::new();
        let state: Vec<f32> = (0..n_embd).map(|i| (i * 37 % 101) as f32 - 50.0).collect();
        (0..n).for_each(|at| states.insert(n_layer, at, &state[..]));
        let start = Start {
            states: Arc::new(states),
            from: n_layer,
            frozen: None,
        };
        let tokens = prompt_tokens(self.loaded, n);
        let rows: Vec<Row> = (0..n)
            .zip(tokens)
            .map(|(position, token)| Row {
                sequence: 0,
                position,
                token: token.0,
                prior: position + 1 < n,
                output: true,
            })
            .collect();
        let mut each = Vec::new();
        for _ in 0..TIMES {
            self.head.clear();
            let starts = vec![start.clone(); rows.len()];
            let begun = Instant::now();
            let cut = Cut::head(n_layer);
            self.head.decode_part(&rows, HashMap::new(), &cut, starts)?;
            // A device goes on computing until something is asked of it.
            self.head.logits(0)?;
            each.push(begun.elapsed().as_secs_f64());
        }
        Ok(median(&mut each))
    }

    fn title(&self) -> String {
        let facts = self.loaded.model.facts();
        format!(
            "{} ({}), {} layers, a prompt of {} tokens, {} threads, medians of {} rounds\n{}",
            facts.name,
            facts.quantization,
            facts.n_layer,
            self.n(),
            self.loaded.options.threads,
            self.args.rounds,
            Line::HEAD,
        )
    }

    fn tail(&self) -> String {
        let remarks: String = self.remarks.iter().map(|r| format!("{r}\n")).collect();
        format!(
            "{remarks}the one: a full pass for every cell (every tenth is timed and the time scaled), or as named; the other: midlayer map; seconds, but for shares. The first picture is every fourth layer of every eighth token. The head's time a row is what a batch of twice the rows takes longer.\n"
        )
    }
}

fn layer_rows(decodes: &[Decode], n_layer: u32) -> u64 {
    let each = decodes
        .iter()
        .map(|decode| decode.rows as u64 * u64::from(decode.cut.layers(n_layer)));
    each.sum()
}
