//! A map that is not finished: what is computed of it lies in a file, and the same question goes on
//! from there.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::said::Next;
use super::{Question, Steps};
use crate::engine::{DonorStates, Prompt};
use crate::files::hex;
use crate::intervention::Site;
use crate::runtime::Token;

/// The cells of maps that are not finished, in a file with a line for each. Every line says of which
/// question it is, by a hash of all that its number depends on.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    /// What numbers depend on besides the question.
    source: String,
    done: HashMap<(String, Place), Done>,
    file: Option<File>,
    failed: Option<io::Error>,
}

/// What a map asks, where the map can go on after an interruption.
pub trait Keyed {
    /// A hash of all that its numbers depend on, `source` among it: the model's contents, the
    /// settings it runs with.
    fn key(&self, source: &str) -> String;
}

impl Keyed for Question<'_> {
    fn key(&self, source: &str) -> String {
        let mut hash = Sha256::new();
        let Question {
            prompt,
            kind,
            states,
            sites,
            seeds,
            layers,
            positions,
            down,
            corrupted,
            measure,
        } = self;
        let all = (source, ids(prompt), kind.to_string(), sites, seeds);
        hash.update(format!("{all:?}{layers:?}{positions:?}{down:?}{measure:?}"));
        if let Some(by) = corrupted {
            hash.update(format!("{}{}{:?}", by.kind, by.layer, by.positions));
        }
        add_states(&mut hash, sites, states.as_ref());
        hex(&hash.finalize())
    }
}

impl Keyed for Steps<'_> {
    fn key(&self, source: &str) -> String {
        let mut hash = Sha256::new();
        let Steps {
            prompt,
            followed,
            steps,
            kind,
            states,
            sites,
            extent,
            seeds,
            layers,
            tokens,
            kl,
        } = self;
        let all = (source, ids(prompt), kind.to_string(), sites, seeds);
        hash.update(format!("steps {all:?}{layers:?}{steps:?}{followed:?}"));
        hash.update(format!("{extent:?}{tokens:?}{kl}"));
        add_states(&mut hash, sites, states.as_ref());
        hex(&hash.finalize())
    }
}

fn ids(prompt: &Prompt) -> Vec<i32> {
    prompt.tokens.iter().map(|token| token.0).collect()
}

fn add_states(hash: &mut Sha256, sites: &[Site], states: Option<&DonorStates>) {
    let Some(states) = states else { return };
    for site in sites {
        let states = states.at(*site);
        let mut rows: Vec<_> = states.iter().collect();
        rows.sort_unstable_by_key(|(at, _)| *at);
        for (at, row) in rows {
            hash.update(format!("{at:?}"));
            row.iter().for_each(|x| hash.update(x.to_le_bytes()));
        }
    }
}

/// Which run of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Place {
    /// A cell, by row and layer.
    Cell(usize, usize),
    /// A state rewritten by itself, of the cell with this number.
    Control(usize),
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Done {
    /// The measure by seed; of a control by how much it moved.
    pub values: Vec<f64>,
    /// The likeliest next tokens: id, log-probability here and in the clean run.
    next: Vec<(i32, f64, f64)>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    question: String,
    place: Place,
    done: Done,
}

impl Done {
    pub fn new(values: Vec<f64>, next: &[Next]) -> Self {
        let next = next.iter();
        Self {
            next: next.map(|n| (n.token.0, n.logprob, n.clean)).collect(),
            values,
        }
    }

    pub fn next(&self) -> Vec<Next> {
        let next = self.next.iter();
        next.map(|&(id, logprob, clean)| Next {
            token: Token(id),
            text: String::new(),
            logprob,
            clean,
        })
        .collect()
    }

    /// Numbers that a line can hold.
    fn is_finite(&self) -> bool {
        let mut next = self.next.iter();
        let values = self.values.iter().all(|value| value.is_finite());
        values && next.all(|(_, logprob, clean)| logprob.is_finite() && clean.is_finite())
    }
}

/// What of a map is kept, while it is drawn.
pub(super) struct Keeping<'u> {
    unfinished: Option<(&'u mut Unfinished, String)>,
    /// What was there, with the numbers of the cells.
    pub before: Vec<(usize, Place, Done)>,
}

impl<'u> Keeping<'u> {
    pub fn new(unfinished: Option<&'u mut Unfinished>, question: &impl Keyed) -> Self {
        Self {
            unfinished: unfinished.map(|file| {
                let key = question.key(&file.source);
                (file, key)
            }),
            before: Vec::new(),
        }
    }

    /// Whether a run of the cell with this number is there; it is taken up then.
    pub fn has(&mut self, n: usize, place: Place) -> bool {
        let unfinished = self.unfinished.as_ref();
        let done = unfinished.and_then(|(file, key)| file.done.get(&(key.clone(), place)));
        self.before
            .extend(done.map(|done| (n, place, done.clone())));
        done.is_some()
    }

    /// Keeps what came out of a run.
    pub fn keep(&mut self, place: Place, done: Done) {
        if let Some((file, key)) = &mut self.unfinished {
            file.keep(key, place, done);
        }
    }
}

impl Unfinished {
    /// The file beside `out`, the file that a map will be written to. What it holds already is read;
    /// a line that was cut off is none. `source` is all that numbers depend on besides the question:
    /// the model's contents, the settings it runs with.
    ///
    /// # Errors
    /// The system's, but for a file that is not there.
    pub fn beside(out: &Path, source: &str) -> io::Result<Self> {
        let mut name = out.file_name().unwrap_or_default().to_os_string();
        name.push(".unfinished");
        let path = out.with_file_name(name);
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let done = lines.map(|line: Line| ((line.question, line.place), line.done));
        Ok(Self {
            done: done.collect(),
            source: source.to_string(),
            file: None,
            failed: None,
            path,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why what was computed last could not be kept; the map is drawn all the same.
    pub fn failed(&self) -> Option<&io::Error> {
        self.failed.as_ref()
    }

    /// How many cells of a question it holds.
    pub fn cells(&self, question: &impl Keyed) -> usize {
        let key = question.key(&self.source);
        let cells = self.done.keys();
        cells
            .filter(|(of, place)| *of == key && matches!(place, Place::Cell(..)))
            .count()
    }

    /// Takes the file away: the maps are written.
    ///
    /// # Errors
    /// The system's, but for a file that is not there.
    pub fn finish(self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn keep(&mut self, key: &str, place: Place, done: Done) {
        if self.failed.is_some() || !done.is_finite() {
            return;
        }
        let line = Line {
            question: key.to_string(),
            place,
            done,
        };
        if let Err(error) = self.write(&line) {
            self.failed = Some(error);
        }
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            self.file = Some(options.append(true).create(true).open(&self.path)?);
            // What was cut off before is a line of its own.
            text.insert(0, '\n');
        }
        let file = self.file.as_mut().expect("it is open");
        file.write_all(text.as_bytes())
    }
}
