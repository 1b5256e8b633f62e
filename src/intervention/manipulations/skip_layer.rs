//! A layer without effect on the tokens it is skipped for.

use super::super::{Action, Extent, Known, LayerSpan, Manipulation, RowEdit, Site};

pub struct SkipLayer;

impl Manipulation for SkipLayer {
    fn name(&self) -> &'static str {
        "skip-layer"
    }

    fn doing(&self) -> &'static str {
        "Skipping a layer"
    }

    fn sentence(&self) -> &'static str {
        "layer k adds nothing to prior tokens: the state entering layer k+1 is the one that entered layer k"
    }

    /// What leaves the last layer is not read of prior tokens.
    fn layers_above(&self) -> u32 {
        1
    }

    fn sites(&self) -> &'static [Site] {
        &[Site::Residual]
    }

    /// To skip layer `k` is to freeze at `k + 1`, for one layer.
    fn layers(&self, k: u32, extent: Extent) -> LayerSpan {
        match extent {
            Extent::Paper | Extent::Only => LayerSpan::only(k + 1),
            Extent::From => LayerSpan::from(k + 1),
            Extent::Window(width) => LayerSpan::window(k + 1, width),
        }
    }

    fn action(&self, _edit: RowEdit) -> Action {
        Action::Freeze
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        row.copy_from_slice(&(known.entered)(known.k)?);
        Some(())
    }

    fn colour(&self) -> (u8, u8, u8) {
        (0, 95, 70)
    }
}
