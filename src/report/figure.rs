//! Figures as SVG.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::findings::{Finding, Report};
use super::lines::Mark;
use super::series::{Curve, TaskSeries};
use super::table::sample_mark;
use crate::intervention::Kind;

/// The manipulation's colour; darker or lighter where it has other parameters than its defaults.
pub(crate) fn colour(kind: Kind) -> RGBColor {
    let (r, g, b) = kind.manipulation().colour();
    let tint = kind.tint();
    let towards = if tint < 0.0 { 0.0 } else { 255.0 };
    let mix = |from: u8| (f64::from(from) + (towards - f64::from(from)) * tint.abs()).round() as u8;
    RGBColor(mix(r), mix(g), mix(b))
}

/// The colour as HTML has it.
pub(super) fn hex(kind: Kind) -> String {
    let RGBColor(r, g, b) = colour(kind);
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Drawing into a string cannot fail.
pub(crate) const INFALLIBLE: &str = "an SVG string takes any drawing";

pub(crate) fn on_svg(
    (width, height): (u32, u32),
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>),
) -> String {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        root.fill(&WHITE).expect(INFALLIBLE);
        draw(&root);
        root.present().expect(INFALLIBLE);
    }
    svg
}

/// Score against layer: a line a manipulation with its interval shaded, the clean run dashed;
/// below, on the axis, each half-way layer with its interval and the range that can be ignored.
pub fn score_svg(report: &Report<'_>, variant: usize, task: &TaskSeries) -> String {
    on_svg(PANEL, |root| panel(root, report, variant, task))
}

/// All tasks in one figure, two panels a row, as the paper's main figure has them. `None` for a
/// single task, which has its own.
pub fn panels_svg(report: &Report<'_>, variant: usize, tasks: &[&TaskSeries]) -> Option<String> {
    if tasks.len() < 2 {
        return None;
    }
    let rows = tasks.len().div_ceil(2);
    let size = (2 * PANEL.0, rows as u32 * PANEL.1);
    Some(on_svg(size, |root| {
        for (area, task) in root.split_evenly((rows, 2)).iter().zip(tasks) {
            panel(area, report, variant, task);
        }
    }))
}

pub(super) const PANEL: (u32, u32) = (860, 480);

/// The upper end of the score axis: 1 for accuracy, less where all scores are low.
pub(super) fn ceiling(task: &TaskSeries) -> f64 {
    if task.metric.is_binary() {
        return 1.0;
    }
    let points = task.curves.iter().flat_map(|c| &c.points);
    let highest = points
        .map(|p| p.accuracy.high)
        .fold(task.clean.high, f64::max);
    ((highest * 10.0).ceil() / 10.0).clamp(0.1, 1.0)
}

/// A panel with layers along the bottom and a score, up to `ceiling`, along the side.
pub(crate) type Panel<'r, 's> =
    ChartContext<'r, SVGBackend<'s>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

pub(crate) fn axes<'r, 's: 'r>(
    root: &'r DrawingArea<SVGBackend<'s>, Shift>,
    title: String,
    last_layer: f64,
    (floor, ceiling): (f64, f64),
    metric: &str,
) -> Panel<'r, 's> {
    let mut chart = ChartBuilder::on(root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..last_layer, floor..ceiling)
        .expect(INFALLIBLE);
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("manipulated layer k")
        .y_desc(metric)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|&y| match y < -1e-9 {
            true => String::new(),
            false => format!("{:.0} %", 100.0 * y.abs()),
        })
        .label_style(("sans-serif", 13))
        .draw()
        .expect(INFALLIBLE);
    chart
}

/// Draws the names of what was drawn.
pub(crate) fn legend<'r, 's: 'r>(chart: &mut Panel<'r, 's>) {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .label_font(("sans-serif", 13))
        .draw()
        .expect(INFALLIBLE);
}

fn panel(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    report: &Report<'_>,
    variant: usize,
    task: &TaskSeries,
) {
    let run = &report.run.variants[variant];
    let facts = &run.spec.model.facts;
    let last = f64::from(facts.n_layer.saturating_sub(1).max(1));
    let mark = sample_mark(run, task);
    let title = format!("{}{mark} on {}", task.task, facts.name);
    let findings: Vec<&Finding> = report.of(variant, task.task).collect();
    let ceiling = ceiling(task);
    let strips = Strips::new(findings.len(), ceiling);
    let mut chart = axes(
        root,
        title,
        last,
        (strips.floor(), ceiling),
        task.metric.name(),
    );
    for (n, finding) in findings.iter().enumerate() {
        strips.draw(&mut chart, n, finding, colour(finding.kind), None);
    }
    let clean = task.clean.value;
    if let Some(floor) = task.floor.filter(|floor| floor.score > 0.0) {
        let (low, high) = ((clean - floor.score).max(0.0), clean + floor.score);
        let band = Rectangle::new([(0.0, low), (last, high)], BLACK.mix(0.12).filled());
        chart
            .draw_series(std::iter::once(band))
            .expect(INFALLIBLE)
            .label("noise floor")
            .legend(|(x, y)| {
                Rectangle::new([(x, y - 4), (x + 18, y + 4)], BLACK.mix(0.12).filled())
            });
    }
    let dashes = DashedLineSeries::new([(0.0, clean), (last, clean)], 6, 4, BLACK.stroke_width(1));
    chart
        .draw_series(dashes)
        .expect(INFALLIBLE)
        .label("clean")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLACK));
    for curve in &task.curves {
        let colour = colour(curve.kind);
        chart
            .draw_series(std::iter::once(Polygon::new(band(curve), colour.mix(0.14))))
            .expect(INFALLIBLE);
        let line = curve
            .points
            .iter()
            .map(|p| (f64::from(p.layer), p.accuracy.value));
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)).point_size(3))
            .expect(INFALLIBLE)
            .label(label(curve.kind))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    legend(&mut chart);
}

/// The strips below a panel's zero, one a curve.
pub(super) struct Strips {
    count: usize,
    height: f64,
}

impl Strips {
    pub(super) fn new(count: usize, ceiling: f64) -> Self {
        Strips {
            count,
            height: 0.035 * ceiling,
        }
    }

    /// Where the score axis begins.
    pub(super) fn floor(&self) -> f64 {
        match self.count {
            0 => 0.0,
            n => -self.height * (n as f64 + 0.5),
        }
    }

    /// The middle of the n-th strip.
    pub(super) fn middle(&self, n: usize) -> f64 {
        -self.height * (n as f64 + 0.9)
    }

    /// The range that can be ignored, shaded, the interval of the half-way layer, a line, and
    /// the layer itself, a tick or the model's mark.
    pub(super) fn draw(
        &self,
        chart: &mut Panel<'_, '_>,
        n: usize,
        finding: &Finding,
        colour: RGBColor,
        mark: Option<Mark>,
    ) {
        let (y, half) = (self.middle(n), 0.4 * self.height);
        let (Some(&first), Some(&last)) = (finding.layers.first(), finding.layers.last()) else {
            return;
        };
        let within = |x: f64| x.clamp(f64::from(first), f64::from(last));
        if let Some(from) = finding.ignorable.from {
            // A single layer has a width too.
            let from = f64::from(from).min(f64::from(last) - 0.3);
            let range = [(from, y - half), (f64::from(last), y + half)];
            let shade = Rectangle::new(range, colour.mix(0.3).filled());
            chart.draw_series(std::iter::once(shade)).expect(INFALLIBLE);
        }
        if let Some((low, high)) = finding.half_way.interval() {
            let line = [(within(low), y), (within(high), y)];
            chart
                .draw_series(LineSeries::new(line, colour.stroke_width(2)))
                .expect(INFALLIBLE);
        }
        let found = finding.half_way.found();
        if let (Some(found), Some(mark)) = (found, mark) {
            let at = EmptyElement::at((found.layer, y)) + mark.outline((0, 0), colour);
            chart.draw_series(std::iter::once(at)).expect(INFALLIBLE);
        } else if let Some(found) = found {
            let tick = [(found.layer, y - half), (found.layer, y + half)];
            chart
                .draw_series(LineSeries::new(tick, colour.stroke_width(3)))
                .expect(INFALLIBLE);
        }
    }
}

pub(super) fn label(kind: Kind) -> String {
    match kind.has_donor() {
        true => format!("{kind} (original answer)"),
        false => kind.to_string(),
    }
}

/// The outline of the interval: along the upper ends, back along the lower ones.
fn band(curve: &Curve) -> Vec<(f64, f64)> {
    let at = |y: fn(&super::Share) -> f64| {
        curve
            .points
            .iter()
            .map(move |p| (f64::from(p.layer), y(&p.accuracy)))
    };
    at(|s| s.high).chain(at(|s| s.low).rev()).collect()
}

/// What is answered after injection, by layer: the original country's capital or the donor's.
/// `None` where `inject` was not run.
pub fn injection_svg(task: &TaskSeries) -> Option<String> {
    const ROW: i32 = 22;
    const COLUMN: i32 = 150;
    let curve = task.curves.iter().find(|c| c.kind.has_donor())?;
    let rows = curve.points.len() as i32;
    let (left, top) = (70, 64);
    let size = (
        (left + 2 * COLUMN + 24) as u32,
        (top + rows * ROW + 24) as u32,
    );
    let centred = |size: i32, colour: RGBColor| {
        ("sans-serif", size)
            .into_font()
            .color(&colour)
            .pos(Pos::new(HPos::Center, VPos::Center))
    };
    Some(on_svg(size, |root| {
        let put = |text: String, x: i32, y: i32, style: &TextStyle<'_>| {
            root.draw(&Text::new(text, (x, y), style.clone()))
                .expect(INFALLIBLE);
        };
        let dark = centred(13, BLACK);
        let title = "answer after injection at layer k".to_string();
        put(title, left + COLUMN, 16, &centred(15, BLACK));
        put("layer".into(), left / 2, 46, &dark);
        put("original answer".into(), left + COLUMN / 2, 46, &dark);
        put(
            "donor's answer".into(),
            left + COLUMN + COLUMN / 2,
            46,
            &dark,
        );
        for (n, point) in curve.points.iter().rev().enumerate() {
            let y = top + n as i32 * ROW;
            put(point.layer.to_string(), left / 2, y + ROW / 2, &dark);
            let modified = point.modified.map_or(f64::NAN, |share| share.value);
            for (column, value) in [point.accuracy.value, modified].into_iter().enumerate() {
                let x = left + column as i32 * COLUMN;
                let cell = Rectangle::new(
                    [(x, y), (x + COLUMN - 2, y + ROW - 2)],
                    heat(value).filled(),
                );
                root.draw(&cell).expect(INFALLIBLE);
                let ink = if value > 0.5 { WHITE } else { BLACK };
                let text = format!("{:.0} %", 100.0 * value);
                put(text, x + COLUMN / 2, y + ROW / 2 - 1, &centred(13, ink));
            }
        }
    }))
}

/// White to dark blue.
fn heat(value: f64) -> RGBColor {
    let v = if value.is_nan() { 0.0 } else { value };
    let mix = |from: f64, to: f64| (from + (to - from) * v).round() as u8;
    RGBColor(mix(247.0, 8.0), mix(251.0, 69.0), mix(255.0, 148.0))
}
