//! A Markdown table, to be read by people.

use std::io::{self, Write};

use super::{ColumnKind, Exporter, Record};

/// A table of GitHub's Markdown, one line a record. Text shows as it is, line breaks as such;
/// spaces at a cell's ends are lost, and NUL shows as the replacement character.
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
            let cells: Vec<String> = values.iter().map(|v| cell(&v.to_string())).collect();
            writeln!(out, "| {} |", cells.join(" | "))?;
        }
        out.flush()
    }
}

/// Text in a cell: what Markdown would read as its own gets a backslash.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    let mut last = ' ';
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let next = characters.peek().copied().unwrap_or(' ');
        match c {
            '\r' if next == '\n' => {}
            '\r' | '\n' => cell.push_str("<br>"),
            '\0' => cell.push('\u{fffd}'),
            // Within a word it means nothing, as in cnn_dailymail.
            '_' if last.is_alphanumeric() && next.is_alphanumeric() => cell.push('_'),
            '\\' | '|' | '`' | '*' | '_' | '~' | '[' | ']' | '<' | '>' | '&' | '$' => {
                cell.extend(['\\', c]);
            }
            _ => cell.push(c),
        }
        last = c;
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_any_text() {
        for (text, shown) in [
            ("a|b", r"a\|b"),
            (r"a\|b", r"a\\\|b"),
            ("a\nb\r\nc\rd", "a<br>b<br>c<br>d"),
            ("cnn_dailymail _a_", r"cnn_dailymail \_a\_"),
            ("<b> `x` &amp;", r"\<b\> \`x\` \&amp;"),
            ("\0", "\u{fffd}"),
        ] {
            assert_eq!(cell(text), shown, "{text:?}");
        }
    }
}
