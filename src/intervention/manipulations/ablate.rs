//! Directional ablation: Arditi et al. 2024.

use super::super::{Known, Manipulation, Missed, Needs, Place, RowEdit, Site};

pub struct Ablate;

impl Manipulation for Ablate {
    fn name(&self) -> &'static str {
        "ablate"
    }

    fn doing(&self) -> &'static str {
        "Ablating the direction"
    }

    fn sentence(&self) -> &'static str {
        "the component along a direction is removed from the state entering layer k"
    }

    fn needs(&self) -> Needs {
        Needs::Direction
    }

    fn sites(&self) -> &'static [Site] {
        Site::STREAM
    }

    fn rewrite(&self, edit: &RowEdit, place: &Place, row: &mut [f32]) -> Result<(), Missed> {
        let Some(direction) = edit.direction(place, row.len())? else {
            return Ok(());
        };
        let (mut along, mut square) = (0.0, 0.0);
        for (value, of) in row.iter().zip(direction) {
            along += f64::from(*value) * f64::from(*of);
            square += f64::from(*of) * f64::from(*of);
        }
        if square > 0.0 {
            for (value, of) in row.iter_mut().zip(direction) {
                *value = (f64::from(*value) - along / square * f64::from(*of)) as f32;
            }
        }
        Ok(())
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        let direction = known.edit.direction(&known.place?, row.len()).ok()??;
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
            products.sum()
        };
        let share = dot(row, direction) / dot(direction, direction);
        let rest = row.iter().zip(direction);
        let rest = rest.map(|(value, of)| (f64::from(*value) - share * f64::from(*of)) as f32);
        let rest: Vec<f32> = rest.collect();
        row.copy_from_slice(&rest);
        Some(())
    }

    fn colour(&self) -> (u8, u8, u8) {
        (150, 0, 60)
    }
}
