//! One decode under interventions: which node is which, which row is which token.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::HookFault;
use super::anatomy::{Anatomy, CacheSite, Site};
use super::tensor::Tensor;
use crate::intervention::{Editor, States, Target};

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

/// What to keep of the layers of `layers`, of all rows of `sequence`.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// Inputs, keys or values.
    pub targets: Vec<Target>,
    /// The layers.
    pub layers: HashSet<u32>,
    /// The sequence.
    pub sequence: u32,
}

impl Capture {
    fn wants(&self, target: Target, layer: u32) -> bool {
        self.targets.contains(&target) && self.layers.contains(&layer)
    }
}

/// What was kept, after rewriting.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    /// States entering layers.
    pub inputs: States,
    /// Keys, all heads of a layer in a row.
    pub keys: States,
    /// Values, all heads of a layer in a row.
    pub values: States,
}

impl Captured {
    fn of(&mut self, target: Target) -> &mut States {
        match target {
            Target::Keys => &mut self.keys,
            Target::Values => &mut self.values,
            Target::Input | Target::Attention => &mut self.inputs,
        }
    }

    /// Takes over another's states.
    pub fn extend(&mut self, other: Self) {
        self.inputs.extend(other.inputs);
        self.keys.extend(other.keys);
        self.values.extend(other.values);
    }
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
    pub states: Captured,
    /// Tensors written to.
    pub touched: Vec<Touched>,
    /// Whether the token ids in the graph's own input were compared with the batch.
    pub tokens_proved: bool,
    /// Whether the positions in the graph's own input were compared with the batch.
    pub positions_proved: bool,
}

/// A part of a layer.
type Place = (Target, u32);

const TARGETS: [Target; 4] = [
    Target::Input,
    Target::Attention,
    Target::Keys,
    Target::Values,
];

/// The callback's state during one decode.
pub struct Pass {
    anatomy: Arc<Anatomy>,
    rows: Vec<Row>,
    capture: Option<Capture>,
    /// Ask index to the parts of layers that the node holds.
    wanted: BTreeMap<usize, Vec<Place>>,
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
        let mut wanted: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
        for layer in 0..anatomy.inputs.len() as u32 {
            for target in TARGETS {
                let captured = capture.as_ref().is_some_and(|c| c.wants(target, layer));
                if captured || editors.values().any(|e| e.needs(target, layer)) {
                    let site = site(&anatomy, (target, layer))?;
                    wanted.entry(site.index).or_default().push((target, layer));
                }
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
            Some(places) => {
                recognise(site(&self.anatomy, places[0])?, node)?;
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
        let Some(places) = self.wanted.get(&index).cloned() else {
            return Ok(());
        };
        for place in places {
            self.edit(place, node)?;
        }
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
        let rows = self.read(place, node, &mut buffer)?;
        let (target, layer) = place;
        let width = buffer.len() / rows.len().max(1);
        let part = match cache_site(&self.anatomy, place) {
            Some(cache) => cache.head,
            None => width,
        };
        let mut written = vec![false; rows.len()];
        for (n, row) in rows.iter().enumerate() {
            let values = &mut buffer[n * width..(n + 1) * width];
            if let Some(editor) = self.observed.editors.get_mut(&row.sequence) {
                let at = (row.position, row.prior);
                written[n] = editor.edit(target, layer, at, part, values)?;
            }
            if let Some(capture) = &self.capture
                && capture.sequence == row.sequence
                && capture.wants(target, layer)
            {
                let states = self.observed.states.of(target);
                states.insert(layer, row.position, &*values);
            }
        }
        let total = if cache_site(&self.anatomy, place).is_some() {
            for n in (0..rows.len()).filter(|n| written[*n]) {
                node.write_strided(n, rows.len(), &buffer[n * width..(n + 1) * width])?;
            }
            written.iter().filter(|w| **w).count()
        } else {
            write_back(node, &buffer, width, &written)?
        };
        if total > 0 {
            *self.written.entry(node.name()).or_default() += total;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Reads a node's rows and says which they are.
    fn read(
        &self,
        place: Place,
        node: Tensor<'_>,
        buffer: &mut Vec<f32>,
    ) -> Result<Vec<Row>, HookFault> {
        let micro_batch = self.micro_batch()?;
        if cache_site(&self.anatomy, place).is_some() {
            node.read_strided(micro_batch.len(), buffer)?;
            return Ok(micro_batch.to_vec());
        }
        let (_, found) = node.read_f32(buffer)?;
        let outputs = micro_batch.iter().filter(|row| row.output).count();
        if found == micro_batch.len() {
            Ok(micro_batch.to_vec())
        } else if found == outputs {
            Ok(micro_batch.iter().copied().filter(|r| r.output).collect())
        } else {
            Err(HookFault::RowCount {
                tensor: node.name(),
                found,
                rows: micro_batch.len(),
                outputs,
            })
        }
    }
}

/// Where keys or values are; `None` for the other parts of a layer.
fn cache_site(anatomy: &Anatomy, (target, layer): Place) -> Option<&CacheSite> {
    let sites = match target {
        Target::Keys => &anatomy.keys,
        Target::Values => &anatomy.values,
        Target::Input | Target::Attention => return None,
    };
    sites[layer as usize].as_ref()
}

fn site(anatomy: &Anatomy, place: Place) -> Result<&Site, HookFault> {
    let (target, layer) = place;
    let missing = |what| move || HookFault::NoCache(layer, what);
    let cache = cache_site(anatomy, place).map(|cache| &cache.site);
    match target {
        Target::Input => Ok(&anatomy.inputs[layer as usize]),
        Target::Attention => {
            let site = anatomy.attention[layer as usize].as_ref();
            site.ok_or(HookFault::NoAttention(layer))
        }
        Target::Keys => cache.ok_or_else(missing("keys")),
        Target::Values => cache.ok_or_else(missing("values")),
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
