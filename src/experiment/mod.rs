//! What was asked and what came out, as plain data.
//!
//! A run has one or several variants: a specification (a model under its settings) with its grid
//! of cells. A cell is what is done to a task's prompts: a manipulation at a layer with a seed,
//! or nothing. A result is one item under one cell. Units are items under cells that run together.

mod comparison;
mod drift;
mod grid;
mod labels;
mod levels;
mod outside;
mod reasons;
mod results;
mod spec;
mod unit;

pub use comparison::{Comparison, Windows};
pub use drift::{Drift, FEW_ROWS, LayerDrift};
pub use grid::{Cell, Grid, GridError, Treatment};
pub use labels::labels;
pub use levels::alike;
pub use outside::{DirectionSource, Files, Outside, OutsideError};
pub use reasons::Reasons;
pub use results::{ItemResults, ItemRow, Row, Scored};
pub use spec::{LeftOut, ModelIdentity, Spec, Variant};
pub use unit::{Amount, Unit};
