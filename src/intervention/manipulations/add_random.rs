//! The control of steering: does any direction of this length do the same?

use super::super::{
    Known, Manipulation, Missed, Needs, Parameter, Place, RowEdit, Site, random_row,
};
use super::add::{PARAMETERS, add, should_be};

pub struct AddRandom;

/// A draw that no row of a text has: the same for all positions.
const POSITION: u32 = u32::MAX;
const PART: u32 = 1 << 20;

fn drawn(edit: &RowEdit, layer: u32, direction: &[f32]) -> Vec<f32> {
    let mut drawn = direction.to_vec();
    random_row(edit.seed, layer, POSITION, PART, &mut drawn);
    drawn
}

impl Manipulation for AddRandom {
    fn name(&self) -> &'static str {
        "add-random"
    }

    fn doing(&self) -> &'static str {
        "Adding a random direction"
    }

    fn sentence(&self) -> &'static str {
        "a random direction, as long as the direction given, is added to the state entering layer k (the control of steering)"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &PARAMETERS
    }

    fn has_seed(&self) -> bool {
        true
    }

    /// Of all else that adds a direction.
    fn is_control_of(&self, other: &dyn Manipulation) -> bool {
        std::ptr::eq(other.parameters(), &PARAMETERS) && other.name() != self.name()
    }

    fn needs(&self) -> Needs {
        Needs::Direction
    }

    fn sites(&self) -> &'static [Site] {
        Site::STREAM
    }

    fn rewrite(&self, edit: &RowEdit, place: &Place, row: &mut [f32]) -> Result<(), Missed> {
        if let Some(direction) = edit.direction(place, row.len())? {
            add(edit, &drawn(edit, place.layer, direction), row);
        }
        Ok(())
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        let direction = known.edit.direction(&known.place?, row.len()).ok()??;
        should_be(known, &drawn(known.edit, known.k, direction), row)
    }

    fn colour(&self) -> (u8, u8, u8) {
        (180, 170, 60)
    }
}
