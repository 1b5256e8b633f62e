//! A sheet: named columns and rows of any kind, in the formats that hold rows.

use super::parquet::Groups;
use super::{Column, ColumnKind, Value};

/// Nothing but a mistake of ours can fail in memory.
const MEMORY: &str = "memory takes any row";

/// Columns and rows. Every row has a value for each column, of its kind or [`Value::Null`].
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet<'s> {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Vec<Value<'s>>>,
}

impl Column {
    /// A column that may hold nothing where `nullable`.
    pub const fn new(name: &'static str, kind: ColumnKind, nullable: bool) -> Self {
        Self {
            name,
            kind,
            nullable,
        }
    }
}

impl Value<'_> {
    /// The value as JSON.
    pub(super) fn json(&self) -> String {
        match self {
            Value::Null => "null".into(),
            Value::Text(text) => serde_json::to_string(text).expect("text"),
            Value::Real(number) => serde_json::to_string(number).expect("a number"),
            Value::Flag(_) | Value::Whole(_) | Value::Seed(_) => self.to_string(),
        }
    }
}

impl Sheet<'_> {
    /// One JSON object a line, its fields in the order of the columns; nothing is `null`.
    pub fn json_lines(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let fields = self.columns.iter().zip(row);
            let fields =
                fields.map(|(column, value)| format!("{:?}:{}", column.name, value.json()));
            let fields: Vec<String> = fields.collect();
            text.push_str(&format!("{{{}}}\n", fields.join(",")));
        }
        text
    }

    /// Comma-separated values with a line of names first; nothing is an empty field.
    pub fn csv(&self) -> String {
        let mut csv = ::csv::Writer::from_writer(Vec::new());
        let names = self.columns.iter().map(|column| column.name);
        csv.write_record(names).expect(MEMORY);
        for row in &self.rows {
            let fields = row.iter().map(ToString::to_string);
            csv.write_record(fields).expect(MEMORY);
        }
        String::from_utf8(csv.into_inner().expect(MEMORY)).expect("rows are text")
    }

    /// Parquet, its columns typed as [`Parquet`](super::Parquet) types them.
    pub fn parquet(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut file = Groups::new(&self.columns, &mut bytes).expect(MEMORY);
        file.put(&self.rows).expect(MEMORY);
        file.close().expect(MEMORY);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ::parquet::record::RowAccessor;

    #[test]
    fn every_format_holds_the_same() {
        let sheet = Sheet {
            columns: vec![
                Column::new("text", ColumnKind::Text, false),
                Column::new("layer", ColumnKind::Whole, false),
                Column::new("value", ColumnKind::Real, true),
            ],
            rows: vec![
                vec![
                    Value::Text("a \"b\"\n,"),
                    Value::Whole(3),
                    Value::Real(-1e-7),
                ],
                vec![Value::Text(""), Value::Whole(4), Value::Null],
            ],
        };
        let lines: Vec<serde_json::Value> = sheet
            .json_lines()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let first = serde_json::json!({"text": "a \"b\"\n,", "layer": 3, "value": -1e-7});
        assert_eq!(lines[0], first);
        assert!(lines[1]["value"].is_null());
        let csv = sheet.csv();
        let mut reader = ::csv::Reader::from_reader(csv.as_bytes());
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(&rows[0][0], "a \"b\"\n,");
        assert_eq!((rows[0][2].parse(), &rows[1][2]), (Ok(-1e-7), ""));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&sheet.parquet()).unwrap();
        let rows = SerializedFileReader::new(file).unwrap();
        let rows = rows.get_row_iter(None).unwrap();
        let rows: Vec<_> = rows.map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].get_string(0).unwrap(), "a \"b\"\n,");
        assert_eq!(rows[0].get_long(1).unwrap(), 3);
        assert_eq!(rows[0].get_double(2).unwrap(), -1e-7);
        assert!(rows[1].get_double(2).is_err(), "nothing");
    }
}
