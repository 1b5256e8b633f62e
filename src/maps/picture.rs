//! A map for others: a figure, or a row a cell.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::Map;
use super::svg::svg;
use crate::files::replace;

/// A map with what it is of.
#[derive(Debug)]
pub struct Picture<'m> {
    /// The map.
    pub map: &'m Map,
    /// The token of each row: its id and its text.
    pub tokens: &'m [(i32, String)],
    /// What it shows.
    pub title: String,
    /// What its numbers are.
    pub measure: &'static str,
}

/// What a map can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A figure.
    Svg,
    /// Comma-separated values with a head.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

impl Form {
    /// The form that a file's ending names.
    ///
    /// # Errors
    /// The endings that there are.
    pub fn of(file: &Path) -> Result<Self, String> {
        match file.extension().and_then(|of| of.to_str()) {
            Some("svg") => Ok(Form::Svg),
            Some("csv") => Ok(Form::Csv),
            Some("jsonl") => Ok(Form::Jsonl),
            _ => Err(format!(
                "{}: a map is written as .svg, .csv or .jsonl",
                file.display()
            )),
        }
    }
}

/// Writes what is told of a form as the file's ending says.
pub(super) fn write_as(file: &Path, text: impl Fn(Form) -> String) -> io::Result<()> {
    let form = Form::of(file).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    replace(file, &text(form))
}

/// A cell.
#[derive(Serialize)]
struct Row<'m> {
    position: u32,
    token: i32,
    text: &'m str,
    layer: u32,
    /// The change; null where the manipulation has no place.
    value: Option<f64>,
    /// The measure of the clean run, and of the corrupted one.
    clean: f64,
    corrupted: Option<f64>,
    /// What rounding alone changes.
    floor: f64,
}

impl Picture<'_> {
    /// The map in a form.
    pub fn text(&self, form: Form) -> String {
        match form {
            Form::Svg => svg(self),
            Form::Csv => self.csv(),
            Form::Jsonl => self.jsonl(),
        }
    }

    /// Writes it as the file's ending says; a file that is there is replaced once all is written.
    ///
    /// # Errors
    /// The system's, and an ending that names no form.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        write_as(file, |form| self.text(form))
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let map = self.map;
        let tokens = map.positions.iter().zip(self.tokens).zip(&map.values);
        tokens.flat_map(move |((&position, (token, text)), values)| {
            let cells = map.layers.iter().zip(values);
            cells.map(move |(&layer, &value)| Row {
                position,
                token: *token,
                text,
                layer,
                value,
                clean: map.clean,
                corrupted: map.corrupted,
                floor: map.floor,
            })
        })
    }

    fn jsonl(&self) -> String {
        let line = |row| serde_json::to_string(&row).expect("plain data") + "\n";
        self.rows().map(line).collect()
    }

    fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in self.rows() {
            writer.serialize(row).expect("a string takes any row");
        }
        let bytes = writer.into_inner().expect("a string takes any row");
        String::from_utf8(bytes).expect("rows are text")
    }
}
