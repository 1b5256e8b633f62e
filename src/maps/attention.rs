//! The attention view: what a head weighs each token's values by.

use std::io;
use std::path::Path;

use super::picture::{Form, Picture, id, real, write_as};
use super::{Down, Map};
use crate::engine::{EngineError, Planned, Prompt};
use crate::export::{Column, ColumnKind, Sheet, Value};
use crate::hook::Capture;
use crate::intervention::Target;

/// The weights of some heads.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// The heads.
    pub heads: Vec<Head>,
}

/// What one head of a layer weighs values by.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The layer.
    pub layer: u32,
    /// The head, a head of queries.
    pub head: u32,
    /// By token, then by the token that it looks at: probabilities, which sum to 1 (to less where
    /// the model has attention sinks of its own), 0 where it does not look.
    pub weights: Vec<Vec<f32>>,
}

impl Attention {
    /// Runs a prompt clean, in a context without flash attention, and keeps what some heads, as
    /// (layer, head), weigh values by.
    ///
    /// # Errors
    /// The engine's, and as a text what the model has not: a layer, a head.
    pub fn of(
        engine: &mut Planned,
        prompt: &Prompt,
        heads: &[(u32, u32)],
    ) -> Result<Result<Self, String>, EngineError> {
        let n_layer = engine.inspect().model().n_layer();
        if let Some((layer, _)) = heads.iter().find(|(layer, _)| *layer >= n_layer) {
            return Ok(Err(format!(
                "layer {layer} is out of range: layers are 0 to {}",
                n_layer - 1
            )));
        }
        let capture = Capture {
            targets: vec![Target::Mask],
            layers: heads.iter().map(|(layer, _)| *layer).collect(),
            ..Capture::default()
        };
        let captured = engine.captured_of_all(&prompt.tokens, &capture)?;
        let n = prompt.tokens.len();
        let of = |&(layer, head): &(u32, u32)| {
            let row = |at: usize| captured.weights.get(layer, at as u32);
            let Some(first) = row(n - 1) else {
                return Err(format!(
                    "layer {layer} has no attention, or none whose weights could be told apart in this architecture's graph"
                ));
            };
            let count = first.len() / n;
            if head as usize >= count {
                return Err(format!(
                    "layer {layer} has {count} heads, numbered from 0, so there is no head {head}"
                ));
            }
            let weights = (0..n).map(|at| {
                // A text longer than a batch has shorter rows at first.
                let all = row(at).unwrap_or_default();
                let seen = all.len() / count;
                let mut own = all[head as usize * seen..][..seen].to_vec();
                own.resize(n, 0.0);
                own
            });
            Ok(Head {
                layer,
                head,
                weights: weights.collect(),
            })
        };
        let heads: Result<Vec<Head>, String> = heads.iter().map(of).collect();
        Ok(heads.map(|heads| Self { heads }))
    }
}

impl Head {
    /// The weights as a map: the token that looks down, the one looked at across.
    pub fn map(&self) -> Map {
        let n = self.weights.len();
        let seen = |at: usize, weight: &f32, key: usize| {
            (key <= at || *weight != 0.0).then(|| f64::from(*weight))
        };
        let row = |(at, weights): (usize, &Vec<f32>)| {
            let weights = weights.iter().enumerate();
            weights.map(|(key, weight)| seen(at, weight, key)).collect()
        };
        Map {
            layers: (0..n as u32).collect(),
            down: Down::Tokens,
            rows: (0..n as u32).collect(),
            values: self.weights.iter().enumerate().map(row).collect(),
            clean: f64::NAN,
            corrupted: None,
            floor: 0.0,
            says: None,
        }
    }
}

/// Weights of heads with what they are of.
#[derive(Debug)]
pub struct AttentionPicture<'a> {
    /// The weights.
    pub attention: &'a Attention,
    /// The prompt's tokens: ids and texts.
    pub tokens: &'a [(i32, String)],
    /// The model.
    pub model: String,
}

impl AttentionPicture<'_> {
    /// One head as a picture of a map, which [`Head::map`] made.
    pub fn picture<'p>(&'p self, head: &Head, map: &'p Map) -> Picture<'p> {
        Picture {
            map,
            tokens: self.tokens,
            title: format!(
                "{}: attention of layer {}, head {}",
                self.model, head.layer, head.head
            ),
            measure: "weight of the token at a position (across) for a token (down)",
            across: "position",
            change: false,
            over: None,
        }
    }

    /// Refuses a file that cannot hold what is shown.
    ///
    /// # Errors
    /// A figure or a page of several heads.
    pub fn check(file: &Path, heads: usize) -> Result<(), String> {
        let form = Form::of(file);
        match form {
            Ok(Form::Svg | Form::Html) if heads > 1 => Err(format!(
                "{}: a figure shows one head; name one, or write .csv, .jsonl or .parquet",
                file.display()
            )),
            _ => Form::check(file),
        }
    }

    /// In a form; a figure and a page show the first head.
    pub fn text(&self, form: Form) -> String {
        match form {
            Form::Csv => self.sheet().csv(),
            Form::Jsonl => self.sheet().json_lines(),
            Form::Svg | Form::Html => {
                let head = &self.attention.heads[0];
                self.picture(head, &head.map()).text(form)
            }
        }
    }

    /// Writes it as the file's ending says; a file that is there is replaced once all is written.
    ///
    /// # Errors
    /// The system's, and an ending that names no form.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        write_as(file, |form| self.text(form), || self.sheet().parquet())
    }

    /// A row a pair of tokens, the second one not after the first.
    fn sheet(&self) -> Sheet<'_> {
        let column = |name, kind| Column::new(name, kind, false);
        let columns = vec![
            column("layer", ColumnKind::Whole),
            column("head", ColumnKind::Whole),
            column("position", ColumnKind::Whole),
            column("token", ColumnKind::Whole),
            column("text", ColumnKind::Text),
            column("at", ColumnKind::Whole),
            column("at_token", ColumnKind::Whole),
            column("at_text", ColumnKind::Text),
            Column::new("weight", ColumnKind::Real, true),
        ];
        let mut rows = Vec::new();
        for head in &self.attention.heads {
            for (position, values) in head.map().values.iter().enumerate() {
                for (at, weight) in values.iter().enumerate().filter(|(_, w)| w.is_some()) {
                    let (token, text) = &self.tokens[position];
                    let (at_token, at_text) = &self.tokens[at];
                    rows.push(vec![
                        Value::Whole(head.layer),
                        Value::Whole(head.head),
                        Value::Whole(position as u32),
                        id(*token),
                        Value::Text(text),
                        Value::Whole(at as u32),
                        id(*at_token),
                        Value::Text(at_text),
                        real(*weight),
                    ]);
                }
            }
        }
        Sheet { columns, rows }
    }
}
