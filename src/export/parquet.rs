//! Parquet.

use std::io::{self, Write};
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::types::{Type, TypePtr};

use super::{Column, ColumnKind, Exporter, Record, Value};

/// Rows of one row group: this many are in memory at once.
const ROWS: usize = 1 << 15;

/// Typed columns, compressed with Zstandard. Whole numbers have 64 bits and a sign, so that they
/// can be subtracted; seeds have none.
#[derive(Clone, Copy, Debug)]
pub struct Parquet;

impl Exporter for Parquet {
    fn export(
        &self,
        records: &mut dyn Iterator<Item = Record<'_>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        // Into memory first, where nothing but a mistake of ours can fail.
        let mut bytes = Vec::new();
        encode(records, &mut bytes).map_err(io::Error::other)?;
        out.write_all(&bytes)?;
        out.flush()
    }
}

fn encode(
    records: &mut dyn Iterator<Item = Record<'_>>,
    bytes: &mut Vec<u8>,
) -> Result<(), ParquetError> {
    let mut file = Groups::new(Record::COLUMNS, bytes)?;
    loop {
        let records: Vec<Record<'_>> = (&mut *records).take(ROWS).collect();
        if records.is_empty() {
            return file.close();
        }
        let rows: Vec<Vec<Value<'_>>> = records.iter().map(Record::values).collect();
        file.put(&rows)?;
    }
}

/// A file being written into memory, one group of rows after the other.
pub(super) struct Groups<'c, 'b> {
    columns: &'c [Column],
    file: SerializedFileWriter<&'b mut Vec<u8>>,
}

impl<'c, 'b> Groups<'c, 'b> {
    pub(super) fn new(columns: &'c [Column], bytes: &'b mut Vec<u8>) -> Result<Self, ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let file = SerializedFileWriter::new(bytes, schema(columns)?, Arc::new(properties))?;
        Ok(Self { columns, file })
    }

    /// Adds rows, in one group.
    pub(super) fn put(&mut self, rows: &[Vec<Value<'_>>]) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for (n, column) in self.columns.iter().enumerate() {
            let mut writer = group
                .next_column()?
                .expect("as many columns as the schema has");
            put(&mut writer, column, rows.iter().map(|row| row[n]))?;
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    pub(super) fn close(self) -> Result<(), ParquetError> {
        self.file.close()?;
        Ok(())
    }
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let field = |column: &Column| {
        let (physical, logical) = match column.kind {
            ColumnKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            ColumnKind::Flag => (Physical::BOOLEAN, None),
            ColumnKind::Whole => (Physical::INT64, None),
            ColumnKind::Seed => (Physical::INT64, Some(LogicalType::integer(64, false))),
            ColumnKind::Real => (Physical::DOUBLE, None),
        };
        let repetition = if column.nullable {
            Repetition::OPTIONAL
        } else {
            Repetition::REQUIRED
        };
        let field = Type::primitive_type_builder(column.name, physical)
            .with_logical_type(logical)
            .with_repetition(repetition)
            .build()?;
        Ok(Arc::new(field))
    };
    let fields = columns.iter().map(field);
    let fields = fields.collect::<Result<_, ParquetError>>()?;
    let root = Type::group_type_builder("midlayer").with_fields(fields);
    Ok(Arc::new(root.build()?))
}

fn put<'r>(
    writer: &mut SerializedColumnWriter<'_>,
    column: &Column,
    values: impl Iterator<Item = Value<'r>>,
) -> Result<(), ParquetError> {
    match column.kind {
        ColumnKind::Text => {
            put_typed::<ByteArrayType>(writer, column, values, |value| match value {
                Value::Text(text) => Some(ByteArray::from(text.as_bytes().to_vec())),
                _ => None,
            })
        }
        ColumnKind::Flag => put_typed::<BoolType>(writer, column, values, |value| match value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }),
        ColumnKind::Whole | ColumnKind::Seed => {
            put_typed::<Int64Type>(writer, column, values, |value| match value {
                Value::Whole(number) => Some(i64::from(number)),
                // The same 64 bits, which the logical type says are without a sign.
                Value::Seed(number) => Some(number.cast_signed()),
                _ => None,
            })
        }
        ColumnKind::Real => put_typed::<DoubleType>(writer, column, values, |value| match value {
            Value::Real(number) => Some(number),
            _ => None,
        }),
    }
}

fn put_typed<'r, T: DataType>(
    writer: &mut SerializedColumnWriter<'_>,
    column: &Column,
    values: impl Iterator<Item = Value<'r>>,
    typed: impl Fn(Value<'r>) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let values: Vec<Option<T::T>> = values.map(typed).collect();
    // 1 where there is a value.
    let levels: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
    let present: Vec<T::T> = values.into_iter().flatten().collect();
    let levels = column.nullable.then_some(&levels[..]);
    writer.typed::<T>().write_batch(&present, levels, None)?;
    Ok(())
}
