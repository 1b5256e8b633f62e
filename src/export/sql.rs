//! An SQL script.

use std::io::{self, Write};

use super::{Column, ColumnKind, Exporter, Record, Value};

/// The table that the script makes.
pub const TABLE: &str = "results";

/// Rows of one `INSERT`.
const ROWS: usize = 500;

/// One transaction that makes the table [`TABLE`] and fills it; where there is one already it
/// fails and changes nothing. Standard SQL as SQLite, PostgreSQL and DuckDB read it. Text with NUL
/// or a carriage return before a line break is spelled in a way that SQLite alone understands:
/// there is no standard one, and its shell drops the latter from what it reads.
#[derive(Clone, Copy, Debug)]
pub struct Sql;

impl Exporter for Sql {
    fn export(
        &self,
        records: &mut dyn Iterator<Item = Record<'_>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let columns: Vec<String> = Record::COLUMNS.iter().map(definition).collect();
        writeln!(out, "BEGIN TRANSACTION;")?;
        writeln!(
            out,
            "CREATE TABLE \"{TABLE}\" (\n{}\n);",
            columns.join(",\n")
        )?;
        let mut n = 0;
        for record in records {
            match n % ROWS {
                0 if n == 0 => writeln!(out, "INSERT INTO \"{TABLE}\" VALUES")?,
                0 => writeln!(out, ";\nINSERT INTO \"{TABLE}\" VALUES")?,
                _ => writeln!(out, ",")?,
            }
            let values: Vec<String> = record.values().iter().map(literal).collect();
            write!(out, "({})", values.join(", "))?;
            n += 1;
        }
        if n > 0 {
            writeln!(out, ";")?;
        }
        writeln!(out, "COMMIT;")?;
        out.flush()
    }
}

/// Names are quoted, for some are words of SQL.
fn definition(column: &Column) -> String {
    let kind = match column.kind {
        ColumnKind::Text => "TEXT",
        ColumnKind::Flag => "BOOLEAN",
        ColumnKind::Whole => "BIGINT",
        ColumnKind::Seed => "NUMERIC(20)",
        ColumnKind::Real => "DOUBLE PRECISION",
    };
    let null = if column.nullable { "" } else { " NOT NULL" };
    format!("    \"{}\" {kind}{null}", column.name)
}

fn literal(value: &Value<'_>) -> String {
    match value {
        Value::Null => "NULL".to_string(),
        Value::Flag(true) => "TRUE".to_string(),
        Value::Flag(false) => "FALSE".to_string(),
        Value::Text(text) if text.contains('\0') || text.contains("\r\n") => {
            let bytes: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
            format!("CAST(X'{bytes}' AS TEXT)")
        }
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        number => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals() {
        for (value, sql) in [
            (Value::Null, "NULL"),
            (Value::Text("it's\n;"), "'it''s\n;'"),
            (Value::Text("a\0b"), "CAST(X'610062' AS TEXT)"),
            (Value::Flag(true), "TRUE"),
            (Value::Real(-2.5e-9), "-2.5e-9"),
            (Value::Real(1.0), "1.0"),
            (Value::Seed(u64::MAX), "18446744073709551615"),
        ] {
            assert_eq!(literal(&value), sql);
        }
    }
}
