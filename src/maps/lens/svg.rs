//! A logit lens as a figure: tokens down, layers across, in each cell the likeliest token.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::LensPicture;
use crate::maps::svg::{INFALLIBLE, colour, style};
use crate::shown::visible;

const CELL: (i32, i32) = (60, 20);
const LEFT: i32 = 110;
const TOP: i32 = 74;
const RIGHT: i32 = 84;
/// Characters of a token in a cell at most.
const CHARACTERS: usize = 9;
/// Characters of the token before a row at most.
const LABEL: usize = 14;

/// The lens as SVG: the darker the likelier the answer, or the token that is written there; a bar
/// where the prediction begins to stay, and beside each row that layer.
pub(super) fn svg(picture: &LensPicture<'_>) -> String {
    let (lens, tokens) = (picture.lens, picture.tokens);
    let columns = lens.layers.len() as i32;
    let size = (
        (LEFT + CELL.0 * columns + RIGHT).max(480) as u32,
        (TOP + CELL.1 * tokens.len() as i32 + 12) as u32,
    );
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, size).into_drawing_area();
        root.fill(&WHITE).expect(INFALLIBLE);
        let put = |text: &str, at: (i32, i32), style: &TextStyle<'_>| {
            root.draw(&Text::new(text, at, style.clone()))
                .expect(INFALLIBLE);
        };
        put(&visible(&picture.title), (12, 18), &style(14, HPos::Left));
        put(&visible(&legend(picture)), (12, 38), &style(12, HPos::Left));
        let heads = TOP - 12;
        put("layer", (LEFT - 8, heads), &style(12, HPos::Right));
        for column in 0..columns {
            let x = LEFT + CELL.0 * column + CELL.0 / 2;
            let name = lens.column(column as usize);
            put(&name, (x, heads), &style(11, HPos::Center));
        }
        let right = LEFT + CELL.0 * columns + 10;
        put("stays from", (right, heads), &style(12, HPos::Left));
        for (row, from) in lens.commitments().into_iter().enumerate() {
            let y = TOP + CELL.1 * row as i32;
            let middle = y + CELL.1 / 2;
            let token = cut(&format!("{:?}", visible(&tokens[row].1)), LABEL);
            put(&token, (LEFT - 8, middle), &style(12, HPos::Right));
            for (column, said) in lens.said[row].iter().enumerate() {
                let x = LEFT + CELL.0 * column as i32;
                let share = picture.share(said);
                let (red, green, blue) = colour(share, 1.0);
                let corners = [(x, y), (x + CELL.0 - 1, y + CELL.1 - 1)];
                let cell = Rectangle::new(corners, RGBColor(red, green, blue).filled());
                root.draw(&cell).expect(INFALLIBLE);
                if column == from {
                    let edge = [(x, y), (x + 3, y + CELL.1 - 1)];
                    let bar = Rectangle::new(edge, RGBColor(230, 97, 1).filled());
                    root.draw(&bar).expect(INFALLIBLE);
                }
                let ink = if share > 0.5 { WHITE } else { BLACK };
                let pos = Pos::new(HPos::Center, VPos::Center);
                let inked = ("sans-serif", 11).into_font().color(&ink).pos(pos);
                let text = cut(&written(&(picture.text_of)(said.likeliest())), CHARACTERS);
                put(&text, (x + CELL.0 / 2 + 1, middle), &inked);
            }
            put(&lens.column(from), (right, middle), &style(12, HPos::Left));
        }
        root.present().expect(INFALLIBLE);
    }
    out
}

fn legend(picture: &LensPicture<'_>) -> String {
    let of = match &picture.answer {
        Some(answer) => format!("that of {answer:?}"),
        None => "its probability".into(),
    };
    format!("the likeliest next token, the darker the higher {of}; a bar where it begins to stay")
}

/// A token's text on one line, with a mark for each space of any kind.
pub fn written(text: &str) -> String {
    let mut written = String::new();
    for c in text.chars() {
        match c {
            '\n' => written.push_str("\\n"),
            '\t' => written.push_str("\\t"),
            c if c.is_whitespace() => written.push('␣'),
            c => written.push(c),
        }
    }
    visible(&written).into_owned()
}

fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.into(),
    }
}
