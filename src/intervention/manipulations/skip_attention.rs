//! No token reads another from layer `k` up.

use super::super::{
    Action, Intervention, Known, LayerSpan, Manipulation, RowEdit, SecondWay, Site,
};

pub struct SkipAttention;

impl Manipulation for SkipAttention {
    fn name(&self) -> &'static str {
        "skip-attention"
    }

    fn doing(&self) -> &'static str {
        "Skipping attention"
    }

    fn sentence(&self) -> &'static str {
        "attention adds nothing in the layers from k up, for the last token too"
    }

    fn is_upward(&self) -> bool {
        true
    }

    /// Its place is its own, whatever site is asked for.
    fn sites(&self) -> &'static [Site] {
        &[Site::Residual]
    }

    fn action(&self, _edit: RowEdit) -> Action {
        Action::SkipAttention
    }

    /// The states entering the first layer stay as they are, and those above are consequences.
    fn expected(&self, _known: &Known<'_>, _row: &mut [f32]) -> Option<()> {
        Some(())
    }

    fn second_way(&self) -> Option<SecondWay> {
        Some(SecondWay::SilentWeights)
    }

    fn paper(&self) -> Option<&'static str> {
        Some("the top 30-50%")
    }

    fn colour(&self) -> (u8, u8, u8) {
        (0, 158, 115)
    }
}

impl Intervention {
    /// Silences attention in the layers from `k` up, for all tokens.
    pub fn skip_attention(k: u32) -> Self {
        Self::new(Action::SkipAttention, LayerSpan::from(k))
    }
}
