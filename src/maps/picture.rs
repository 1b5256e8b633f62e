//! A map for others: a figure, or a row a cell.

use std::io;
use std::path::Path;

use super::page;
use super::svg::svg;
use super::{Averaged, Down, ItemMap, Map, Role};
use crate::export::{Column, ColumnKind, Sheet, Value};
use crate::files::{replace, replace_by};
use crate::shown::visible;

/// A map with what it is of.
#[derive(Debug)]
pub struct Picture<'m> {
    /// The map.
    pub map: &'m Map,
    /// The token of each row, where rows are tokens or steps: its id and its text.
    pub tokens: &'m [(i32, String)],
    /// What it shows.
    pub title: String,
    /// What its numbers are.
    pub measure: &'static str,
    /// What the columns are: layers, or for what looks at tokens positions.
    pub across: &'static str,
    /// Whether cells are changes of the measure, and not the measure itself.
    pub change: bool,
    /// What it is the average of, where it is one.
    pub over: Option<Over<'m>>,
}

/// The maps of which a picture shows the average.
#[derive(Clone, Copy, Debug)]
pub struct Over<'m> {
    /// The average.
    pub averaged: &'m Averaged,
    /// The items' maps.
    pub items: &'m [ItemMap],
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
    /// A page that answers to the pointer.
    Html,
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
            Some("html") => Ok(Form::Html),
            _ => Err(format!(
                "{}: a map is written as .svg, .html, .csv, .jsonl or .parquet",
                file.display()
            )),
        }
    }

    /// Refuses a file whose ending names nothing that a map can be written as: a form, or Parquet.
    ///
    /// # Errors
    /// The endings that there are.
    pub fn check(file: &Path) -> Result<(), String> {
        match is_parquet(file) {
            true => Ok(()),
            false => Form::of(file).map(|_| ()),
        }
    }
}

fn is_parquet(file: &Path) -> bool {
    file.extension().is_some_and(|of| of == "parquet")
}

/// Writes what is told of a form as the file's ending says, Parquet apart.
pub(super) fn write_as(
    file: &Path,
    text: impl Fn(Form) -> String,
    parquet: impl Fn() -> Vec<u8>,
) -> io::Result<()> {
    if is_parquet(file) {
        let bytes = parquet();
        return replace_by(file, |out| out.write_all(&bytes));
    }
    let form = Form::of(file).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    replace(file, &text(form))
}

impl Picture<'_> {
    /// The map in a form.
    pub fn text(&self, form: Form) -> String {
        match form {
            Form::Svg => svg(self),
            Form::Csv => self.sheet().csv(),
            Form::Jsonl => self.sheet().json_lines(),
            Form::Html => page::of_map(self),
        }
    }

    /// Writes it as the file's ending says; a file that is there is replaced once all is written.
    ///
    /// # Errors
    /// The system's, and an ending that names no form.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        write_as(file, |form| self.text(form), || self.sheet().parquet())
    }

    /// What a row is called: its token in quotes, its head, its role, its step and the token there.
    pub fn label(&self, row: usize) -> String {
        match self.map.down {
            Down::Tokens => format!("{:?}", visible(&self.tokens[row].1)),
            Down::Heads(_) => format!("head {}", self.map.rows[row]),
            Down::Roles => Role::ALL[row].name().into(),
            Down::Steps => {
                let (step, (_, text)) = (self.map.rows[row], &self.tokens[row]);
                format!("{step} {:?}", visible(text))
            }
        }
    }

    /// Whether a cell's value is none: no more than rounding alone, or over items an interval that
    /// holds zero.
    pub fn is_none(&self, row: usize, column: usize) -> bool {
        let map = self.map;
        let value = map.values[row][column];
        let interval = self
            .over
            .and_then(|over| over.averaged.intervals[row][column]);
        let holds_zero = interval.is_some_and(|(low, high)| low <= 0.0 && 0.0 <= high);
        // Without a floor nothing is told of rounding.
        let rounding = map.floor > 0.0 || self.change;
        value.is_none_or(|value| rounding && value.abs() <= map.floor) || holds_zero
    }

    /// A row a cell: what its row is, its layer, its value (null where the manipulation has no
    /// place), the measure of the clean run and of the corrupted one, what rounding alone changes.
    /// Over a task the average comes first, with its interval and how many items have the cell, and
    /// then each item's map.
    fn sheet(&self) -> Sheet<'_> {
        let over = self.over.is_some();
        let first = match self.map.down {
            Down::Tokens | Down::Roles => Some("position"),
            Down::Steps => Some("step"),
            Down::Heads(_) => None,
        };
        let column = |name, kind| Column::new(name, kind, over);
        let mut columns = Vec::new();
        if over {
            columns.push(column("item", ColumnKind::Text));
        }
        if let Some(first) = first {
            columns.push(column(first, ColumnKind::Whole));
            columns.push(column("token", ColumnKind::Whole));
            columns.push(column("text", ColumnKind::Text));
        }
        match self.map.down {
            Down::Tokens | Down::Steps => {}
            Down::Heads(_) => columns.push(column("head", ColumnKind::Whole)),
            Down::Roles => columns.push(column("role", ColumnKind::Text)),
        }
        columns.push(column("layer", ColumnKind::Whole));
        columns.push(Column::new("value", ColumnKind::Real, true));
        if over {
            columns.push(column("low", ColumnKind::Real));
            columns.push(column("high", ColumnKind::Real));
            columns.push(column("items", ColumnKind::Whole));
        }
        for name in ["clean", "corrupted", "floor"] {
            columns.push(Column::new(name, ColumnKind::Real, true));
        }
        let mut rows = Vec::new();
        let Some(over) = self.over else {
            let own = |row: usize| match self.map.down {
                Down::Heads(_) => vec![Value::Whole(self.map.rows[row])],
                Down::Tokens | Down::Roles | Down::Steps => {
                    let (token, text) = &self.tokens[row];
                    let position = self.map.rows[row];
                    vec![Value::Whole(position), id(*token), Value::Text(text)]
                }
            };
            put(self.map, own, |_, _| Vec::new(), &mut rows);
            return Sheet { columns, rows };
        };
        let averaged = over.averaged;
        let own = |row: usize| match self.map.down {
            Down::Heads(_) => vec![Value::Null, Value::Whole(self.map.rows[row])],
            Down::Tokens | Down::Roles | Down::Steps => {
                let role = Value::Text(Role::ALL[row].name());
                vec![Value::Null, Value::Null, Value::Null, Value::Null, role]
            }
        };
        let spread = |row: usize, column: usize| {
            let (low, high) = averaged.intervals[row][column].unzip();
            let n = averaged.counts[row][column] as u32;
            vec![real(low), real(high), Value::Whole(n)]
        };
        put(self.map, own, spread, &mut rows);
        for item in over.items {
            let own = |row: usize| {
                let mut own = vec![Value::Text(&item.item)];
                match item.tokens.get(row) {
                    Some((token, text, role)) => own.extend([
                        Value::Whole(item.map.rows[row]),
                        id(*token),
                        Value::Text(text),
                        Value::Text(role.name()),
                    ]),
                    None => own.push(Value::Whole(item.map.rows[row])),
                }
                own
            };
            put(&item.map, own, |_, _| vec![Value::Null; 3], &mut rows);
        }
        Sheet { columns, rows }
    }
}

/// Adds a map's cells: what is told of the row, the layer and the value, what is told of the cell,
/// the map's own numbers.
fn put<'m>(
    map: &Map,
    of_row: impl Fn(usize) -> Vec<Value<'m>>,
    of_cell: impl Fn(usize, usize) -> Vec<Value<'m>>,
    into: &mut Vec<Vec<Value<'m>>>,
) {
    for (row, values) in map.values.iter().enumerate() {
        for (column, (&layer, &value)) in map.layers.iter().zip(values).enumerate() {
            let mut cells = of_row(row);
            cells.extend([Value::Whole(layer), real(value)]);
            cells.extend(of_cell(row, column));
            cells.extend([
                real(Some(map.clean)),
                real(map.corrupted),
                real(Some(map.floor)),
            ]);
            into.push(cells);
        }
    }
}

pub(super) fn id(token: i32) -> Value<'static> {
    Value::Whole(token.cast_unsigned())
}

pub(super) fn real(value: Option<f64>) -> Value<'static> {
    value
        .filter(|x| x.is_finite())
        .map_or(Value::Null, Value::Real)
}
