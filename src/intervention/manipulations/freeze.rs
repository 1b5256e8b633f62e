//! Nothing that a prior token learns from layer `k` up reaches later tokens.

use super::super::{
    Action, Intervention, Known, LayerSpan, Manipulation, RowEdit, SecondWay, Site,
};

pub struct Freeze;

impl Manipulation for Freeze {
    fn name(&self) -> &'static str {
        "freeze"
    }

    fn doing(&self) -> &'static str {
        "Freezing"
    }

    fn sentence(&self) -> &'static str {
        "states entering every layer from k up become the state that entered layer k\u{2212}1"
    }

    fn first_layer(&self) -> u32 {
        1
    }

    fn is_upward(&self) -> bool {
        true
    }

    /// What is added to a frozen stream is not kept.
    fn sites(&self) -> &'static [Site] {
        &[Site::Residual, Site::Keys, Site::Values]
    }

    fn action(&self, _edit: RowEdit) -> Action {
        Action::Freeze
    }

    /// Frozen keys and values are computed from a state and have no name before.
    fn is_expected(&self, site: Site) -> bool {
        site == Site::Residual
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        row.copy_from_slice(&(known.entered)(known.k - 1)?);
        Some(())
    }

    fn second_way(&self) -> Option<SecondWay> {
        Some(SecondWay::Cache)
    }

    fn paper(&self) -> Option<&'static str> {
        Some("the top 30-50%")
    }

    fn colour(&self) -> (u8, u8, u8) {
        (0, 114, 178)
    }
}

impl Intervention {
    /// Freezes all prior tokens from layer `k` up, `k >= 1`.
    pub fn freeze(k: u32) -> Self {
        Self::new(Action::Freeze, LayerSpan::from(k))
    }
}
