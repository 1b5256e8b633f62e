//! Activation patching.

use super::super::{Action, Known, Manipulation, Needs, RowEdit};

pub struct Inject;

impl Manipulation for Inject {
    fn name(&self) -> &'static str {
        "inject"
    }

    fn synonyms(&self) -> &'static [&'static str] {
        &["patch"]
    }

    fn doing(&self) -> &'static str {
        "Injecting"
    }

    fn sentence(&self) -> &'static str {
        "the state entering layer k becomes that of a donor prompt, which has another answer"
    }

    fn needs(&self) -> Needs {
        Needs::Donor
    }

    fn action(&self, edit: RowEdit) -> Action {
        Action::Given(edit.states.unwrap_or_default())
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        row.copy_from_slice(&(known.donor)()?);
        Some(())
    }

    fn paper(&self) -> Option<&'static str> {
        Some("the top third")
    }

    fn colour(&self) -> (u8, u8, u8) {
        (204, 121, 167)
    }
}
