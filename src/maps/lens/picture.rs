//! A logit lens for others: a figure, or a row a state.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::super::page;
use super::super::picture::{id, real, write_as};
use super::svg::svg;
use super::{Lens, Said};
use crate::export::{Column, ColumnKind, Sheet, Value};
use crate::maps::Form;
use crate::runtime::Token;

/// A logit lens with what it is of.
pub struct LensPicture<'l> {
    /// The lens.
    pub lens: &'l Lens,
    /// The token of each row: its id and its text.
    pub tokens: &'l [(i32, String)],
    /// What it shows.
    pub title: String,
    /// The answer that was followed.
    pub answer: Option<String>,
    /// The text of a token.
    pub text_of: &'l dyn Fn(Token) -> String,
}

/// A state.
#[derive(Serialize)]
struct Row<'l> {
    position: u32,
    token: i32,
    text: &'l str,
    /// The layer that the state enters; the number of layers where it leaves the last one.
    layer: u32,
    /// The likeliest next token.
    top_token: i32,
    top_text: String,
    top_logprob: f64,
    /// Whether it is the model's own prediction, here and at all further layers.
    stays: bool,
    /// Nats.
    entropy: f64,
    /// Of the answer, null where none was followed.
    answer_logprob: Option<f64>,
    answer_rank: Option<usize>,
}

/// A state with the likeliest tokens of all that are kept.
#[derive(Serialize)]
struct Whole<'l> {
    #[serde(flatten)]
    row: Row<'l>,
    top: Vec<Top>,
}

#[derive(Serialize)]
struct Top {
    token: i32,
    text: String,
    logprob: f64,
}

impl LensPicture<'_> {
    /// The lens in a form.
    pub fn text(&self, form: Form) -> String {
        match form {
            Form::Svg => svg(self),
            Form::Csv => self.csv(),
            Form::Jsonl => self.jsonl(),
            Form::Html => page::of_lens(self),
        }
    }

    /// Writes it as the file's ending says; a file that is there is replaced once all is written.
    ///
    /// # Errors
    /// The system's, and an ending that names no form.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        write_as(file, |form| self.text(form), || self.parquet())
    }

    /// How dark a state's cell is: the probability of the answer, where one is followed, else that
    /// of the likeliest token.
    pub fn share(&self, said: &Said) -> f64 {
        let answer = said.answer.map(|standing| standing.logprob);
        answer.unwrap_or(said.top[0].1).exp()
    }

    fn rows(&self) -> impl Iterator<Item = (Row<'_>, &Said)> {
        let lens = self.lens;
        let tokens = lens.positions.iter().zip(self.tokens);
        let rows = tokens.zip(lens.said.iter().zip(lens.commitments()));
        rows.flat_map(move |((&position, (token, text)), (said, from))| {
            let columns = lens.layers.iter().zip(said).enumerate();
            columns.map(move |(column, (&layer, said))| {
                let (top, logprob) = said.top[0];
                let row = Row {
                    position,
                    token: *token,
                    text,
                    layer,
                    top_token: top.0,
                    top_text: (self.text_of)(top),
                    top_logprob: logprob,
                    stays: column >= from,
                    entropy: said.entropy,
                    answer_logprob: said.answer.map(|answer| answer.logprob),
                    answer_rank: said.answer.map(|answer| answer.rank),
                };
                (row, said)
            })
        })
    }

    fn jsonl(&self) -> String {
        let top = |(token, logprob): &(Token, f64)| Top {
            token: token.0,
            text: (self.text_of)(*token),
            logprob: *logprob,
        };
        let whole = self.rows().map(|(row, said)| Whole {
            row,
            top: said.top.iter().map(top).collect(),
        });
        let line = |whole| serde_json::to_string(&whole).expect("plain data") + "\n";
        whole.map(line).collect()
    }

    /// The columns of the CSV.
    fn parquet(&self) -> Vec<u8> {
        let column = |name, kind| Column::new(name, kind, false);
        let columns = vec![
            column("position", ColumnKind::Whole),
            column("token", ColumnKind::Whole),
            column("text", ColumnKind::Text),
            column("layer", ColumnKind::Whole),
            column("top_token", ColumnKind::Whole),
            column("top_text", ColumnKind::Text),
            Column::new("top_logprob", ColumnKind::Real, true),
            column("stays", ColumnKind::Flag),
            Column::new("entropy", ColumnKind::Real, true),
            Column::new("answer_logprob", ColumnKind::Real, true),
            Column::new("answer_rank", ColumnKind::Whole, true),
        ];
        let rows: Vec<Row<'_>> = self.rows().map(|(row, _)| row).collect();
        let rows = rows.iter().map(|row| {
            let rank = row.answer_rank.and_then(|rank| u32::try_from(rank).ok());
            vec![
                Value::Whole(row.position),
                id(row.token),
                Value::Text(row.text),
                Value::Whole(row.layer),
                id(row.top_token),
                Value::Text(&row.top_text),
                real(Some(row.top_logprob)),
                Value::Flag(row.stays),
                real(Some(row.entropy)),
                real(row.answer_logprob),
                rank.map_or(Value::Null, Value::Whole),
            ]
        });
        let rows = rows.collect();
        Sheet { columns, rows }.parquet()
    }

    fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for (row, _) in self.rows() {
            writer.serialize(row).expect("a string takes any row");
        }
        let bytes = writer.into_inner().expect("a string takes any row");
        String::from_utf8(bytes).expect("rows are text")
    }
}
