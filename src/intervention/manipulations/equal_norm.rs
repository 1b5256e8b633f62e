//! The control of a manipulation of some tokens: the same amount of damage elsewhere.

use super::super::{
    Known, Manipulation, Missed, Place, PositionSet, RowEdit, permutation, random_row,
};

pub struct EqualNorm;

/// The draw of positions.
const PART: u32 = 1 << 21;

impl Manipulation for EqualNorm {
    fn name(&self) -> &'static str {
        "equal-norm"
    }

    fn doing(&self) -> &'static str {
        "Putting noise elsewhere"
    }

    fn sentence(&self) -> &'static str {
        "states entering layer k at as many other positions, drawn at random, become noise of the same norm (a control)"
    }

    fn has_seed(&self) -> bool {
        true
    }

    fn places(&self, edit: &RowEdit, chosen: &PositionSet, prior: u32) -> PositionSet {
        let others: Vec<u32> = (0..prior).filter(|at| !chosen.contains(*at)).collect();
        let order = permutation(edit.seed, 0, 0, PART, others.len());
        let drawn = order.into_iter().take(chosen.count_below(prior) as usize);
        PositionSet::ranges(drawn.map(|n| others[n]..others[n] + 1))
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

    fn colour(&self) -> (u8, u8, u8) {
        (190, 110, 60)
    }
}
