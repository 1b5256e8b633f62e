//! Noise in place of a state.

use super::super::{
    Intervention, Kind, Known, LayerSpan, Manipulation, Missed, Place, RowEdit, random_row,
};

pub struct Random;

impl Manipulation for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn doing(&self) -> &'static str {
        "Putting noise"
    }

    fn sentence(&self) -> &'static str {
        "the state entering layer k becomes noise of the same norm"
    }

    fn has_seed(&self) -> bool {
        true
    }

    fn rewrite(&self, edit: &RowEdit, place: &Place, row: &mut [f32]) -> Result<(), Missed> {
        for (part, values) in place.parts(row) {
            random_row(edit.seed, place.layer, place.position, part, values);
        }
        Ok(())
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        let place = known.place?;
        for (part, values) in place.parts(row) {
            random_row(known.edit.seed, known.k, place.position, part, values);
        }
        Some(())
    }

    fn paper(&self) -> Option<&'static str> {
        Some("the top 30-50%")
    }

    fn colour(&self) -> (u8, u8, u8) {
        (213, 94, 0)
    }
}

impl Intervention {
    /// Replaces all prior tokens' states entering layer `k` by noise of the same norm.
    pub fn random(k: u32, seed: u64) -> Self {
        Self::new(Kind::Random.action(seed, None), LayerSpan::only(k))
    }
}
