//! A logit lens on a terminal, with the commitment strip below it.

use std::fmt::Write;

use super::super::terminal::{ABOVE, Paint, background, label_width, quoted};
use crate::cli::text::{cut, padded};
use crate::maps::{LensPicture, Said, written};
use crate::shown::visible;

/// Columns of a cell that shows a token, the mark before it included, and of one that shows how
/// probable the answer is.
const TOKEN: usize = 9;
const SHADE: usize = 2;
/// Columns of the prediction beside the strip.
const PREDICTION: usize = 14;

/// The lens in lines of at most `width` columns; layers that do not fit come below.
pub fn text(picture: &LensPicture<'_>, width: Option<usize>, paint: Paint) -> String {
    Told { picture, paint }.text(width)
}

struct Told<'p> {
    picture: &'p LensPicture<'p>,
    paint: Paint,
}

impl Told<'_> {
    fn text(&self, width: Option<usize>) -> String {
        let width = width.unwrap_or(usize::MAX);
        let labels: Vec<String> = (self.picture.tokens.iter())
            .map(|(_, token)| quoted(token))
            .collect();
        let label = label_width(&labels);
        let mut text = format!("{}\n{}\n", visible(&self.picture.title), self.line());
        // The last column's name is wider than a shade.
        let over = if self.picture.answer.is_some() { 2 } else { 0 };
        let room = width.saturating_sub(label + 1 + over);
        let columns: Vec<usize> = (0..self.picture.lens.layers.len()).collect();
        for part in columns.chunks((room / self.cell_width()).max(2)) {
            let head: String = part.iter().map(|&column| self.head(column)).collect();
            let head = format!("{:label$} {head}", "layer");
            writeln!(text, "\n{}", head.trim_end()).expect("a String");
            for (row, from) in self.picture.lens.commitments().into_iter().enumerate() {
                let cells = part.iter().map(|&column| self.cell(row, column, from));
                let cells = cells.collect::<String>();
                writeln!(text, "{} {}", self.label(row, label), cells.trim_end())
                    .expect("a String");
            }
        }
        text.push_str(&self.strip(label, width));
        text
    }

    fn cell_width(&self) -> usize {
        match self.picture.answer {
            Some(_) => SHADE,
            None => TOKEN,
        }
    }

    fn line(&self) -> String {
        let shades: String = ABOVE.iter().collect();
        match (&self.picture.answer, self.paint) {
            (Some(answer), Paint::Plain) => format!(
                "a cell is the probability of {} as the next token: {shades}, each a quarter",
                quoted(answer)
            ),
            (Some(answer), _) => format!(
                "a cell is the probability of {} as the next token, the darker the higher",
                quoted(answer)
            ),
            (None, Paint::Plain) => {
                "a cell is the likeliest next token; * where it stays to the end".into()
            }
            (None, _) => {
                "a cell is the likeliest next token, the darker the likelier; * where it stays to the end"
                    .into()
            }
        }
    }

    fn head(&self, column: usize) -> String {
        let name = self.picture.lens.column(column);
        match self.picture.answer {
            None => padded(&format!(" {name}"), TOKEN),
            // A layer's number takes the place of two where it has three digits.
            Some(_) if name == "out" => format!(" {name}"),
            Some(_) if name.len() > 2 || column % 2 == 1 => " ".repeat(SHADE),
            Some(_) => format!("{name:>SHADE$}"),
        }
    }

    fn label(&self, row: usize, columns: usize) -> String {
        let token = quoted(&self.picture.tokens[row].1);
        padded(&cut(&token, columns), columns)
    }

    fn cell(&self, row: usize, column: usize, from: usize) -> String {
        let said = &self.picture.lens.said[row][column];
        let share = self.picture.share(said);
        let text = match self.picture.answer {
            Some(_) if self.paint == Paint::Plain => {
                let quarter = (share * 4.0).ceil().clamp(1.0, 4.0) as usize;
                // Less than one in a hundred is blank.
                let shade = if share < 0.01 {
                    ' '
                } else {
                    ABOVE[quarter - 1]
                };
                format!(" {shade}")
            }
            Some(_) => " ".repeat(SHADE),
            None => {
                let mark = if column >= from { '*' } else { ' ' };
                // A blank between cells.
                let token = cut(&self.prediction(said), TOKEN - 2);
                padded(&format!("{mark}{token}"), TOKEN)
            }
        };
        background(&text, share, self.paint)
    }

    fn prediction(&self, said: &Said) -> String {
        written(&(self.picture.text_of)(said.likeliest()))
    }

    /// For each token the prediction and from which layer on it stays.
    fn strip(&self, label: usize, width: usize) -> String {
        let lens = self.picture.lens;
        let mut text = String::from("\nthe prediction, and the layer from which it stays on top\n");
        // Beside it: "  from out  ".
        let room = width.saturating_sub(label + 1 + PREDICTION + 12).max(8);
        let step = lens.layers.len().div_ceil(room).max(1);
        let (before, after) = match self.paint {
            Paint::Plain => ('.', '#'),
            _ => ('·', '█'),
        };
        for (row, from) in lens.commitments().into_iter().enumerate() {
            let last = lens.said[row]
                .last()
                .expect("the last column is always there");
            let prediction = padded(&cut(&self.prediction(last), PREDICTION), PREDICTION);
            let bar = (0..lens.layers.len()).step_by(step);
            let bar: String = bar
                .map(|column| if column >= from { after } else { before })
                .collect();
            writeln!(
                text,
                "{} {prediction} from {:>3}  {bar}",
                self.label(row, label),
                lens.column(from),
            )
            .expect("a String");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::terminal::bare;
    use super::*;
    use crate::maps::{Lens, Standing};
    use crate::runtime::Token;
    use unicode_width::UnicodeWidthStr;

    const TEXTS: [&str; 3] = [" Paris", "日本日本日本\u{1b}", "\n"];

    fn lens(answer: bool) -> Lens {
        let said = |top: usize, probability: f64| Said {
            top: vec![(Token(top as i32), probability.ln())],
            entropy: 1.0,
            answer: answer.then_some(Standing {
                logprob: probability.ln(),
                rank: 1,
            }),
        };
        Lens {
            layers: (0..=30).collect(),
            positions: vec![0, 1],
            said: vec![
                (0..=30).map(|n| said(usize::from(n < 24), 0.9)).collect(),
                (0..=30).map(|n| said(2 - n % 2, 0.001)).collect(),
            ],
        }
    }

    #[test]
    fn it_fits_the_terminal_and_colours_take_no_room() {
        let tokens = [" the capital of the world", "日本\u{1b}"].map(|text| (1, text.into()));
        for answer in [false, true] {
            let lens = lens(answer);
            let picture = LensPicture {
                lens: &lens,
                tokens: &tokens,
                title: "a title".into(),
                answer: answer.then(|| " Paris".to_string()),
                text_of: &|token| TEXTS[token.0 as usize].into(),
            };
            for columns in [60, 80, 200] {
                let plain = text(&picture, Some(columns), Paint::Plain);
                assert!(
                    plain.lines().all(|line| line.width() <= columns.max(89)),
                    "{plain}"
                );
                let rows = plain.lines().skip(3);
                assert!(rows.clone().all(|line| line.width() <= columns), "{plain}");
                for paint in [Paint::True, Paint::Palette] {
                    let painted = text(&picture, Some(columns), paint);
                    assert!(painted.contains("\x1b[48;"), "{painted}");
                    let bare = bare(&painted);
                    assert_eq!(bare.lines().count(), plain.lines().count());
                    assert!(bare.lines().skip(3).all(|line| line.width() <= columns));
                }
            }
            let wide = text(&picture, None, Paint::Plain);
            assert!(!wide.contains('\x1b'), "{wide}");
            let first = wide.lines().find(|line| line.contains("from  24")).unwrap();
            let bar = format!("{}{}", ".".repeat(24), "#".repeat(7));
            assert!(first.ends_with(&bar) && first.contains("␣Paris"), "{first}");
            assert!(wide.contains("\\n") && wide.contains("from out"), "{wide}");
            let row = wide.lines().nth(4).unwrap();
            match answer {
                // Nine in ten is in the last quarter, all the way.
                true => assert_eq!(row.matches('@').count(), 31, "{row}"),
                false => assert_eq!(row.matches("*␣Paris").count(), 7, "{row}"),
            }
        }
    }
}
