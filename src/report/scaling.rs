//! Time against size, for both strategies.

use plotters::prelude::*;

use super::figure::{INFALLIBLE, colour, on_svg};
use crate::engine::Strategy;
use crate::intervention::Kind;

/// One strategy's seconds under one manipulation.
pub struct ScalingLine {
    /// The manipulation.
    pub kind: Kind,
    /// The strategy: planned is drawn in full, its bound dotted, straightforward dashed.
    pub strategy: Strategy,
    /// (size, seconds).
    pub points: Vec<(f64, f64)>,
    /// (size, seconds that arithmetic alone allows); empty where there is no such bound.
    pub bound: Vec<(f64, f64)>,
}

/// A panel: what the size is of, and its lines.
pub struct ScalingPanel {
    /// Above the panel.
    pub title: String,
    /// Below its axis.
    pub size: String,
    /// What it shows.
    pub lines: Vec<ScalingLine>,
}

const PANEL: (u32, u32) = (560, 420);

/// The panels side by side, both axes logarithmic.
pub fn scaling_svg(panels: &[ScalingPanel]) -> String {
    let size = (PANEL.0 * panels.len() as u32, PANEL.1);
    on_svg(size, |root| {
        for (area, panel) in root.split_evenly((1, panels.len())).iter().zip(panels) {
            let points = || {
                panel
                    .lines
                    .iter()
                    .flat_map(|line| line.points.iter().chain(&line.bound))
            };
            let range = |of: fn(&(f64, f64)) -> f64, spare: f64| {
                let low = points().map(of).fold(f64::INFINITY, f64::min);
                let high = points().map(of).fold(0.0, f64::max);
                (low / spare..high * spare).log_scale()
            };
            let mut chart = ChartBuilder::on(area)
                .caption(&panel.title, ("sans-serif", 16))
                .margin(12)
                .margin_right(24)
                .x_label_area_size(42)
                .y_label_area_size(56)
                .build_cartesian_2d(range(|p| p.0, 1.1), range(|p| p.1, 1.5))
                .expect(INFALLIBLE);
            chart
                .configure_mesh()
                .light_line_style(WHITE)
                .x_desc(&panel.size)
                .y_desc("seconds")
                .x_label_formatter(&|x| format!("{x:.0}"))
                .y_label_formatter(&|y| format!("{y}"))
                .label_style(("sans-serif", 13))
                .draw()
                .expect(INFALLIBLE);
            for line in &panel.lines {
                chart
                    .draw_series(DashedLineSeries::new(
                        line.bound.iter().copied(),
                        1,
                        3,
                        colour(line.kind).stroke_width(1),
                    ))
                    .expect(INFALLIBLE);
                let style = colour(line.kind).stroke_width(2);
                let points = line.points.iter().copied();
                let drawn = match line.strategy {
                    Strategy::Planned => {
                        chart.draw_series(LineSeries::new(points, style).point_size(3))
                    }
                    Strategy::Straightforward => {
                        chart.draw_series(DashedLineSeries::new(points, 6, 4, style))
                    }
                };
                let dashed = line.strategy == Strategy::Straightforward;
                drawn
                    .expect(INFALLIBLE)
                    .label(format!("{}, {}", line.kind, line.strategy))
                    .legend(move |(x, y)| {
                        let end = if dashed { x + 7 } else { x + 18 };
                        PathElement::new([(x, y), (end, y)], style)
                    });
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.85))
                .border_style(BLACK.mix(0.2))
                .label_font(("sans-serif", 12))
                .draw()
                .expect(INFALLIBLE);
        }
    })
}
