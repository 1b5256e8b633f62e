//! The cache of another text in place of one's own (arXiv 2605.30574).

use super::super::{Action, Known, Manipulation, Needs, RowEdit, Site};

pub struct Splice;

impl Manipulation for Splice {
    fn name(&self) -> &'static str {
        "splice"
    }

    fn doing(&self) -> &'static str {
        "Splicing in a scaffold"
    }

    fn sentence(&self) -> &'static str {
        "keys and values of layer k become those of a scaffold text at the same positions; in generated text from a chosen step on"
    }

    fn needs(&self) -> Needs {
        Needs::Scaffold
    }

    fn sites(&self) -> &'static [Site] {
        &[Site::Keys, Site::Values]
    }

    fn action(&self, edit: RowEdit) -> Action {
        Action::Given(edit.states.unwrap_or_default())
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        row.copy_from_slice(&(known.donor)()?);
        Some(())
    }

    fn colour(&self) -> (u8, u8, u8) {
        (60, 130, 140)
    }
}
