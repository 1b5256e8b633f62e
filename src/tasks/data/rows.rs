//! Rows of Parquet files by column name, as the Hugging Face hub lays them out.

use std::fs::File;
use std::sync::Arc;

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::FileReader;
use ::parquet::file::serialized_reader::SerializedFileReader;
use ::parquet::record::reader::RowIter;
use ::parquet::record::{Field, Row};
use ::parquet::schema::types::Type;

use super::{DataError, DataFile, Place};

/// One row and where it stands.
pub(super) struct Record<'a> {
    file: &'a DataFile,
    row: Row,
    /// Counted from 1.
    pub number: usize,
}

/// Reads the rows of the file with the columns `required`, and `optional` where it is there.
///
/// # Errors
/// Not a Parquet file; a missing column. An item is an error where the row cannot be decoded.
pub(super) fn rows<'a>(
    file: &'a DataFile,
    required: &[&'static str],
    optional: &[&'static str],
) -> Result<impl Iterator<Item = Result<Record<'a>, DataError>>, DataError> {
    let parquet = |source: ParquetError| DataError::Parquet {
        file: file.clone(),
        source,
    };
    let opened = File::open(&file.path).map_err(|source| file.io(source))?;
    let reader = SerializedFileReader::new(opened).map_err(parquet)?;
    let schema = reader.metadata().file_metadata().schema();
    let names = || schema.get_fields().iter().map(|field| field.name());
    for column in required {
        if !names().any(|name| name == *column) {
            return Err(file.missing(column, names()));
        }
    }
    // Other columns are not decoded, so that they may be of any kind.
    let wanted: Vec<Arc<Type>> = schema
        .get_fields()
        .iter()
        .filter(|field| required.contains(&field.name()) || optional.contains(&field.name()))
        .cloned()
        .collect();
    let projection = Type::group_type_builder(schema.name())
        .with_fields(wanted)
        .build()
        .map_err(parquet)?;
    let rows = RowIter::from_file_into(Box::new(reader))
        .project(Some(projection))
        .map_err(parquet)?;
    Ok(rows.enumerate().map(move |(n, row)| {
        let number = n + 1;
        match row {
            Ok(row) => Ok(Record { file, row, number }),
            // Of text that is not UTF-8 the message holds every byte.
            Err(error) => {
                let reason: String = error.to_string().chars().take(120).collect();
                Err(file.malformed(Place::Record(number), reason))
            }
        }
    }))
}

impl Record<'_> {
    /// The text of a column, `None` where the column is absent or null.
    pub fn optional_text(&self, column: &str) -> Result<Option<String>, DataError> {
        match self.field(column) {
            None | Some(Field::Null) => Ok(None),
            Some(field) => self.as_text(column, field).map(Some),
        }
    }

    /// The text of a column.
    pub fn text(&self, column: &str) -> Result<String, DataError> {
        self.as_text(column, self.field(column).unwrap_or(&Field::Null))
    }

    /// The texts of a list inside a group: the hub's `answers.text`.
    pub fn texts_in(&self, group: &str, list: &str) -> Result<Vec<String>, DataError> {
        let column = format!("{group}.{list}");
        let wrong = || self.wrong(format!("column '{column}' is not a list of texts"));
        let Some(Field::Group(inner)) = self.field(group) else {
            return Err(wrong());
        };
        match find(inner, list) {
            Some(Field::ListInternal(texts)) => texts
                .elements()
                .iter()
                .map(|text| self.as_text(&column, text))
                .collect(),
            _ => Err(wrong()),
        }
    }

    fn field(&self, column: &str) -> Option<&Field> {
        find(&self.row, column)
    }

    fn as_text(&self, column: &str, field: &Field) -> Result<String, DataError> {
        match field {
            Field::Str(text) => Ok(text.clone()),
            // Text that the writer did not mark as such.
            Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
                Ok(text) => Ok(text.to_string()),
                Err(_) => Err(self.wrong(format!("column '{column}' is not UTF-8"))),
            },
            Field::Null => Err(self.wrong(format!("column '{column}' is null"))),
            other => Err(self.wrong(format!("column '{column}' holds {other}, not text"))),
        }
    }

    fn wrong(&self, reason: String) -> DataError {
        self.file.malformed(Place::Record(self.number), reason)
    }
}

fn find<'a>(row: &'a Row, column: &str) -> Option<&'a Field> {
    row.get_column_iter()
        .find(|(name, _)| *name == column)
        .map(|(_, field)| field)
}
