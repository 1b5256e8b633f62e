//! A map on a terminal.

use std::fmt::Write;
use std::io::IsTerminal;

use crate::maps::{Picture, colour};
use crate::shown::visible;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How a cell is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// 24 bits.
    True,
    /// The palette of 256.
    Palette,
    /// By characters.
    Plain,
}

impl Paint {
    /// What stdout can show: characters alone where it is no terminal, or where NO_COLOR is set.
    pub fn of_stdout() -> Self {
        let is = |name: &str| std::env::var(name).unwrap_or_default();
        let plain = !std::io::stdout().is_terminal() || !is("NO_COLOR").is_empty();
        if plain || is("TERM") == "dumb" {
            return Paint::Plain;
        }
        match is("COLORTERM").as_str() {
            "truecolor" | "24bit" => Paint::True,
            _ => Paint::Palette,
        }
    }
}

/// Columns of a token's text at most.
const TEXT: usize = 14;
/// Shades of a value without colours: as many below zero and above.
const BELOW: [char; 4] = ['-', '~', '=', '#'];
pub const ABOVE: [char; 4] = ['.', '+', '*', '@'];

/// The map in lines of at most `width` columns; layers that do not fit come below.
pub fn text(picture: &Picture<'_>, width: Option<usize>, paint: Paint) -> String {
    Told { picture }.text(width, paint)
}

struct Told<'p> {
    picture: &'p Picture<'p>,
}

impl Told<'_> {
    fn text(&self, width: Option<usize>, paint: Paint) -> String {
        let rows = 0..self.picture.map.rows.len();
        let labels: Vec<String> = rows.map(|row| self.picture.label(row)).collect();
        let label = label_width(&labels).max(self.picture.across.len());
        let fit = width.map_or(usize::MAX, |width| width.saturating_sub(label + 1) / 2);
        let mut text = format!("{}\n{}\n", visible(&self.picture.title), self.line());
        let columns: Vec<usize> = (0..self.picture.map.layers.len()).collect();
        for part in columns.chunks(fit.max(4)) {
            // A cell is as wide as a number, so every second layer has its own.
            let head = part.iter().enumerate().map(|(n, &column)| {
                let layer = self.picture.map.layers[column];
                match n % 2 {
                    0 if layer < 100 => format!("{layer:>2}"),
                    _ => "  ".into(),
                }
            });
            writeln!(
                text,
                "\n{:label$} {}",
                self.picture.across,
                head.collect::<String>()
            )
            .expect("a String");
            for (row, name) in labels.iter().enumerate() {
                let cells = part.iter().map(|&column| self.cell((row, column), paint));
                let cells = cells.collect::<String>();
                writeln!(text, "{} {}", cut(name, label), cells.trim_end()).expect("a String");
            }
        }
        text.push_str(&self.legend(paint));
        text
    }

    fn line(&self) -> String {
        let map = self.picture.map;
        if !self.picture.change {
            return format!("a cell is the {}", self.picture.measure);
        }
        let corrupted = map
            .corrupted
            .map_or(String::new(), |value| format!(", {value:.3} corrupted"));
        let over = match self.picture.over {
            None => String::new(),
            Some(over) => format!(" on average over {} items", over.items.len()),
        };
        format!(
            "{}: {:.3} clean{corrupted}{over}; a cell is the change of it",
            self.picture.measure, map.clean
        )
    }

    fn cell(&self, (row, column): (usize, usize), paint: Paint) -> String {
        let Some(value) = self.picture.map.values[row][column] else {
            return "  ".into();
        };
        let most = self.picture.map.largest();
        let is_none = self.picture.is_none(row, column);
        if paint == Paint::Plain {
            let shades = if value < 0.0 { BELOW } else { ABOVE };
            let share = (value.abs() / most.max(1e-12) * 4.0).ceil() as usize;
            let shade = match (is_none, share) {
                (true, _) | (_, 0) => ' ',
                (_, n) => shades[n.min(4) - 1],
            };
            return format!(" {shade}");
        }
        let (red, green, blue) = colour(value, most);
        let mark = if is_none { "·" } else { " " };
        let back = match paint {
            Paint::True => format!("48;2;{red};{green};{blue}"),
            _ => format!("48;5;{}", palette(red, green, blue)),
        };
        format!("\x1b[{back};38;5;244m {mark}\x1b[0m")
    }

    fn legend(&self, paint: Paint) -> String {
        let map = self.picture.map;
        let values = || map.values.iter().flatten().flatten().copied();
        let (low, high) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(f64::NEG_INFINITY, f64::max),
        );
        if !self.picture.change {
            return self.legend_of_sizes((low, high), paint);
        }
        let none = match self.picture.over {
            None => "no more than rounding",
            Some(_) => "no more than rounding, or 0 is in its 95% interval",
        };
        let shades = match paint {
            Paint::Plain => format!(
                "{} below zero, {} above, each a quarter of the largest\nblank: {none}",
                BELOW.iter().collect::<String>(),
                ABOVE.iter().collect::<String>()
            ),
            _ => format!("red below zero, blue above\na dot: {none}"),
        };
        format!(
            "\nfrom {low:+.3} to {high:+.3}; rounding alone: {:.1e}\n{shades}\n",
            map.floor
        )
    }
}

impl Told<'_> {
    /// What the cells are where they are no changes.
    fn legend_of_sizes(&self, (low, high): (f64, f64), paint: Paint) -> String {
        let floor = self.picture.map.floor;
        let rounding = match floor > 0.0 {
            true => format!("; rounding alone: {floor:.1e}"),
            false => String::new(),
        };
        let shades = match (paint, low < 0.0) {
            (Paint::Plain, false) => format!(
                "{}, each a quarter of the largest",
                ABOVE.iter().collect::<String>()
            ),
            (Paint::Plain, true) => format!(
                "{} below zero, {} above, each a quarter of the largest",
                BELOW.iter().collect::<String>(),
                ABOVE.iter().collect::<String>()
            ),
            (_, false) => "the darker the larger".into(),
            (_, true) => "red below zero, blue above".into(),
        };
        format!("\nfrom {low:.3} to {high:.3}{rounding}\n{shades}\n")
    }
}

/// Columns for what rows are called.
pub fn label_width(labels: &[String]) -> usize {
    let widths = labels.iter().map(|label| label.width());
    widths.max().unwrap_or(0).clamp(5, TEXT)
}

/// A text on a ground as dark as the share of it, from nothing to all; as it is where nothing is
/// painted.
pub fn background(text: &str, share: f64, paint: Paint) -> String {
    let (red, green, blue) = colour(share, 1.0);
    let ground = match paint {
        Paint::Plain => return text.to_string(),
        Paint::True => format!("48;2;{red};{green};{blue}"),
        Paint::Palette => format!("48;5;{}", palette(red, green, blue)),
    };
    let ink = if share > 0.5 { 231 } else { 16 };
    format!("\x1b[{ground};38;5;{ink}m{text}\x1b[0m")
}

/// In quotes, so that a space at the beginning is seen.
pub fn quoted(token: &str) -> String {
    format!("{:?}", visible(token))
}

/// What a row is called in exactly so many columns.
fn cut(quoted: &str, columns: usize) -> String {
    if quoted.width() <= columns {
        return format!("{quoted}{}", " ".repeat(columns - quoted.width()));
    }
    let (mut text, mut at) = (String::new(), 0);
    for c in quoted.chars() {
        let wide = c.width().unwrap_or(0);
        if at + wide + 1 > columns {
            break;
        }
        text.push(c);
        at += wide;
    }
    text.push('…');
    format!("{text}{}", " ".repeat(columns - at - 1))
}

/// The nearest of the palette's cube of 6 x 6 x 6 colours.
fn palette(red: u8, green: u8, blue: u8) -> u8 {
    let step = |value: u8| (u16::from(value) * 5 + 127) / 255;
    (16 + 36 * step(red) + 6 * step(green) + step(blue)) as u8
}

/// The text without what paints it.
#[cfg(test)]
pub fn bare(painted: &str) -> String {
    let mut bare = String::new();
    let mut escaped = false;
    for c in painted.chars() {
        match c {
            '\x1b' => escaped = true,
            'm' if escaped => escaped = false,
            _ if !escaped => bare.push(c),
            _ => {}
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::{Down, Map};

    fn map() -> Map {
        Map {
            layers: (0..30).collect(),
            down: Down::Tokens,
            rows: vec![0, 1],
            values: vec![
                (0..30).map(|n| Some(f64::from(n) / -29.0)).collect(),
                (0..30).map(|n| (n > 3).then_some(1e-9)).collect(),
            ],
            clean: -0.5,
            corrupted: None,
            floor: 1e-6,
            says: None,
        }
    }

    #[test]
    fn it_fits_the_terminal_and_colours_take_no_room() {
        let map = map();
        let tokens = [" the capital of the world", "日本\u{1b}"].map(|text| (1, text.into()));
        let picture = Picture {
            map: &map,
            tokens: &tokens,
            title: "a title".into(),
            measure: "log-probability",
            across: "layer",
            change: true,
            over: None,
        };
        let told = Told { picture: &picture };
        for width in [40, 60, 80, 200] {
            let plain = told.text(Some(width), Paint::Plain);
            let rows = plain
                .lines()
                .skip(3)
                .take_while(|line| !line.starts_with("from"));
            assert!(rows.clone().all(|line| line.width() <= width), "{plain}");
            for paint in [Paint::True, Paint::Palette] {
                let painted = told.text(Some(width), paint);
                let bare = bare(&painted);
                assert_eq!(bare.lines().count(), plain.lines().count());
                assert!(
                    bare.lines()
                        .skip(3)
                        .take(3)
                        .all(|line| line.width() <= width)
                );
            }
        }
        let text = told.text(Some(80), Paint::Plain);
        assert!(text.contains("from -1.000 to +0.000"), "{text}");
        assert!(text.contains('#') && !text.contains('\x1b'), "{text}");
        assert!(text.contains(" 0   2   4 "), "{text}");
        let second = text.lines().find(|line| line.contains('日')).unwrap();
        assert!(
            !second.contains(['#', '@', '.', '-']),
            "nothing exceeds rounding: {second}"
        );
    }

    #[test]
    fn numbers_of_layers_do_not_touch() {
        let map = Map {
            layers: vec![1, 7, 13, 19, 25],
            values: vec![vec![Some(1.0); 5]; 2],
            ..map()
        };
        let picture = Picture {
            map: &map,
            tokens: &[(1, "a".into()), (2, "b".into())],
            title: "a title".into(),
            measure: "log-probability",
            across: "layer",
            change: true,
            over: None,
        };
        let text = Told { picture: &picture }.text(Some(80), Paint::Plain);
        assert!(text.contains("layer  1  13  25\n"), "{text}");
    }

    #[test]
    fn the_palette_has_black_white_and_red() {
        assert_eq!((palette(0, 0, 0), palette(255, 255, 255)), (16, 231));
        assert_eq!(palette(255, 0, 0), 196);
    }
}
