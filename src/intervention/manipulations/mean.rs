//! Mean ablation; by token, the conditional mean of CAMA (arXiv 2509.09650).

use super::super::{Action, Known, Manipulation, Needs, Parameter, RowEdit, Site, Values};

pub struct Mean;

impl Manipulation for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn doing(&self) -> &'static str {
        "Putting the mean"
    }

    fn sentence(&self) -> &'static str {
        "the state entering layer k becomes the mean over a set of texts"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[Parameter {
            name: "by",
            sentence: "over what has this position in the texts, or is this token there",
            values: Values::Words(&["position", "token"]),
        }]
    }

    fn needs(&self) -> Needs {
        Needs::Mean
    }

    fn sites(&self) -> &'static [Site] {
        &[Site::Residual, Site::AttnOut, Site::MlpOut, Site::HEADS]
    }

    fn action(&self, edit: RowEdit) -> Action {
        Action::Given(edit.states.unwrap_or_default())
    }

    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()> {
        row.copy_from_slice(&(known.donor)()?);
        Some(())
    }

    fn colour(&self) -> (u8, u8, u8) {
        (110, 80, 160)
    }
}
