//! Tables and prose that fit a terminal. Every table of the program is laid out here.

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width,
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Lines above and below the head and at the end.
pub const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Words: flush left, broken between words where there is little room.
    Words,
    /// Numbers: flush right, never broken.
    Numbers,
}

/// Blanks on both sides of a cell.
const PADDING: usize = 2;
/// What stands between two columns.
const BETWEEN: usize = 1;
/// Cells up to this width are not broken.
const WHOLE: usize = 14;

/// A table of at most `width` terminal columns; without a width as wide as it likes. Where its
/// columns do not fit side by side they come in several tables below one another, each of which
/// begins with the first column. `columns` says what each holds, the last entry what all
/// further ones do.
pub fn fit(
    head: &[String],
    rows: &[Vec<String>],
    columns: &[Column],
    width: Option<usize>,
) -> String {
    let kind = |n: usize| columns.get(n).or(columns.last()).copied();
    let measured: Vec<Measured> = (0..head.len())
        .map(|n| {
            let cells = rows.iter().filter_map(|row| row.get(n));
            Measured::of(&head[n], cells, kind(n).unwrap_or(Column::Words))
        })
        .collect();
    let natural: usize = measured.iter().map(|m| m.natural + PADDING).sum();
    let natural = natural + BETWEEN * head.len().saturating_sub(1);
    let Some(width) = width.filter(|width| natural > *width) else {
        let all: Vec<usize> = (0..head.len()).collect();
        return render(head, rows, &measured, &all, None);
    };
    let blocks = blocks(&measured, width);
    let tables: Vec<String> = blocks
        .iter()
        .map(|block| {
            let widths = widths(&measured, block, width);
            render(head, rows, &measured, block, Some(&widths))
        })
        .collect();
    tables.join("\n\n")
}

/// How wide a column is, without padding.
struct Measured {
    column: Column,
    /// Unbroken.
    natural: usize,
    /// Broken as far as it may be.
    least: usize,
}

impl Measured {
    fn of<'c>(head: &str, cells: impl Iterator<Item = &'c String>, column: Column) -> Self {
        let widest = |text: &str| text.lines().map(str::width).max().unwrap_or(0);
        let word = |text: &str| text.split_whitespace().map(str::width).max().unwrap_or(0);
        let (mut natural, mut least) = (widest(head), word(head).min(WHOLE));
        for cell in cells {
            let whole = widest(cell);
            natural = natural.max(whole);
            least = least.max(match column {
                Column::Numbers => whole,
                Column::Words if whole <= WHOLE => whole,
                Column::Words => word(cell).clamp(WHOLE, 2 * WHOLE),
            });
        }
        Self {
            column,
            natural,
            least: least.min(natural),
        }
    }
}

/// Which columns stand side by side: the first in every block, the others in turn.
fn blocks(measured: &[Measured], width: usize) -> Vec<Vec<usize>> {
    let key = measured.first().map_or(0, |m| m.least + PADDING);
    let mut blocks = vec![vec![0]];
    let mut used = key;
    for (n, column) in measured.iter().enumerate().skip(1) {
        let needs = column.least + PADDING + BETWEEN;
        let block = blocks.last_mut().expect("begun with one");
        if used + needs > width && block.len() > 1 {
            blocks.push(vec![0, n]);
            used = key + needs;
        } else {
            block.push(n);
            used += needs;
        }
    }
    blocks
}

/// The widths of a block's columns: what they need at least, and what is left over goes to
/// those that are broken most.
fn widths(measured: &[Measured], block: &[usize], width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = block.iter().map(|n| measured[*n].least).collect();
    let used: usize = widths.iter().map(|w| w + PADDING).sum();
    let used = used + BETWEEN * (block.len() - 1);
    for _ in used..width {
        let missing = |at: &usize| measured[block[*at]].natural - widths[*at];
        let Some(at) = (0..block.len())
            .max_by_key(missing)
            .filter(|at| missing(at) > 0)
        else {
            break;
        };
        widths[at] += 1;
    }
    widths
}

fn render(
    head: &[String],
    rows: &[Vec<String>],
    measured: &[Measured],
    block: &[usize],
    widths: Option<&[usize]>,
) -> String {
    let of = |cells: &[String]| -> Vec<String> {
        let cell = |n: &usize| cells.get(*n).cloned().unwrap_or_default();
        block.iter().map(cell).collect()
    };
    let mut table = Table::new();
    table.load_style(STYLE).set_header(of(head));
    table.add_rows(rows.iter().map(|row| of(row)));
    // Of no terminal's width but the one given.
    table.force_no_tty();
    table.set_content_arrangement(ContentArrangement::Disabled);
    if let Some(widths) = widths {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        let wide = |width: &usize| {
            let width = u16::try_from(width + PADDING).unwrap_or(u16::MAX);
            ColumnConstraint::Absolute(Width::Fixed(width))
        };
        table.set_constraints(widths.iter().map(wide));
    }
    for (column, n) in table.column_iter_mut().zip(block) {
        if measured[*n].column == Column::Numbers {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// The text with its lines broken between words, and within those that are wider than `width`,
/// so that no line is; what a line begins with in spaces, its continuations begin with too.
pub fn wrap(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else {
        return text.to_string();
    };
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| wrap_line(line, width))
        .collect();
    lines.join("\n")
}

fn wrap_line(line: &str, width: usize) -> String {
    if line.width() <= width {
        return line.to_string();
    }
    let indent = &line[..line.len() - line.trim_start_matches(' ').len()];
    let mut wrapped = String::new();
    let mut at = 0;
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        if at == 0 {
            wrapped.push_str(indent);
            at = indent.width();
        } else if at + 1 + word.width() > width {
            wrapped.push('\n');
            wrapped.push_str(indent);
            at = indent.width();
        } else {
            wrapped.push(' ');
            at += 1;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if at + wide > width && at > indent.width() {
                wrapped.push('\n');
                wrapped.push_str(indent);
                at = indent.width();
            }
            wrapped.push(c);
            at += wide;
        }
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strings(cells: &[&str]) -> Vec<String> {
        cells.iter().map(ToString::to_string).collect()
    }

    fn widest(text: &str) -> usize {
        text.lines().map(str::width).max().unwrap_or(0)
    }

    #[test]
    fn columns_that_do_not_fit_come_below_one_another() {
        let head = strings(&["layer", "freeze", "inject: original", "inject: modified"]);
        let rows = vec![
            strings(&["9", "34 (25-44)≈", "0 (0-4)", "34 (26-44)"]),
            strings(&["10", "33 (25-43)", "0 (0-4)", "35 (27-45)"]),
        ];
        let wide = fit(&head, &rows, &[Column::Numbers], None);
        assert_eq!(
            wide,
            fit(&head, &rows, &[Column::Numbers], Some(widest(&wide)))
        );
        assert!(wide.contains("inject: original"));
        // Heads are broken before columns move.
        let narrow = fit(&head, &rows, &[Column::Numbers], Some(52));
        assert!(
            widest(&narrow) <= 52 && !narrow.contains("inject: original"),
            "{narrow}"
        );
        assert_eq!(narrow.matches("layer").count(), 1, "{narrow}");
        let narrower = fit(&head, &rows, &[Column::Numbers], Some(40));
        assert!(widest(&narrower) <= 40, "{narrower}");
        assert_eq!(narrower.matches("layer").count(), 2, "{narrower}");
        for cell in rows.iter().flatten() {
            assert!(narrower.contains(cell), "{cell} is whole in\n{narrower}");
        }
    }

    #[test]
    fn words_are_broken_and_numbers_are_not() {
        let head = strings(&["task", "layer", "items"]);
        let words = "no layer of those swept (in 32 % of resamples one)";
        let rows = vec![strings(&["capitals", words, "100"])];
        let columns = [Column::Words, Column::Words, Column::Numbers];
        let text = fit(&head, &rows, &columns, Some(40));
        assert!(widest(&text) <= 40, "{text}");
        assert!(text.contains("capitals") && text.contains("100"), "{text}");
        assert!(!text.contains(words));
        let shown: Vec<&str> = text.split_whitespace().collect();
        for word in words.split(' ') {
            assert!(shown.contains(&word), "{word}: {text}");
        }
    }

    #[test]
    fn prose_is_broken_between_words() {
        let text = "a b c\n  from layer 22 of 30";
        assert_eq!(wrap(text, None), text);
        assert_eq!(wrap(text, Some(14)), "a b c\n  from layer\n  22 of 30");
        assert_eq!(wrap("  longword b", Some(5)), "  lon\n  gwo\n  rd\n  b");
    }

    proptest! {
        #[test]
        fn no_table_is_wider_than_its_terminal(
            cells in prop::collection::vec(prop::collection::vec("[a-z0-9日本 .()-]{0,13}", 7), 0..5),
            width in 60usize..140, words in 0usize..7,
        ) {
            let head = strings(&["layer", "a head of words", "b", "c", "d", "e", "the last"]);
            let mut columns = vec![Column::Words; words];
            columns.push(Column::Numbers);
            let text = fit(&head, &cells, &columns, Some(width));
            prop_assert!(widest(&text) <= width, "{text}");
        }
    }
}
