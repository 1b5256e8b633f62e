//! Results as flat rows for other programs: stable columns, one record for each item and cell.
//!
//! Exporters are pure, records in and bytes out; [`write_file()`] is the one that touches files.
//! What a column means, and its unit, stands at the fields of [`Record`] and in [`schema()`],
//! which is published as `docs/export.schema.json`.

mod csv;
mod jsonl;
mod markdown;
mod parquet;
mod record;
mod records;
mod schema;
mod sheet;
mod sql;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use csv::Csv;
pub use jsonl::JsonLines;
pub use markdown::Markdown;
pub use parquet::Parquet;
pub use record::{Column, ColumnKind, Record, Value};
pub use records::{Prompts, records};
pub use schema::{schema, schema_text};
pub use sheet::Sheet;
pub use sql::{Sql, TABLE};

use crate::files::replace_by;

/// The version of the columns: it changes whenever one is added, removed, renamed or means
/// something else.
pub const EXPORT_VERSION: u32 = 4;

/// A format that records can be written in.
pub trait Exporter {
    /// Writes all records, and what the format needs around them.
    ///
    /// # Errors
    /// Only those of `out`.
    fn export(
        &self,
        records: &mut dyn Iterator<Item = Record<'_>>,
        out: &mut dyn Write,
    ) -> io::Result<()>;
}

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be written: {source} (`out`)")]
pub struct ExportError {
    path: PathBuf,
    source: io::Error,
}

/// Writes records to a file, which replaces an older one when it is complete.
///
/// # Errors
/// [`ExportError`]; an older file is then as it was.
pub fn write_file(
    path: &Path,
    exporter: &dyn Exporter,
    records: &mut dyn Iterator<Item = Record<'_>>,
) -> Result<(), ExportError> {
    replace_by(path, |out| exporter.export(records, out)).map_err(|source| ExportError {
        path: path.to_path_buf(),
        source,
    })
}
