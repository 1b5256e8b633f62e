//! Rows of Parquet files by column name, as the Hugging Face hub lays them out.

use std::fs::File;
use std::sync::Arc;

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::FileReader;
use ::parquet::file::serialized_reader::SerializedFileReader;
use ::parquet::record::reader::RowIter;
use ::parquet::record::{Field, Row};
use ::parquet::schema::types::Type;
use serde_json::Value;

use super::{DataError, DataFile, Place};

/// One row and where it stands.
pub(super) struct Record<'a> {
    file: &'a DataFile,
    row: Row,
    /// Counted from 1.
    pub number: usize,
}

/// The thread in which Parquet files are read: the `parquet` crate panics on some damaged ones.
/// A program may keep its panics quiet, for they become errors.
pub const PARQUET_THREAD: &str = "parquet";

/// Reads the rows of the file with the columns `required`, and `optional` where it is there, and
/// makes something of each.
///
/// # Errors
/// Not a Parquet file; a missing column; a row that cannot be decoded; those of `make`.
pub(super) fn rows<T: Send>(
    file: &DataFile,
    required: &[&'static str],
    optional: &[&'static str],
    make: impl Fn(&Record<'_>) -> Result<T, DataError> + Sync,
) -> Result<Vec<T>, DataError> {
    in_a_thread(file, || {
        records(file, required, Some(optional))?
            .map(|row| make(&row?))
            .collect()
    })
}

/// The rows of the file, with all columns, as JSON.
///
/// # Errors
/// Not a Parquet file; a row that cannot be decoded; a column that JSON has no place for.
pub(in crate::tasks) fn all_rows(
    file: &DataFile,
) -> Result<Vec<serde_json::Map<String, Value>>, DataError> {
    in_a_thread(file, || {
        let rows = records(file, &[], None)?.map(|record| {
            let record = record?;
            let columns = record.row.get_column_iter();
            let json = columns.map(|(name, field)| match as_json(field) {
                Some(value) => Ok((name.clone(), value)),
                None => {
                    Err(record.wrong(format!("column '{name}' holds {field}, which is no text")))
                }
            });
            json.collect()
        });
        rows.collect()
    })
}

/// A field as JSON, as far as texts, numbers, lists and groups of these go.
fn as_json(field: &Field) -> Option<Value> {
    Some(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::from(*value),
        Field::Byte(value) => Value::from(*value),
        Field::Short(value) => Value::from(*value),
        Field::Int(value) => Value::from(*value),
        Field::Long(value) => Value::from(*value),
        Field::UByte(value) => Value::from(*value),
        Field::UShort(value) => Value::from(*value),
        Field::UInt(value) => Value::from(*value),
        Field::ULong(value) => Value::from(*value),
        Field::Float(value) => Value::from(*value),
        Field::Double(value) => Value::from(*value),
        Field::Str(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => Value::from(std::str::from_utf8(bytes.data()).ok()?),
        Field::ListInternal(list) => {
            let values = list.elements().iter().map(as_json);
            Value::Array(values.collect::<Option<_>>()?)
        }
        Field::Group(group) => {
            let fields = group.get_column_iter();
            let fields = fields.map(|(name, field)| Some((name.clone(), as_json(field)?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn in_a_thread<T: Send>(
    file: &DataFile,
    read: impl FnOnce() -> Result<Vec<T>, DataError> + Send,
) -> Result<Vec<T>, DataError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(PARQUET_THREAD.into());
        let reading = thread.spawn_scoped(scope, read);
        let reading = reading.map_err(|source| file.io(source))?;
        reading.join().unwrap_or_else(|_| {
            let reason = "its parts contradict each other".to_string();
            Err(DataError::Parquet {
                file: file.clone(),
                source: ParquetError::General(reason),
            })
        })
    })
}

fn records<'a>(
    file: &'a DataFile,
    required: &[&'static str],
    optional: Option<&[&'static str]>,
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
    let wants = |name: &str| {
        optional.is_none_or(|optional| required.contains(&name) || optional.contains(&name))
    };
    let wanted: Vec<Arc<Type>> = schema
        .get_fields()
        .iter()
        .filter(|field| wants(field.name()))
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
            Err(error) => Err(file.malformed(Place::Record(number), error.to_string())),
        }
    }))
}

impl Record<'_> {
    /// A record's name, which may be a number; `None` where the column is absent or null.
    pub fn id(&self, column: &str) -> Result<Option<String>, DataError> {
        match self.field(column) {
            Some(
                number @ (Field::Byte(_)
                | Field::Short(_)
                | Field::Int(_)
                | Field::Long(_)
                | Field::UByte(_)
                | Field::UShort(_)
                | Field::UInt(_)
                | Field::ULong(_)
                | Field::Float(_)
                | Field::Double(_)),
            ) => Ok(Some(number.to_string())),
            _ => self.optional_text(column),
        }
    }

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

    /// The texts of a list inside a group, the hub's `answers.text`, or of groups in a list, as
    /// other writers have it. None where the group or the list is null.
    pub fn texts_in(&self, group: &str, list: &str) -> Result<Vec<String>, DataError> {
        let column = format!("{group}.{list}");
        let wrong = || self.wrong(format!("column '{column}' is not a list of texts"));
        let texts: Vec<&Field> = match self.field(group) {
            Some(Field::Null) => Vec::new(),
            Some(Field::Group(inner)) => match find(inner, list) {
                Some(Field::Null) => Vec::new(),
                Some(Field::ListInternal(texts)) => texts.elements().iter().collect(),
                _ => return Err(wrong()),
            },
            Some(Field::ListInternal(groups)) => {
                let texts = groups.elements().iter().map(|inner| match inner {
                    Field::Group(inner) => find(inner, list),
                    _ => None,
                });
                texts.collect::<Option<_>>().ok_or_else(wrong)?
            }
            _ => return Err(wrong()),
        };
        let texts = texts.into_iter();
        texts.map(|text| self.as_text(&column, text)).collect()
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
