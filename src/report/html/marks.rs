//! Half-way layers and what can be ignored, as marks.

use plotly::common::{HoverInfo, Line, Marker, MarkerSymbol, Mode};
use plotly::{Plot, Scatter};

use super::figures::{Look, STRIP, rgba, symbol};
use crate::report::findings::Finding;

/// A finding's range that can be ignored, its half-way layer and the interval of that: where
/// they are drawn, ends beyond the swept layers half a layer outside.
pub(super) struct Marks {
    pub(super) interval: Option<(f64, f64)>,
    pub(super) layer: Option<f64>,
    pub(super) ignorable: Option<(f64, f64)>,
}

impl Marks {
    /// In another unit than layers.
    pub(super) fn scale(&mut self, by: f64) {
        let both = |(low, high): (f64, f64)| (low * by, high * by);
        self.interval = self.interval.map(both);
        self.ignorable = self.ignorable.map(both);
        self.layer = self.layer.map(|layer| layer * by);
    }

    pub(super) fn of(finding: &Finding) -> Option<Self> {
        let (&first, &last) = (finding.layers.first()?, finding.layers.last()?);
        let (first, last) = (f64::from(first) - 0.5, f64::from(last) + 0.5);
        let interval = finding.half_way.interval();
        Some(Marks {
            interval: interval.map(|(low, high)| (low.clamp(first, last), high.clamp(first, last))),
            layer: finding.half_way.found().map(|found| found.layer),
            ignorable: finding.ignorable.from.map(|from| (f64::from(from), last)),
        })
    }
}

/// A strip below zero for each finding, which follows its curve in the legend.
pub(super) fn add_strip(plot: &mut Plot, finding: &Finding, look: &Look<'_>, n: usize, top: f64) {
    let Some(marks) = Marks::of(finding) else {
        return;
    };
    let y = -(0.02 + STRIP * (n as f64 + 0.5)) * top;
    let line = |(low, high): (f64, f64), width: f64, alpha: f64| {
        Scatter::new(vec![low, high], vec![y; 2])
            .legend_group(look.group)
            .show_legend(false)
            .mode(Mode::Lines)
            .line(Line::new().color(rgba(look.colour, alpha)).width(width))
            .hover_info(HoverInfo::Skip)
    };
    if let Some(range) = marks.ignorable {
        plot.add_trace(line(range, 10.0, 0.3));
    }
    if let Some(range) = marks.interval {
        plot.add_trace(line(range, 2.0, 1.0));
    }
    if let Some(layer) = marks.layer {
        plot.add_trace(
            Scatter::new(vec![layer], vec![y])
                .legend_group(look.group)
                .show_legend(false)
                .mode(Mode::Markers)
                .marker(match look.marked {
                    true => Marker::new()
                        .symbol(symbol(look.style.mark))
                        .size(8)
                        .color(rgba(look.colour, 1.0)),
                    false => tick(look.colour),
                })
                .hover_info(HoverInfo::Skip),
        );
    }
}

/// An upright stroke.
pub(super) fn tick(colour: (u8, u8, u8)) -> Marker {
    Marker::new()
        .symbol(MarkerSymbol::LineNSOpen)
        .size(12)
        .color(rgba(colour, 1.0))
        .line(Line::new().color(rgba(colour, 1.0)).width(3.0))
}
