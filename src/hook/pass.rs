//! One decode under interventions: which node is which, which row is which token.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::HookFault;
use super::anatomy::{Anatomy, Site};
use super::tensor::Tensor;
use crate::intervention::{Editor, States};

/// One row of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The sequence it belongs to.
    pub sequence: u32,
    /// Its position there.
    pub position: u32,
    /// Its token id.
    pub token: i32,
    /// Whether it is a prior token (false for the last token of its text).
    pub prior: bool,
    /// Whether its logits were asked for.
    pub output: bool,
}

/// States to keep: those entering the layers of `layers`, of all rows of `sequence`.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// Layers whose inputs are kept.
    pub layers: HashSet<u32>,
    /// The sequence.
    pub sequence: u32,
}

/// A tensor and how many of its rows were written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    /// The tensor's name in the graph.
    pub tensor: String,
    /// Rows written.
    pub rows: usize,
}

/// What a pass has to tell afterwards.
#[derive(Default)]
pub struct Observed {
    /// Editors, by sequence, with what they saved.
    pub editors: HashMap<u32, Editor>,
    /// Captured states.
    pub states: States,
    /// Tensors written to.
    pub touched: Vec<Touched>,
    /// Whether the token ids in the graph's own input were compared with the batch.
    pub tokens_proved: bool,
    /// Whether the positions in the graph's own input were compared with the batch.
    pub positions_proved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Input(u32),
    Attention(u32),
}

/// The callback's state during one decode.
pub struct Pass {
    anatomy: Arc<Anatomy>,
    rows: Vec<Row>,
    capture: Option<Capture>,
    /// Ask index to place.
    wanted: BTreeMap<usize, Place>,
    /// Next ask index within the evaluation.
    cursor: usize,
    /// First batch row of the micro-batch being evaluated, and its number of rows.
    offset: usize,
    n_rows: usize,
    written: BTreeMap<String, usize>,
    buffer: Vec<f32>,
    observed: Observed,
}

impl Pass {
    /// A pass over `rows` (in batch order) with an editor for some of the sequences.
    ///
    /// # Errors
    /// [`HookFault::NoAttention`] where attention should be skipped and cannot be.
    pub fn new(
        anatomy: Arc<Anatomy>,
        rows: Vec<Row>,
        editors: HashMap<u32, Editor>,
        capture: Option<Capture>,
    ) -> Result<Self, HookFault> {
        let mut wanted = BTreeMap::new();
        for (layer, site) in anatomy.inputs.iter().enumerate() {
            let layer = layer as u32;
            let captured = capture.as_ref().is_some_and(|c| c.layers.contains(&layer));
            if captured || editors.values().any(|e| e.needs_input(layer)) {
                wanted.insert(site.index, Place::Input(layer));
            }
        }
        for (layer, site) in anatomy.attention.iter().enumerate() {
            let layer = layer as u32;
            if editors.values().any(|e| e.needs_attention(layer)) {
                let site = site.as_ref().ok_or(HookFault::NoAttention(layer))?;
                wanted.insert(site.index, Place::Attention(layer));
            }
        }
        Ok(Self {
            anatomy,
            rows,
            capture,
            wanted,
            cursor: 0,
            offset: 0,
            n_rows: 0,
            written: BTreeMap::new(),
            buffer: Vec::new(),
            observed: Observed {
                editors,
                ..Observed::default()
            },
        })
    }

    /// The scheduler asks whether it should stop after `node`. Called once for each node of each
    /// evaluation, in order.
    ///
    /// # Errors
    /// [`HookFault`] when the graph or the order of rows is not what it should be.
    pub fn ask(&mut self, node: Tensor<'_>) -> Result<bool, HookFault> {
        let index = self.cursor;
        self.cursor += 1;
        if index == self.anatomy.tokens.index {
            self.n_rows = node.shape()[1] as usize;
            recognise(&self.anatomy.tokens, node)?;
            self.observed.tokens_proved = self.prove_rows(node, "token", |row| row.token)?;
        }
        if let Some(site) = &self.anatomy.positions
            && index == site.index
        {
            recognise(site, node)?;
            self.observed.positions_proved =
                self.prove_rows(node, "position", |row| row.position as i32)?;
        }
        let wanted = match self.wanted.get(&index) {
            None => false,
            Some(place) => {
                recognise(self.site(*place), node)?;
                true
            }
        };
        if self.cursor == self.anatomy.n_nodes && !wanted {
            self.end_evaluation();
        }
        Ok(wanted)
    }

    /// `node`, which was asked for, has been computed.
    ///
    /// # Errors
    /// [`HookFault`] when its rows are not what they should be.
    pub fn computed(&mut self, node: Tensor<'_>) -> Result<(), HookFault> {
        let index = self.cursor - 1;
        let Some(&place) = self.wanted.get(&index) else {
            return Ok(());
        };
        self.edit(place, node)?;
        if self.cursor == self.anatomy.n_nodes {
            self.end_evaluation();
        }
        Ok(())
    }

    /// After the decode: that every row of the batch went through.
    ///
    /// # Errors
    /// [`HookFault::RowTotal`], or what an editor missed.
    pub fn finish(mut self) -> Result<Observed, HookFault> {
        if self.offset != self.rows.len() || self.cursor != 0 {
            return Err(HookFault::RowTotal {
                found: self.offset,
                expected: self.rows.len(),
            });
        }
        for (sequence, editor) in &mut self.observed.editors {
            let rows: Vec<(u32, bool)> = self
                .rows
                .iter()
                .filter(|row| row.sequence == *sequence)
                .map(|row| (row.position, row.prior))
                .collect();
            editor.settle(&rows)?;
        }
        self.observed.touched = self
            .written
            .into_iter()
            .map(|(tensor, rows)| Touched { tensor, rows })
            .collect();
        Ok(self.observed)
    }

    fn end_evaluation(&mut self) {
        self.offset += self.n_rows;
        self.cursor = 0;
    }

    fn site(&self, place: Place) -> &Site {
        match place {
            Place::Input(layer) => &self.anatomy.inputs[layer as usize],
            Place::Attention(layer) => self.anatomy.attention[layer as usize]
                .as_ref()
                .expect("wanted only where there is one"),
        }
    }

    fn micro_batch(&self) -> Result<&[Row], HookFault> {
        self.rows
            .get(self.offset..self.offset + self.n_rows)
            .ok_or(HookFault::RowTotal {
                found: self.offset + self.n_rows,
                expected: self.rows.len(),
            })
    }

    /// Compares a row-by-row input of the graph with the batch. The input is read while its
    /// first consumer is only being asked about, so it has not been overwritten. False where
    /// the input is not in host memory.
    fn prove_rows(
        &self,
        node: Tensor<'_>,
        what: &'static str,
        expected: impl Fn(&Row) -> i32,
    ) -> Result<bool, HookFault> {
        let rows = self.micro_batch()?;
        let Some(input) = node.sources().nth(1) else {
            return Ok(false);
        };
        let Some(values) = input.read_i32_input(rows.len()) else {
            return Ok(false);
        };
        for (n, (row, found)) in rows.iter().zip(values).enumerate() {
            if expected(row) != found {
                return Err(HookFault::RowOrder {
                    row: n,
                    what,
                    found,
                    expected: expected(row),
                });
            }
        }
        Ok(true)
    }

    fn edit(&mut self, place: Place, node: Tensor<'_>) -> Result<(), HookFault> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let (width, found) = node.read_f32(&mut buffer)?;
        let micro_batch = self.micro_batch()?;
        let outputs = micro_batch.iter().filter(|row| row.output).count();
        let rows: Vec<Row> = if found == micro_batch.len() {
            micro_batch.to_vec()
        } else if found == outputs {
            micro_batch.iter().copied().filter(|r| r.output).collect()
        } else {
            return Err(HookFault::RowCount {
                tensor: node.name(),
                found,
                rows: micro_batch.len(),
                outputs,
            });
        };
        let mut written = vec![false; rows.len()];
        for (n, row) in rows.iter().enumerate() {
            let values = &mut buffer[n * width..(n + 1) * width];
            if let Some(editor) = self.observed.editors.get_mut(&row.sequence) {
                written[n] = match place {
                    Place::Input(layer) => {
                        editor.edit_input(layer, row.position, row.prior, values)?
                    }
                    Place::Attention(layer) => editor.edit_attention(layer, row.position, values),
                };
            }
            if let (Some(capture), Place::Input(layer)) = (&self.capture, place)
                && capture.sequence == row.sequence
                && capture.layers.contains(&layer)
            {
                self.observed.states.insert(layer, row.position, &*values);
            }
        }
        let total = write_back(node, &buffer, width, &written)?;
        if total > 0 {
            *self.written.entry(node.name()).or_default() += total;
        }
        self.buffer = buffer;
        Ok(())
    }
}

fn recognise(site: &Site, node: Tensor<'_>) -> Result<(), HookFault> {
    if node.op() == site.op && node.is_named(&site.name) {
        return Ok(());
    }
    Err(HookFault::GraphChanged {
        index: site.index,
        expected: site.name.clone(),
        found: node.name(),
    })
}

/// Writes the marked rows back, one transfer for each contiguous run. Returns how many.
fn write_back(
    node: Tensor<'_>,
    buffer: &[f32],
    width: usize,
    written: &[bool],
) -> Result<usize, HookFault> {
    let mut first = 0;
    let mut total = 0;
    while first < written.len() {
        let run = written[first..].iter().take_while(|w| **w).count();
        if run > 0 {
            node.write_rows(first, &buffer[first * width..(first + run) * width])?;
            total += run;
        }
        first += run.max(1);
    }
    Ok(total)
}
