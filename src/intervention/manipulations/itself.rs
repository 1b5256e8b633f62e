//! A control: whatever moves under it is the machinery's doing.

use super::super::{Known, Manipulation};

pub struct Itself;

impl Manipulation for Itself {
    fn name(&self) -> &'static str {
        "self"
    }

    /// `self` is no good name for a function of a module.
    fn function(&self) -> String {
        "itself".into()
    }

    fn doing(&self) -> &'static str {
        "Rewriting a state with itself"
    }

    fn sentence(&self) -> &'static str {
        "the state entering layer k is rewritten with itself, which must change nothing (a control)"
    }

    fn changes_nothing(&self) -> bool {
        true
    }

    fn expected(&self, _known: &Known<'_>, _row: &mut [f32]) -> Option<()> {
        Some(())
    }

    fn colour(&self) -> (u8, u8, u8) {
        (150, 150, 150)
    }
}
