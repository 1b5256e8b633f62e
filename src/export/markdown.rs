//! A Markdown table, to be read by people.

use std::io::{self, Write};

use super::{ColumnKind, Exporter, Record};
use crate::shown::markdown;

/// A table of GitHub's Markdown, one line a record. Text shows as it is, line breaks as such;
/// spaces at a cell's ends are lost, and control characters are made visible.
#[derive(Clone, Copy, Debug)]
pub struct Markdown;

impl Exporter for Markdown {
    fn export(
        &self,
        records: &mut dyn Iterator<Item = Record<'_>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let names: Vec<&str> = Record::COLUMNS.iter().map(|c| c.name).collect();
        let rules = Record::COLUMNS.iter().map(|column| match column.kind {
            ColumnKind::Text | ColumnKind::Flag => "---",
            _ => "---:",
        });
        writeln!(out, "| {} |", names.join(" | "))?;
        writeln!(out, "| {} |", rules.collect::<Vec<_>>().join(" | "))?;
        for record in records {
            let values = record.values();
            let cells: Vec<String> = values.iter().map(|v| markdown(&v.to_string())).collect();
            writeln!(out, "| {} |", cells.join(" | "))?;
        }
        out.flush()
    }
}
