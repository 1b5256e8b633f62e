//! A map as one page of HTML that needs nothing else: a table of colours whose cells tell their
//! numbers and next tokens to the pointer, and what changed to a click.
//!
//! Prompts and tokens are text that anybody may have written: they reach the page escaped by the
//! template, or as JSON in which no `<` is left, and the script puts them in as text only.

use maud::{Markup, PreEscaped, html};
use serde::Serialize;

use super::picture::Picture;
use super::{LensPicture, Next};
use crate::report::html::{framed, in_script, style};
use crate::runtime::Token;
use crate::shown::visible;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What a cell tells.
#[derive(Serialize)]
struct Told {
    /// Where it is.
    place: String,
    /// Its numbers, a line each.
    numbers: Vec<String>,
    /// The likeliest next tokens.
    next: Vec<Line>,
}

/// A token that may come next: its text in quotes, its probability, and that in the clean run.
#[derive(Serialize)]
struct Line {
    text: String,
    here: f64,
    clean: Option<f64>,
}

/// A cell as it looks.
struct Cell {
    told: Told,
    /// From -1, the darkest below zero, to 1, the darkest above.
    share: f64,
    text: String,
    /// Whether it stands out.
    marked: bool,
    /// No more than rounding.
    hatched: bool,
}

struct Page {
    title: String,
    lead: String,
    legend: &'static str,
    across: &'static str,
    columns: Vec<String>,
    rows: Vec<(String, Vec<Option<Cell>>)>,
}

/// The page of a map.
pub(super) fn of_map(picture: &Picture<'_>) -> String {
    let map = picture.map;
    let most = map.largest().max(1e-12);
    let cell = |row: usize, column: usize| {
        let value = map.values[row][column]?;
        let is_none = picture.is_none(row, column);
        let label = picture.label(row);
        let says = map.says.iter().flat_map(|says| &says.cells[row][column]);
        Some(Cell {
            told: Told {
                place: format!("{label}, {} {}", picture.across, map.layers[column]),
                numbers: numbers(picture, row, column, value),
                next: says.map(line).collect(),
            },
            share: value / most,
            text: String::new(),
            marked: false,
            hatched: is_none,
        })
    };
    let row = |row: usize| {
        let cells = (0..map.layers.len()).map(|column| cell(row, column));
        (picture.label(row), cells.collect())
    };
    let what = match picture.change {
        true => format!("Change of the {}: {}", picture.measure, runs(picture)),
        false => format!("A cell is the {}.", picture.measure),
    };
    let values = map.values.iter().flatten().flatten();
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(*value), high.max(*value))
    });
    let what = format!("{what} Cells go from {low:.3} to {high:.3}.");
    Page {
        title: picture.title.clone(),
        lead: what,
        legend: match picture.over {
            Some(_) => {
                "Red is below zero, blue above. Hatched: no more than rounding, or zero is in its 95% interval. Empty: no place."
            }
            None if picture.change => {
                "Red is below zero, blue above. Hatched: no more than rounding. Empty: no place."
            }
            None => "The stronger the colour the larger; hatched: no more than rounding.",
        },
        across: picture.across,
        columns: map.layers.iter().map(ToString::to_string).collect(),
        rows: (0..map.rows.len()).map(row).collect(),
    }
    .html()
}

fn runs(picture: &Picture<'_>) -> String {
    let map = picture.map;
    let corrupted = map
        .corrupted
        .map_or(String::new(), |value| format!(", {value:.3} corrupted"));
    let over = match picture.over {
        Some(over) => format!(" on average over {} items", over.items.len()),
        None => String::new(),
    };
    format!("{:.3} clean{corrupted}{over}.", map.clean)
}

fn numbers(picture: &Picture<'_>, row: usize, column: usize, value: f64) -> Vec<String> {
    let map = picture.map;
    if !picture.change {
        return vec![format!("{value:.4}")];
    }
    let zero = map.corrupted.unwrap_or(map.clean);
    let mut numbers = vec![
        format!("{value:+.4}, from {zero:.4} to {:.4}", zero + value),
        format!("rounding alone: {:.1e}", map.floor),
    ];
    if let Some(over) = picture.over {
        let n = over.averaged.counts[row][column];
        numbers.push(match over.averaged.intervals[row][column] {
            Some((low, high)) => format!("{low:+.4} to {high:+.4} (95%, {n} items)"),
            None => format!("{n} item"),
        });
    }
    numbers
}

fn line(next: &Next) -> Line {
    Line {
        text: quoted(&next.text),
        here: next.logprob.exp(),
        clean: Some(next.clean.exp()),
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", visible(text))
}

/// The page of a lens.
pub(super) fn of_lens(picture: &LensPicture<'_>) -> String {
    let lens = picture.lens;
    let text = |token: Token| quoted(&(picture.text_of)(token));
    let rows = lens.said.iter().zip(picture.tokens).zip(lens.commitments());
    let rows = rows.map(|((said, (_, token)), from)| {
        let cells = said.iter().enumerate().map(|(column, said)| {
            let mut numbers = vec![format!("entropy {:.3} nats", said.entropy)];
            if let (Some(answer), Some(standing)) = (&picture.answer, said.answer) {
                let percent = 100.0 * standing.logprob.exp();
                numbers.push(format!(
                    "{} has {percent:.2} %, rank {}",
                    quoted(answer),
                    standing.rank
                ));
            }
            let next = said.top.iter().map(|(token, logprob)| Line {
                text: text(*token),
                here: logprob.exp(),
                clean: None,
            });
            Some(Cell {
                told: Told {
                    place: format!("{}, layer {}", quoted(token), lens.column(column)),
                    numbers,
                    next: next.collect(),
                },
                share: picture.share(said),
                text: match picture.answer {
                    Some(_) => String::new(),
                    None => text(said.likeliest()),
                },
                marked: column >= from,
                hatched: false,
            })
        });
        (quoted(token), cells.collect())
    });
    let lead = match &picture.answer {
        Some(answer) => format!(
            "A cell is the probability of {} as the next token.",
            quoted(answer)
        ),
        None => "A cell is the likeliest next token, the stronger its colour the likelier.".into(),
    };
    Page {
        title: picture.title.clone(),
        lead,
        legend: "Underlined: the prediction is on top from here on, at all further layers shown.",
        across: "layer",
        columns: (0..lens.layers.len()).map(|n| lens.column(n)).collect(),
        rows: rows.collect(),
    }
    .html()
}

impl Page {
    fn html(&self) -> String {
        let told: Vec<&Told> = (self.rows.iter())
            .flat_map(|(_, cells)| cells.iter().flatten().map(|cell| &cell.told))
            .collect();
        let json = serde_json::to_string(&told).expect("plain data");
        let data = html! { script #cells type="application/json" { (in_script(&json)) } };
        let style = PreEscaped(format!("{}{STYLE}", style()));
        let title = visible(&self.title);
        framed(&title, &style, &self.body().into_string(), &data, SCRIPT)
    }

    fn body(&self) -> Markup {
        let mut number = 0;
        let mut next = || {
            number += 1;
            number - 1
        };
        html! {
            header {
                p.overline { "midlayer map" }
                h1 { (visible(&self.title)) }
                p.lead { (visible(&self.lead)) }
            }
            main {
                figure.table {
                    div.scroll.map {
                        table {
                            thead { tr {
                                th scope="col" { (self.across) }
                                @for column in &self.columns { th scope="col" { (column) } }
                            } }
                            tbody {
                                @for (label, cells) in &self.rows {
                                    tr {
                                        th scope="row" { (visible(label)) }
                                        @for cell in cells {
                                            @match cell {
                                                None => td {},
                                                Some(cell) => (cell.html(next())),
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                    figcaption { (self.legend) " Click a cell for all that it tells; arrow keys move." }
                }
                section #told aria-live="polite" { p.muted { "No cell is chosen." } }
                noscript { p.notice { "What a cell tells needs JavaScript; colours do not." } }
            }
            div #tip role="tooltip" hidden {}
        }
    }
}

impl Cell {
    fn html(&self, number: usize) -> Markup {
        let pole = if self.share < 0.0 { "below" } else { "above" };
        let share = 100.0 * self.share.abs().min(1.0);
        let dark = if share > 55.0 { " dark" } else { "" };
        let marked = if self.marked { " marked" } else { "" };
        let hatched = if self.hatched { " hatched" } else { "" };
        html! {
            td class={ (pole) (dark) (marked) (hatched) } style={ "--s:" (format!("{share:.1}")) "%" }
                data-n=(number) tabindex="0" { (visible(&self.text)) }
        }
    }
}
