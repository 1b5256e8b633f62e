//! A state made larger or smaller.

use super::super::{Known, Manipulation, Missed, Parameter, Place, RowEdit, Values};

pub struct Scale;

impl Manipulation for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn doing(&self) -> &'static str {
        "Scaling"
    }

    fn sentence(&self) -> &'static str {
        "the state entering layer k is multiplied by a factor"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[Parameter {
            name: "factor",
            sentence: "the factor; 1 changes nothing",
            values: Values::Number { default: 0.5 },
        }]
    }

    fn rewrite(&self, edit: &RowEdit, _place: &Place, row: &mut [f32]) -> Result<(), Missed> {
        let factor = edit.kind.number("factor");
        for value in row {
            *value = (f64::from(*value) * factor) as f32;
        }
        Ok(())
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        let factor = known.edit.kind.number("factor");
        let scaled: Vec<f64> = row.iter().map(|value| f64::from(*value) * factor).collect();
        for (value, scaled) in row.iter_mut().zip(scaled) {
            *value = scaled as f32;
        }
        Some(())
    }

    fn colour(&self) -> (u8, u8, u8) {
        (170, 130, 0)
    }
}
