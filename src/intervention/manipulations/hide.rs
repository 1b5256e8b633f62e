//! No token sees the chosen ones from layer `k` up.

use super::super::{
    Action, Intervention, Known, LayerSpan, Manipulation, PositionSet, RowEdit, SecondWay, Site,
};

pub struct Hide;

impl Manipulation for Hide {
    fn name(&self) -> &'static str {
        "hide"
    }

    fn doing(&self) -> &'static str {
        "Hiding tokens"
    }

    fn sentence(&self) -> &'static str {
        "attention in the layers from k up is masked so that no later token sees the chosen ones; those that are not chosen stay as anchors"
    }

    fn is_upward(&self) -> bool {
        true
    }

    /// Its place is its own, whatever site is asked for.
    fn sites(&self) -> &'static [Site] {
        &[Site::Residual]
    }

    fn action(&self, _edit: RowEdit) -> Action {
        Action::Hide
    }

    /// The states entering the first layer stay as they are, and those above are consequences.
    fn expected(&self, _known: &Known<'_>, _row: &mut [f32]) -> Option<()> {
        Some(())
    }

    fn second_way(&self) -> Option<SecondWay> {
        Some(SecondWay::Alone)
    }

    fn colour(&self) -> (u8, u8, u8) {
        (120, 60, 160)
    }
}

impl Intervention {
    /// Hides the tokens at `tokens` from all later ones in the layers from `k` up. A token always
    /// sees itself.
    pub fn hide(k: u32, tokens: PositionSet) -> Self {
        Self::new(Action::Hide, LayerSpan::from(k)).at(tokens)
    }
}
