//! Zero ablation.

use super::super::{Known, Manipulation, Missed, Place, RowEdit, SecondWay};

pub struct Zero;

impl Manipulation for Zero {
    fn name(&self) -> &'static str {
        "zero"
    }

    fn doing(&self) -> &'static str {
        "Zeroing"
    }

    fn sentence(&self) -> &'static str {
        "the state entering layer k becomes zero"
    }

    fn rewrite(&self, _edit: &RowEdit, _place: &Place, row: &mut [f32]) -> Result<(), Missed> {
        row.fill(0.0);
        Ok(())
    }

    fn expected(&self, _known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        row.iter_mut().for_each(|value| *value = 0.0);
        Some(())
    }

    fn second_way(&self) -> Option<SecondWay> {
        Some(SecondWay::ZeroWeights)
    }

    fn colour(&self) -> (u8, u8, u8) {
        (86, 180, 233)
    }
}
