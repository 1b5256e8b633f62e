//! A state corrupted by noise, as causal tracing does.

use super::super::{Known, Manipulation, Missed, Parameter, Place, RowEdit, Values, random_row};

pub struct AddNoise;

/// A draw that no part of a row has: other noise than `random` puts in its place.
const PART: u32 = 1 << 22;

fn noise(edit: &RowEdit, layer: u32, position: u32, part: u32, row: &[f32]) -> Vec<f32> {
    let mut drawn = row.to_vec();
    random_row(edit.seed, layer, position, PART + part, &mut drawn);
    drawn
}

impl Manipulation for AddNoise {
    fn name(&self) -> &'static str {
        "add-noise"
    }

    fn doing(&self) -> &'static str {
        "Adding noise"
    }

    fn sentence(&self) -> &'static str {
        "noise is added to the state entering layer k (the corruption of causal tracing)"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[Parameter {
            name: "sd",
            sentence: "how many times as long as the state the noise is; 0 changes nothing",
            values: Values::Number { default: 3.0 },
        }]
    }

    fn corrupts(&self) -> bool {
        true
    }

    fn has_seed(&self) -> bool {
        true
    }

    fn rewrite(&self, edit: &RowEdit, place: &Place, row: &mut [f32]) -> Result<(), Missed> {
        let sd = edit.kind.number("sd");
        for (part, values) in place.parts(row) {
            let drawn = noise(edit, place.layer, place.position, part, values);
            for (value, noise) in values.iter_mut().zip(drawn) {
                *value = (f64::from(*value) + sd * f64::from(noise)) as f32;
            }
        }
        Ok(())
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        let place = known.place?;
        let sd = known.edit.kind.number("sd");
        for (part, values) in place.parts(row) {
            let drawn = noise(known.edit, known.k, place.position, part, values);
            let sums = values.iter().zip(drawn);
            let sums = sums.map(|(value, noise)| f64::from(*value) + f64::from(noise) * sd);
            let sums: Vec<f32> = sums.map(|sum| sum as f32).collect();
            values.copy_from_slice(&sums);
        }
        Some(())
    }

    fn colour(&self) -> (u8, u8, u8) {
        (150, 60, 90)
    }
}
