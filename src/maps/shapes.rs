//! A geometry for others: a figure, or a row a state.

use std::io;
use std::path::Path;

use super::picture::{Form, Picture, id, real, write_as};
use super::{Aspect, Geometry, Map};
use crate::export::{Column, ColumnKind, Sheet, Value};

/// A geometry with what it is of.
#[derive(Debug)]
pub struct GeometryPicture<'g> {
    /// The geometry.
    pub geometry: &'g Geometry,
    /// What of it is drawn; the other forms hold all.
    pub aspect: Aspect,
    /// The token of each row: its id and its text.
    pub tokens: &'g [(i32, String)],
    /// What it shows.
    pub title: String,
}

impl GeometryPicture<'_> {
    /// The aspect as a picture of a map, which [`Geometry::map`] made.
    pub fn picture<'p>(&'p self, map: &'p Map) -> Picture<'p> {
        Picture {
            map,
            tokens: self.tokens,
            title: self.title.clone(),
            measure: self.aspect.name(),
            across: "layer",
            change: false,
            over: None,
        }
    }

    /// The geometry in a form.
    pub fn text(&self, form: Form) -> String {
        match form {
            Form::Svg | Form::Html => {
                let map = self.geometry.map(self.aspect);
                self.picture(&map).text(form)
            }
            Form::Csv => self.sheet().csv(),
            Form::Jsonl => self.sheet().json_lines(),
        }
    }

    /// Writes it as the file's ending says; a file that is there is replaced once all is written.
    ///
    /// # Errors
    /// The system's, and an ending that names no form.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        write_as(file, |form| self.text(form), || self.sheet().parquet())
    }

    /// A row a state: its norm, its cosine with the state one layer below, and of another model's
    /// its cosine, the length of the difference as a share of the state, and what rounding alone
    /// makes of that share in its layer.
    fn sheet(&self) -> Sheet<'_> {
        let of = self.geometry;
        let mut columns = vec![
            Column::new("position", ColumnKind::Whole, false),
            Column::new("token", ColumnKind::Whole, false),
            Column::new("text", ColumnKind::Text, false),
            Column::new("layer", ColumnKind::Whole, false),
        ];
        for name in ["norm", "before", "cosine", "error", "rounding"] {
            columns.push(Column::new(name, ColumnKind::Real, true));
        }
        let mut rows = Vec::new();
        for ((position, (token, text)), shapes) in
            of.positions.iter().zip(self.tokens).zip(&of.states)
        {
            for (column, (layer, shape)) in of.layers.iter().zip(shapes).enumerate() {
                let rounding = of.rounding.as_ref().map(|of| of[column].error);
                rows.push(vec![
                    Value::Whole(*position),
                    id(*token),
                    Value::Text(text),
                    Value::Whole(*layer),
                    real(Some(shape.norm)),
                    real(shape.before),
                    real(shape.drift.map(|drift| drift.cosine)),
                    real(shape.drift.map(|drift| drift.error)),
                    real(rounding),
                ]);
            }
        }
        Sheet { columns, rows }
    }
}
