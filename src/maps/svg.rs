//! A map as a figure: tokens or heads down, layers across.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::picture::Picture;
use crate::shown::visible;
use unicode_width::UnicodeWidthStr;

const CELL: (i32, i32) = (20, 20);
const LEFT: i32 = 150;
const TOP: i32 = 74;
/// Room for a letter of the title, and of the line below it.
const GLYPH: i32 = 8;
const SMALL_GLYPH: i32 = 7;
/// Drawing into a string cannot fail.
pub(super) const INFALLIBLE: &str = "an SVG string takes any drawing";

/// The map as SVG: red where the value is below zero, blue where it is above, hatched where it does
/// not exceed the noise floor, empty where the manipulation has no place.
pub(super) fn svg(picture: &Picture<'_>) -> String {
    let map = picture.map;
    let mut below_title = match picture.change {
        true => format!("change of the {}", picture.measure),
        false => picture.measure.to_string(),
    };
    let mut places = (0..map.values.len()).flat_map(|r| (0..map.layers.len()).map(move |c| (r, c)));
    if places.any(|(row, column)| is_hatched(picture, row, column)) {
        below_title.push_str("; hatched: no more than rounding");
        if picture.over.is_some() {
            below_title.push_str(", or zero in the interval");
        }
    }
    let size = (
        (LEFT + CELL.0 * map.layers.len() as i32 + 110)
            .max(480)
            .max(24 + GLYPH * visible(&picture.title).width() as i32)
            .max(24 + SMALL_GLYPH * below_title.width() as i32) as u32,
        (TOP + CELL.1 * map.rows.len() as i32 + 24) as u32,
    );
    let most = map.largest();
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, size).into_drawing_area();
        root.fill(&WHITE).expect(INFALLIBLE);
        let put = |text: String, at: (i32, i32), style: &TextStyle<'_>| {
            root.draw(&Text::new(text, at, style.clone()))
                .expect(INFALLIBLE);
        };
        put(
            visible(&picture.title).into_owned(),
            (12, 18),
            &style(14, HPos::Left),
        );
        put(below_title, (12, 38), &style(12, HPos::Left));
        put(
            picture.across.into(),
            (LEFT - 8, TOP - 12),
            &style(12, HPos::Right),
        );
        for (column, layer) in map.layers.iter().enumerate() {
            let x = LEFT + CELL.0 * column as i32 + CELL.0 / 2;
            if column % 2 == 0 {
                put(layer.to_string(), (x, TOP - 12), &style(11, HPos::Center));
            }
        }
        for (row, values) in map.values.iter().enumerate() {
            let y = TOP + CELL.1 * row as i32;
            put(
                picture.label(row),
                (LEFT - 8, y + CELL.1 / 2),
                &style(12, HPos::Right),
            );
            for (column, value) in values.iter().enumerate() {
                let x = LEFT + CELL.0 * column as i32;
                let Some(value) = value else { continue };
                let corners = [(x, y), (x + CELL.0 - 1, y + CELL.1 - 1)];
                let (red, green, blue) = colour(*value, most);
                let cell = Rectangle::new(corners, RGBColor(red, green, blue).filled());
                root.draw(&cell).expect(INFALLIBLE);
                if is_hatched(picture, row, column) {
                    for line in hatching((x, y)) {
                        let line = PathElement::new(line, RGBColor(150, 150, 150).stroke_width(1));
                        root.draw(&line).expect(INFALLIBLE);
                    }
                }
            }
        }
        let x = LEFT + CELL.0 * map.layers.len() as i32 + 16;
        let below = map
            .values
            .iter()
            .flatten()
            .flatten()
            .any(|value| *value < 0.0);
        // What is no change and never below zero has no colours there.
        let shown = if picture.change || below { 5 } else { 3 };
        let scale = [most, most / 2.0, 0.0, -most / 2.0, -most];
        for (n, value) in scale.into_iter().take(shown).enumerate() {
            let y = TOP + CELL.1 * n as i32;
            let (red, green, blue) = colour(value, most);
            let corners = [(x, y), (x + 14, y + CELL.1 - 1)];
            let cell = Rectangle::new(corners, RGBColor(red, green, blue).filled());
            root.draw(&cell).expect(INFALLIBLE);
            let text = format!("{value:+.2}").replace("+0.00", "0");
            put(text, (x + 20, y + CELL.1 / 2), &style(11, HPos::Left));
        }
        root.present().expect(INFALLIBLE);
    }
    out
}

/// Whether a cell has a value that is no more than rounding.
fn is_hatched(picture: &Picture<'_>, row: usize, column: usize) -> bool {
    picture.map.values[row][column].is_some() && picture.is_none(row, column)
}

/// Three lines across a cell, from the left below to the right above.
fn hatching((x, y): (i32, i32)) -> [[(i32, i32); 2]; 3] {
    let (right, bottom) = (x + CELL.0 - 1, y + CELL.1 - 1);
    let (middle, half) = (x + CELL.0 / 2, y + CELL.1 / 2);
    [
        [(x, half), (middle, y)],
        [(x, bottom), (right, y)],
        [(middle, bottom), (right, half)],
    ]
}

/// Black text of a size, in the middle of its line.
pub(super) fn style(size: i32, across: HPos) -> TextStyle<'static> {
    let pos = Pos::new(across, VPos::Center);
    ("sans-serif", size).into_font().color(&BLACK).pos(pos)
}

/// The colour of a value, white at zero: red below, blue above (colours that people who cannot
/// tell red from green can tell apart).
pub fn colour(value: f64, most: f64) -> (u8, u8, u8) {
    let share = (value.abs() / most.max(1e-12)).clamp(0.0, 1.0);
    let full = if value < 0.0 {
        (178.0, 24.0, 43.0)
    } else {
        (33.0, 102.0, 172.0)
    };
    let mix = |to: f64| (255.0 + (to - 255.0) * share).round() as u8;
    (mix(full.0), mix(full.1), mix(full.2))
}
