//! Comma-separated values.

use std::io::{self, Write};

use super::{Exporter, Record};

/// RFC 4180, with a line of names first. Nothing is an empty field, and so is empty text: only
/// columns of numbers and flags may hold nothing.
///
/// Text is written as it is, also where it begins as a formula does (`=`, `+`, `-`, `@`): programs
/// read it back, and an answer `-3` must stay `-3`. A spreadsheet is to import text columns as
/// text. The tables of `report.html`, made for spreadsheets, put an apostrophe before them.
#[derive(Clone, Copy, Debug)]
pub struct Csv;

impl Exporter for Csv {
    fn export(
        &self,
        records: &mut dyn Iterator<Item = Record<'_>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut csv = ::csv::Writer::from_writer(out);
        csv.write_record(Record::COLUMNS.iter().map(|column| column.name))?;
        for record in records {
            csv.write_record(record.values().iter().map(ToString::to_string))?;
        }
        csv.flush()
    }
}
