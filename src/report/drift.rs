//! The drift of models' states by layer, as SVG.

use plotters::style::BLACK;

use super::figure::{PANEL, axes, legend, on_svg};
use super::lines::Style;
use crate::experiment::Drift;
use crate::store::StoredRun;

/// What is drawn of a run: each model that was compared, with its number, and the first one, as
/// what rounding does.
pub(super) fn compared(run: &StoredRun) -> Vec<(usize, String, &Drift)> {
    let drifts = run.variants.iter().enumerate();
    let drifts = drifts.filter_map(|(n, variant)| {
        let name = match n {
            0 => format!("{} in another batch", variant.label),
            _ => variant.label.clone(),
        };
        Some((n, name, variant.drift.as_ref()?))
    });
    let drifts: Vec<_> = drifts.collect();
    match drifts.last() {
        Some((n, ..)) if *n > 0 => drifts,
        _ => Vec::new(),
    }
}

/// Relative error of the states entering each layer, a line style a model. `None` where no model
/// was compared.
pub fn drift_svg(run: &StoredRun) -> Option<String> {
    let compared = compared(run);
    let of_all = compared.iter().flat_map(|(_, _, drift)| &drift.layers);
    let highest = of_all.map(|layer| layer.error).fold(0.0, f64::max);
    let layers = compared
        .iter()
        .map(|(_, _, drift)| drift.layers.len())
        .max()?;
    let last = layers.saturating_sub(1).max(1) as f64;
    Some(on_svg(PANEL, |root| {
        let title = "difference of the states entering a layer, against the first model";
        let span = (0.0, (1.1 * highest).max(1e-6));
        let mut chart = axes(root, title.into(), last, span, "share of the state");
        for (n, name, drift) in &compared {
            let layers = drift.layers.iter().enumerate();
            let points: Vec<(f64, f64)> = layers.map(|(k, d)| (k as f64, d.error)).collect();
            Style::of(*n).draw(&mut chart, &points, BLACK, name);
        }
        legend(&mut chart);
    }))
}
