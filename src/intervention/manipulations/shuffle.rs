//! A state's values in another order.

use super::super::{
    Intervention, Kind, Known, LayerSpan, Manipulation, Missed, Place, RowEdit, permutation,
    shuffle_row,
};

pub struct Shuffle;

impl Manipulation for Shuffle {
    fn name(&self) -> &'static str {
        "shuffle"
    }

    fn doing(&self) -> &'static str {
        "Shuffling"
    }

    fn sentence(&self) -> &'static str {
        "the dimensions of the state entering layer k are permuted"
    }

    fn has_seed(&self) -> bool {
        true
    }

    fn rewrite(&self, edit: &RowEdit, place: &Place, row: &mut [f32]) -> Result<(), Missed> {
        for (part, values) in place.parts(row) {
            shuffle_row(edit.seed, place.layer, place.position, part, values);
        }
        Ok(())
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        let place = known.place?;
        for (part, values) in place.parts(row) {
            let old = values.to_vec();
            let order = permutation(known.edit.seed, known.k, place.position, part, old.len());
            for (value, from) in values.iter_mut().zip(order) {
                *value = old[from];
            }
        }
        Some(())
    }

    fn paper(&self) -> Option<&'static str> {
        Some("the top 30-50%")
    }

    fn colour(&self) -> (u8, u8, u8) {
        (230, 159, 0)
    }
}

impl Intervention {
    /// Permutes the dimensions of all prior tokens' states entering layer `k`.
    pub fn shuffle(k: u32, seed: u64) -> Self {
        Self::new(Kind::Shuffle.action(seed, None), LayerSpan::only(k))
    }
}
