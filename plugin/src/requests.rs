//! Which texts go through the host, told from the positions and outputs of its rows alone.

use std::collections::VecDeque;
use std::ops::Range;

/// One row of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its position in its text.
    pub position: u32,
    /// Whether its logits are wanted.
    pub output: bool,
}

/// What a run of rows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A prompt or a piece of one, with the number of its text from 1.
    Prompt(u64),
    /// A token that follows an output.
    Generated,
    /// A text too short to be meant.
    WarmUp,
}

/// Rows of one text, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which rows of the evaluation.
    pub rows: Range<usize>,
    /// What they are.
    pub part: Part,
}

/// Two unfinished texts would both go on with these rows.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "several unfinished texts go on at position {0}, and which one these rows belong to cannot be told"
)]
pub struct Ambiguous(pub u32);

/// Texts so far.
///
/// A text's rows have rising positions without gaps, and its pieces are in order. Where logits
/// are wanted, a text (or its prompt) ends: what follows there is generated. So a run of rows
/// ends at a gap and after an output.
#[derive(Debug, Default)]
pub struct Texts {
    count: u64,
    /// Prompts of which a piece is still to come: next position, number.
    open: VecDeque<(u32, u64)>,
    /// Positions right after outputs.
    ends: VecDeque<u32>,
}

/// More than a host has sequences (256 in llama.cpp).
const REMEMBERED: usize = 1024;

impl Texts {
    /// The number that the next new text gets.
    pub fn next_number(&self) -> u64 {
        self.count + 1
    }

    /// Whether these rows are more than tokens that follow outputs, so that [`Self::add`] may
    /// count a new text.
    pub fn may_begin(&self, rows: &[Row]) -> bool {
        runs(rows).any(|run| !self.is_generated(&rows[run]))
    }

    fn is_generated(&self, rows: &[Row]) -> bool {
        rows.len() == 1 && rows[0].output && self.ends.contains(&rows[0].position)
    }

    /// Says what the rows of an evaluation are. A text that begins at position 0, has fewer than
    /// `shortest` tokens and asks for logits is a warm-up.
    ///
    /// # Errors
    /// [`Ambiguous`]; the rows are forgotten then.
    pub fn add(&mut self, rows: &[Row], shortest: usize) -> Result<Vec<Run>, Ambiguous> {
        runs(rows)
            .map(|run| {
                let part = self.part(&rows[run.clone()], shortest)?;
                Ok(Run { rows: run, part })
            })
            .collect()
    }

    fn part(&mut self, rows: &[Row], shortest: usize) -> Result<Part, Ambiguous> {
        let (first, last) = (rows[0].position, rows[rows.len() - 1]);
        let follows = last.position + 1;
        if self.is_generated(rows) {
            self.ends.retain(|end| *end != first);
            remember(&mut self.ends, follows);
            return Ok(Part::Generated);
        }
        let mut open = (0..self.open.len()).filter(|n| self.open[*n].0 == first);
        let number = match (open.next(), open.next()) {
            (Some(_), Some(_)) => return Err(Ambiguous(first)),
            (Some(n), None) => self.open.remove(n).map(|(_, number)| number),
            (None, _) if first == 0 && last.output && rows.len() < shortest => {
                remember(&mut self.ends, follows);
                return Ok(Part::WarmUp);
            }
            (None, _) => None,
        };
        let number = number.unwrap_or_else(|| {
            self.count += 1;
            self.count
        });
        if last.output {
            remember(&mut self.ends, follows);
        } else {
            remember(&mut self.open, (follows, number));
        }
        Ok(Part::Prompt(number))
    }
}

fn remember<T: PartialEq>(into: &mut VecDeque<T>, what: T) {
    if !into.contains(&what) {
        into.push_back(what);
    }
    if into.len() > REMEMBERED {
        into.pop_front();
    }
}

/// Rows with rising positions without gaps, up to an output.
fn runs(rows: &[Row]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = start;
        if first >= rows.len() {
            return None;
        }
        let goes_on = |n: &usize| {
            let (before, row) = (rows[*n - 1], rows[*n]);
            !before.output && row.position == before.position + 1
        };
        start = 1
            + (first + 1..rows.len())
                .take_while(goes_on)
                .last()
                .unwrap_or(first);
        Some(first..start)
    })
}
