//! States that know the text's length and nothing of what it says.

use super::super::{Action, Known, Manipulation, Needs, RowEdit};

pub struct Filler;

impl Manipulation for Filler {
    fn name(&self) -> &'static str {
        "filler"
    }

    fn doing(&self) -> &'static str {
        "Putting a filler text"
    }

    fn sentence(&self) -> &'static str {
        "the state entering layer k becomes that of a neutral text of the same length"
    }

    fn needs(&self) -> Needs {
        Needs::Filler
    }

    fn action(&self, edit: RowEdit) -> Action {
        Action::Given(edit.states.unwrap_or_default())
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        row.copy_from_slice(&(known.donor)()?);
        Some(())
    }

    fn colour(&self) -> (u8, u8, u8) {
        (90, 90, 90)
    }
}
