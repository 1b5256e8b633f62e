//! Steering: Turner et al. 2023, Zou et al. 2023.

use super::super::{
    Known, Manipulation, Missed, Needs, Parameter, Place, RowEdit, Site, Values, length,
};

pub struct Add;

/// The parameters of all that add a direction: they are told by having these.
pub(super) static PARAMETERS: [Parameter; 2] = [
    Parameter {
        name: "scale",
        sentence: "how much of the direction is added; 0 changes nothing",
        values: Values::Number { default: 1.0 },
    },
    Parameter {
        name: "unit",
        sentence: "what a scale of 1 adds: a vector as long as the row, or the direction as it is",
        values: Values::Words(&["norm", "absolute"]),
    },
];

/// Adds a direction to a row, as the parameters say.
pub(super) fn add(edit: &RowEdit, direction: &[f32], row: &mut [f32]) {
    let scale = edit.kind.number("scale");
    let factor = match edit.kind.is_word("unit", "norm") {
        true => match length(direction) {
            0.0 => return,
            own => scale * length(row) / own,
        },
        false => scale,
    };
    for (value, of) in row.iter_mut().zip(direction) {
        *value = (f64::from(*value) + factor * f64::from(*of)) as f32;
    }
}

impl Manipulation for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn synonyms(&self) -> &'static [&'static str] {
        &["steer"]
    }

    fn doing(&self) -> &'static str {
        "Adding the direction"
    }

    fn sentence(&self) -> &'static str {
        "a direction is added to the state entering layer k"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &PARAMETERS
    }

    fn needs(&self) -> Needs {
        Needs::Direction
    }

    fn sites(&self) -> &'static [Site] {
        Site::STREAM
    }

    fn rewrite(&self, edit: &RowEdit, place: &Place, row: &mut [f32]) -> Result<(), Missed> {
        if let Some(direction) = edit.direction(place, row.len())? {
            add(edit, direction, row);
        }
        Ok(())
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        let direction = known.edit.direction(&known.place?, row.len()).ok()??;
        should_be(known, direction, row)
    }

    fn colour(&self) -> (u8, u8, u8) {
        (240, 228, 66)
    }
}

/// What a row should become, for all that add a direction.
pub(super) fn should_be(known: &Known<'_>, direction: &[f32], row: &mut [f32]) -> Option<()> {
    let norm = |values: &[f32]| {
        let squares = values.iter().map(|value| f64::from(*value).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let mut factor = known.edit.kind.number("scale");
    if known.edit.kind.is_word("unit", "norm") {
        factor = factor * norm(row) / norm(direction);
    }
    let sums = row.iter().zip(direction);
    let sums = sums.map(|(value, of)| f64::from(*value) + factor * f64::from(*of));
    let sums: Vec<f32> = sums.map(|sum| sum as f32).collect();
    row.copy_from_slice(&sums);
    Some(())
}
