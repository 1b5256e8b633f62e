//! Exports read back, without Python.

use std::io::Write;

use midlayer::export::{Column, ColumnKind, Exporter, Record, TABLE};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use rusqlite::types::ValueRef;

/// Cells as text, those that hold nothing empty.
pub type Cells = Vec<Vec<String>>;

pub fn export(exporter: &dyn Exporter, records: &[Record<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut records = records.iter().cloned();
    exporter.export(&mut records, &mut bytes).unwrap();
    bytes
}

pub fn cells(records: &[Record<'_>]) -> Cells {
    let row = |record: &Record<'_>| record.values().iter().map(ToString::to_string).collect();
    records.iter().map(row).collect()
}

pub fn names() -> Vec<&'static str> {
    Record::COLUMNS.iter().map(|column| column.name).collect()
}

pub fn read_csv(bytes: &[u8]) -> Cells {
    let mut reader = csv::Reader::from_reader(bytes);
    let head: Vec<String> = reader.headers().unwrap().iter().map(String::from).collect();
    assert_eq!(head, names());
    let rows = reader.records();
    rows.map(|row| row.unwrap().iter().map(String::from).collect())
        .collect()
}

pub fn read_jsonl(bytes: &[u8]) -> Vec<Record<'static>> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub fn read_sql(bytes: &[u8]) -> Cells {
    let db = rusqlite::Connection::open_in_memory().unwrap();
    db.execute_batch(std::str::from_utf8(bytes).unwrap())
        .unwrap();
    assert!(db.is_autocommit(), "the transaction is over");
    let mut query = db.prepare(&format!("SELECT * FROM {TABLE}")).unwrap();
    assert_eq!(query.column_names().collect::<Vec<_>>(), names());
    let mut found = query.query([]).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = found.next().unwrap() {
        let columns = Record::COLUMNS.iter().enumerate();
        let cell = |(n, column)| sql_cell(column, row.get_ref(n).unwrap());
        rows.push(columns.map(cell).collect());
    }
    rows
}

fn sql_cell(column: &Column, value: ValueRef<'_>) -> String {
    match (column.kind, value) {
        (_, ValueRef::Null) => String::new(),
        (ColumnKind::Text, ValueRef::Text(text)) => String::from_utf8(text.to_vec()).unwrap(),
        (ColumnKind::Flag, ValueRef::Integer(flag)) => (flag == 1).to_string(),
        (ColumnKind::Whole | ColumnKind::Seed, ValueRef::Integer(n)) => n.to_string(),
        (ColumnKind::Real, ValueRef::Real(number)) => format!("{number:?}"),
        (kind, value) => panic!("{} is {kind:?} but holds {value:?}", column.name),
    }
}

pub fn read_parquet(bytes: &[u8]) -> Cells {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let schema = reader.metadata().file_metadata().schema();
    let head: Vec<&str> = schema.get_fields().iter().map(|f| f.name()).collect();
    assert_eq!(head, names());
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
    rows.map(|row| {
        let columns = Record::COLUMNS.iter().zip(row.get_column_iter());
        columns
            .map(|(c, (_, field))| parquet_cell(c, field))
            .collect()
    })
    .collect()
}

fn parquet_cell(column: &Column, field: &Field) -> String {
    match (column.kind, field) {
        (_, Field::Null) => String::new(),
        (ColumnKind::Text, Field::Str(text)) => text.clone(),
        (ColumnKind::Flag, Field::Bool(flag)) => flag.to_string(),
        (ColumnKind::Whole, Field::Long(n)) => n.to_string(),
        (ColumnKind::Seed, Field::ULong(n)) => n.to_string(),
        (ColumnKind::Real, Field::Double(number)) => format!("{number:?}"),
        (kind, field) => panic!("{} is {kind:?} but holds {field:?}", column.name),
    }
}
