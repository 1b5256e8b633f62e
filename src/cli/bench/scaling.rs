//! `midlayer bench scaling`: how time grows with the layers of a sweep, its prompt, its items, and
//! with the model.

use std::path::{Path, PathBuf};

use super::super::args::BenchScalingArgs;
use super::super::output::{print, say, spinner};
use super::super::setup::{Loaded, load, load_file, model_files};
use super::{bound, cells, least, median, nth_prompt, timed};
use crate::engine::{Decode, Engine, Request, Strategy};
use crate::intervention::Kind;
use crate::report::{ScalingLine, ScalingPanel, scaling_svg};

const KINDS: [Kind; 2] = [Kind::Freeze, Kind::Random];
/// Lengths of a prompt, and the length where something else varies.
const LENGTHS: [u32; 5] = [32, 64, 125, 250, 500];
const LENGTH: u32 = 250;
/// Layers of a sweep, and how many where something else varies.
const LAYERS: [u32; 6] = [1, 2, 4, 8, 16, 29];
const LAYER_COUNT: u32 = 8;
/// Items of a task, each a prompt of so many tokens.
const ITEMS: [u32; 5] = [1, 2, 4, 8, 16];
const ITEM_LENGTH: u32 = 64;

/// A sweep: a clean result of each item, and one at each layer.
#[derive(Clone, Copy)]
struct Size {
    layers: u32,
    length: u32,
    items: u32,
}

/// What grows in a panel: its title, what the numbers are of, and the sweep at each of them.
type Growth = (String, &'static str, Vec<(u32, Size)>);

/// What a sweep takes.
struct Seconds {
    straightforward: f64,
    planned: f64,
    /// Of the straightforward strategy's time, what arithmetic alone leaves of it.
    bound: f64,
}

pub fn run(args: &BenchScalingArgs) -> anyhow::Result<()> {
    let panels = match &model_files(&args.model)?[..] {
        files @ [_, _, ..] => vec![by_model(args, files)?],
        _ => within_model(args)?,
    };
    match &args.out {
        None => Ok(()),
        Some(path) => write(path, &scaling_svg(&panels)),
    }
}

/// One model, whose sweep grows.
fn within_model(args: &BenchScalingArgs) -> anyhow::Result<Vec<ScalingPanel>> {
    let loaded = load(&args.model)?;
    let most = loaded.model.n_layer() - 1;
    let usual = Size {
        layers: LAYER_COUNT.min(most),
        length: LENGTH,
        items: 1,
    };
    let layers = LAYERS.into_iter().filter(|n| *n <= most);
    let layers = layers.map(|layers| (layers, Size { layers, ..usual }));
    let lengths = LENGTHS.map(|length| (length, Size { length, ..usual }));
    let items = ITEMS.map(|items| {
        let length = ITEM_LENGTH;
        (
            items,
            Size {
                items,
                length,
                ..usual
            },
        )
    });
    let swept = usual.layers;
    let all: [Growth; 3] = [
        (
            format!("prompt of {LENGTH} tokens"),
            "layers swept",
            layers.collect(),
        ),
        (
            format!("{swept} layers swept"),
            "tokens of the prompt",
            lengths.to_vec(),
        ),
        (
            format!("{swept} layers swept, items of {ITEM_LENGTH} tokens"),
            "items of the task",
            items.to_vec(),
        ),
    ];
    args.only.check(&all.each_ref().map(|panel| &*panel.0))?;
    let mut engines = engines(&loaded, args)?;
    let mut panels = Vec::new();
    for (title, size, points) in all {
        if !args.only.wants(&title) {
            continue;
        }
        print(&head(&title, size))?;
        let mut panel = empty(title, size);
        for (x, size) in points {
            for (n, kind) in KINDS.into_iter().enumerate() {
                let seconds = measure(&mut engines, &loaded, kind, size, args)?;
                print(&row(&x.to_string(), kind, &seconds, ""))?;
                panel.add(n, f64::from(x), &seconds);
            }
        }
        panels.push(panel);
    }
    Ok(panels)
}

/// One sweep of several models.
fn by_model(args: &BenchScalingArgs, files: &[PathBuf]) -> anyhow::Result<ScalingPanel> {
    let title = format!("{LAYER_COUNT} layers swept, prompt of {LENGTH} tokens");
    args.only.check(&[&title])?;
    let size = "megabytes of the model file";
    print(&head(&title, size))?;
    let mut panel = empty(title, size);
    for file in files {
        let loaded = load_file(file.clone(), &args.model)?;
        let size = Size {
            layers: LAYER_COUNT.min(loaded.model.n_layer() - 1),
            length: LENGTH,
            items: 1,
        };
        let mut engines = engines(&loaded, args)?;
        let megabytes = loaded.files.bytes() as f64 / 1e6;
        let facts = loaded.model.facts();
        let name = format!("  {} ({})", facts.name, facts.quantization);
        for (n, kind) in KINDS.into_iter().enumerate() {
            let seconds = measure(&mut engines, &loaded, kind, size, args)?;
            print(&row(&format!("{megabytes:.0}"), kind, &seconds, &name))?;
            panel.add(n, megabytes, &seconds);
        }
    }
    for line in &mut panel.lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        line.bound.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Ok(panel)
}

type Engines = [Box<dyn Engine>; 2];

fn engines(loaded: &Loaded, args: &BenchScalingArgs) -> anyhow::Result<Engines> {
    let by = |strategy| loaded.engine_by(strategy, args.parallel);
    Ok([by(Strategy::Straightforward)?, by(Strategy::Planned)?])
}

/// Medians of rounds in which both strategies take their turns.
fn measure(
    [slow, planned]: &mut Engines,
    loaded: &Loaded,
    kind: Kind,
    size: Size,
    args: &BenchScalingArgs,
) -> anyhow::Result<Seconds> {
    // A clean run and one at each of so many layers, spread over the model.
    let most = loaded.model.n_layer() - 1;
    let layers = || (0..size.layers).map(|n| 1 + n * most / size.layers);
    let items = (0..size.items).map(|n| nth_prompt(loaded, n, size.length));
    let requests: Vec<Request> = items.flat_map(|i| cells(&i, kind, layers())).collect();
    let waiting = spinner(format!("{kind}, {} runs", requests.len()));
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        ones.push(timed(slow.as_mut(), &requests)?);
        others.push(timed(planned.as_mut(), &requests)?);
    }
    waiting.finish_and_clear();
    let n = size.length as usize;
    let full = vec![Decode::whole(n, 1); 1 + size.layers as usize];
    let straightforward = median(&mut ones);
    Ok(Seconds {
        straightforward,
        planned: median(&mut others),
        bound: straightforward / bound(planned.as_ref(), &full, &least(kind, n, layers())),
    })
}

fn head(title: &str, size: &str) -> String {
    format!("{title}\n{size:>27}  manipulation  straightforward, s  planned, s  bound, s\n")
}

fn row(x: &str, kind: Kind, seconds: &Seconds, name: &str) -> String {
    let Seconds {
        straightforward,
        planned,
        bound,
    } = seconds;
    let kind = kind.to_string();
    format!("{x:>27}  {kind:12}  {straightforward:18.4}  {planned:10.4}  {bound:8.4}{name}\n")
}

/// A panel with a line for each manipulation and strategy.
fn empty(title: String, size: &str) -> ScalingPanel {
    let strategies = [Strategy::Straightforward, Strategy::Planned];
    let lines = KINDS.into_iter().flat_map(|kind| {
        strategies.map(|strategy| ScalingLine {
            kind,
            strategy,
            points: Vec::new(),
            bound: Vec::new(),
        })
    });
    ScalingPanel {
        title,
        size: size.into(),
        lines: lines.collect(),
    }
}

impl ScalingPanel {
    /// What the manipulation of this number takes at a size.
    fn add(&mut self, kind: usize, x: f64, seconds: &Seconds) {
        let [slow, planned] = &mut self.lines[2 * kind..2 * kind + 2] else {
            unreachable!("a manipulation has two lines");
        };
        slow.points.push((x, seconds.straightforward));
        planned.points.push((x, seconds.planned));
        planned.bound.push((x, seconds.bound));
    }
}

fn write(path: &Path, svg: &str) -> anyhow::Result<()> {
    std::fs::write(path, svg)
        .map_err(|e| anyhow::anyhow!("{} cannot be written: {e} (--out)", path.display()))?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}
