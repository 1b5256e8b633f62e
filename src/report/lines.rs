//! How models are told apart where they share a panel. A colour means a manipulation and nothing
//! else, so a model has a line style and a mark.

use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::figure::INFALLIBLE;
use super::figure::Panel;

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dash {
    Solid,
    Dotted,
    Dashed,
    Long,
}

/// What stands at a line's points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
}

/// A model's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) dash: Dash,
    pub(super) mark: Mark,
}

const DASHES: [Dash; 4] = [Dash::Solid, Dash::Dotted, Dash::Dashed, Dash::Long];

const MARKS: [Mark; 5] = [
    Mark::Circle,
    Mark::Square,
    Mark::Triangle,
    Mark::Diamond,
    Mark::Cross,
];

impl Style {
    /// The style of the n-th model: 20 that differ.
    pub(super) fn of(n: usize) -> Self {
        Style {
            dash: DASHES[n % DASHES.len()],
            mark: MARKS[n % MARKS.len()],
        }
    }

    /// A line with its points, named in the legend.
    pub(super) fn draw<'r, 's: 'r>(
        self,
        chart: &mut Panel<'r, 's>,
        points: &[(f64, f64)],
        colour: RGBColor,
        label: &str,
    ) {
        let (dash, gap) = self.dash.pixels();
        let line = DashedLineSeries::new(points.iter().copied(), dash, gap, colour.stroke_width(2));
        chart
            .draw_series(line)
            .expect(INFALLIBLE)
            .label(label)
            .legend(move |at| {
                let ends = [(0, 0), (24, 0)];
                let line = DashedPathElement::new(ends, dash, gap, colour.stroke_width(2));
                EmptyElement::at(at) + line + self.mark.outline((12, 0), colour)
            });
        let marks = points
            .iter()
            .map(|at| EmptyElement::at(*at) + self.mark.outline((0, 0), colour));
        chart.draw_series(marks).expect(INFALLIBLE);
    }

    /// A level from end to end, thin and unnamed.
    pub(super) fn draw_level<'r, 's: 'r>(
        self,
        chart: &mut Panel<'r, 's>,
        ends: [(f64, f64); 2],
        colour: RGBColor,
    ) {
        let (dash, gap) = self.dash.pixels();
        let line = DashedLineSeries::new(ends, dash, gap, colour.stroke_width(1));
        chart.draw_series(line).expect(INFALLIBLE);
    }
}

impl Dash {
    /// Lengths of a dash and of the gap behind it.
    fn pixels(self) -> (i32, i32) {
        match self {
            // A dash that no figure is as long as.
            Dash::Solid => (1 << 20, 1),
            Dash::Dotted => (2, 4),
            Dash::Dashed => (7, 4),
            Dash::Long => (16, 5),
        }
    }
}

impl Mark {
    /// Its outline around a point, in pixels, filled.
    pub(super) fn outline(self, (x, y): (i32, i32), colour: RGBColor) -> Polygon<(i32, i32)> {
        let corners: &[(i32, i32)] = match self {
            Mark::Circle => &[
                (-4, -2),
                (-2, -4),
                (2, -4),
                (4, -2),
                (4, 2),
                (2, 4),
                (-2, 4),
                (-4, 2),
            ],
            Mark::Square => &[(-4, -4), (4, -4), (4, 4), (-4, 4)],
            Mark::Triangle => &[(0, -5), (5, 4), (-5, 4)],
            Mark::Diamond => &[(0, -5), (5, 0), (0, 5), (-5, 0)],
            Mark::Cross => &[
                (-5, -1),
                (-1, -1),
                (-1, -5),
                (1, -5),
                (1, -1),
                (5, -1),
                (5, 1),
                (1, 1),
                (1, 5),
                (-1, 5),
                (-1, 1),
                (-5, 1),
            ],
        };
        let corners: Vec<(i32, i32)> = corners.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
        Polygon::new(corners, colour.filled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_models_differ_and_neighbours_in_both() {
        let styles: Vec<Style> = (0..20).map(Style::of).collect();
        for (n, style) in styles.iter().enumerate() {
            assert!(!styles[..n].contains(style), "{n}: {style:?}");
        }
        for pair in styles.windows(2) {
            assert!(pair[0].dash != pair[1].dash && pair[0].mark != pair[1].mark);
        }
    }
}
