//! The picture of a trial: how probable the answers are, by layer.

use plotters::prelude::*;

use super::Results;
use crate::intervention::Kind;
use crate::report::{INFALLIBLE, axes, colour, legend, on_svg};

const SIZE: (u32, u32) = (720, 400);

/// A line of the picture: what it shows, and a probability for each layer.
type Line = (String, Vec<(f64, f64)>);

impl Results {
    /// The answers' probabilities against the layer, a line for each answer under each
    /// manipulation and seed, the clean run's dashed, as an SVG; `None` where there are fewer than
    /// two layers.
    pub fn svg(&self, n_layer: u32) -> Option<String> {
        let lines = self.lines();
        let last = f64::from(n_layer.saturating_sub(1).max(1));
        if lines.iter().all(|(_, points)| points.len() < 2) {
            return None;
        }
        let title = "probability of the answer".to_string();
        Some(on_svg(SIZE, |root| {
            let mut chart = axes(root, title, last, (0.0, 1.0), "probability");
            let palette = Kind::ALL.map(colour);
            let colours = || palette.iter().cycle();
            for (n, (answer, colour)) in self.answers.iter().zip(colours()).enumerate() {
                let clean = answer.chance(&self.clean).logprob.exp();
                let dashes = [(0.0, clean), (last, clean)];
                let series = DashedLineSeries::new(dashes, 6, 4, colour.stroke_width(1));
                let drawn = chart.draw_series(series).expect(INFALLIBLE);
                if n == 0 {
                    drawn
                        .label("clean (dashed)")
                        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLACK));
                }
            }
            for ((name, points), &colour) in lines.iter().zip(colours()) {
                let line = points.iter().copied();
                chart
                    .draw_series(LineSeries::new(line, colour.stroke_width(2)).point_size(2))
                    .expect(INFALLIBLE)
                    .label(name)
                    .legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3))
                    });
            }
            legend(&mut chart);
        }))
    }

    /// The lines, answers within manipulations and seeds.
    fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let mut before = None;
        for (run, outcome) in self.runs.iter().zip(&self.outcomes) {
            let Some(layer) = run.layer else { continue };
            let of = (run.stack, run.seed);
            if before != Some(of) {
                before = Some(of);
                let seed = run
                    .seed
                    .map_or(String::new(), |seed| format!(", seed {seed}"));
                lines.extend(
                    self.answers
                        .iter()
                        .map(|answer| (format!("{} {}{seed}", answer.shown, run.name), Vec::new())),
                );
            }
            let first = lines.len() - self.answers.len();
            for (answer, (_, points)) in self.answers.iter().zip(&mut lines[first..]) {
                let chance = answer.chance(outcome);
                points.push((f64::from(layer), chance.logprob.exp()));
            }
        }
        lines
    }
}
