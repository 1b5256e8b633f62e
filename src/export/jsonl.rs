//! JSON lines.

use std::io::{self, Write};

use super::{Exporter, Record};

/// One JSON object a line, in the order of the columns; nothing is `null`.
#[derive(Clone, Copy, Debug)]
pub struct JsonLines;

impl Exporter for JsonLines {
    fn export(
        &self,
        records: &mut dyn Iterator<Item = Record<'_>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        for record in records {
            serde_json::to_writer(&mut *out, &record)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}
