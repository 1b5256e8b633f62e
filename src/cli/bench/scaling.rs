//! `midlayer bench scaling`: how time grows with the layers of a sweep and with its prompt.

use std::path::Path;

use super::super::args::BenchScalingArgs;
use super::super::output::{print, say, spinner};
use super::super::setup::{Loaded, load};
use super::{cells, median, prompt_tokens, timed};
use crate::engine::{Request, Strategy};
use crate::intervention::Kind;
use crate::report::{ScalingLine, ScalingPanel, scaling_svg};

const KINDS: [Kind; 2] = [Kind::Freeze, Kind::Random];
/// Prompt lengths, and the length where the number of layers varies.
const LENGTHS: [u32; 5] = [32, 64, 125, 250, 500];
const LENGTH: u32 = 250;
/// Layers of a sweep, and how many where the prompt's length varies.
const LAYERS: [u32; 6] = [1, 2, 4, 8, 16, 29];
const LAYER_COUNT: u32 = 8;

pub fn run(args: &BenchScalingArgs) -> anyhow::Result<()> {
    let loaded = load(&args.model)?;
    let mut engines = [
        (
            Strategy::Straightforward,
            loaded.engine_by(Strategy::Straightforward, args.parallel)?,
        ),
        (
            Strategy::Planned,
            loaded.engine_by(Strategy::Planned, args.parallel)?,
        ),
    ];
    let most = loaded.model.n_layer() - 1;
    let waiting = spinner("measuring".into());
    let mut panels = [
        ScalingPanel {
            title: format!("prompt of {LENGTH} tokens"),
            size: "layers swept".into(),
            lines: Vec::new(),
        },
        ScalingPanel {
            title: format!("{LAYER_COUNT} layers swept"),
            size: "tokens of the prompt".into(),
            lines: Vec::new(),
        },
    ];
    args.only
        .check(&panels.each_ref().map(|panel| &*panel.title))?;
    let counts = LAYERS.into_iter().filter(|n| *n <= most);
    let by_layers: Vec<(u32, u32)> = counts.map(|n| (n, LENGTH)).collect();
    let by_length: Vec<(u32, u32)> = LENGTHS.map(|n| (LAYER_COUNT.min(most), n)).to_vec();
    for (n, (panel, sizes)) in panels.iter_mut().zip([by_layers, by_length]).enumerate() {
        if !args.only.wants(&panel.title) {
            continue;
        }
        waiting.suspend(|| print(&format!("{}\n", panel.title)))?;
        for kind in KINDS {
            for (strategy, engine) in &mut engines {
                waiting.set_message(format!("{kind}, {strategy}"));
                let mut points = Vec::new();
                for &(layers, length) in &sizes {
                    let requests = requests(&loaded, kind, layers, length);
                    let mut times = Vec::new();
                    for _ in 0..args.rounds {
                        times.push(timed(engine.as_mut(), &requests)?);
                    }
                    let size = [layers, length][n];
                    points.push((f64::from(size), median(&mut times)));
                }
                let line = ScalingLine {
                    kind,
                    strategy: *strategy,
                    points,
                };
                waiting.suspend(|| show(panel, &line))?;
                panel.lines.push(line);
            }
        }
    }
    waiting.finish_and_clear();
    if let Some(path) = &args.out {
        write(path, &scaling_svg(&panels))?;
    }
    Ok(())
}

fn show(panel: &ScalingPanel, line: &ScalingLine) -> anyhow::Result<()> {
    let points = line.points.iter();
    let points: Vec<String> = points.map(|(x, s)| format!("{x} {s:.3} s")).collect();
    let name = format!("{}, {}", line.kind, line.strategy);
    print(&format!(
        "  {name:26} {}: {}\n",
        panel.size,
        points.join(", ")
    ))
}

fn write(path: &Path, svg: &str) -> anyhow::Result<()> {
    std::fs::write(path, svg)
        .map_err(|e| anyhow::anyhow!("{} cannot be written: {e} (--out)", path.display()))?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}

/// A clean run and one at each of so many layers, spread over the model.
fn requests(loaded: &Loaded, kind: Kind, layers: u32, length: u32) -> Vec<Request> {
    let most = loaded.model.n_layer() - 1;
    let spread = (0..layers).map(|n| 1 + n * most / layers);
    cells(&prompt_tokens(loaded, length), kind, spread)
}
