//! One decode under interventions: which node is which, which row is which token.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::HookFault;
use super::anatomy::Anatomy;
use super::asked::{Capture, Resume, Row};
use super::graph::Role;
use super::observed::{Observed, Touched};
use super::sabotage::Sabotage;
use super::site::Site;
use super::tensor::{Skipped, Tensor};
use crate::intervention::{Editor, Target};

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
    resume: Option<Resume>,
    /// This evaluation's nodes by ask index, where a part of the graph is computed.
    ids: Vec<usize>,
    /// This evaluation's nodes that are skipped.
    skipped: Vec<Skipped>,
    /// Ask index to the parts of layers that the node holds.
    wanted: BTreeMap<usize, Vec<Place>>,
    /// Next ask index within the evaluation.
    cursor: usize,
    /// First batch row of the micro-batch being evaluated, and its number of rows.
    offset: usize,
    n_rows: usize,
    manipulated: BTreeMap<(u32, String), usize>,
    buffer: Vec<f32>,
    observed: Observed,
    sabotage: Option<Sabotage>,
}

impl Pass {
    /// A pass over `rows` (in batch order) with an editor for some of the sequences, through
    /// the whole graph or, with `resume`, through a part of it.
    ///
    /// # Errors
    /// [`HookFault::NoAttention`], [`HookFault::NoCache`], [`HookFault::Joined`] or
    /// [`HookFault::Borrowed`] for what this graph has no place for.
    pub fn new(
        anatomy: Arc<Anatomy>,
        rows: Vec<Row>,
        mut editors: HashMap<u32, Editor>,
        capture: Option<Capture>,
        resume: Option<Resume>,
    ) -> Result<Self, HookFault> {
        for editor in editors.values_mut() {
            for intervention in editor.plan() {
                anatomy.admits(intervention)?;
            }
            editor.leave_out(|target, layer| anatomy.is_without(target, layer));
        }
        let mut wanted: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
        for layer in 0..anatomy.inputs.len() as u32 {
            for target in TARGETS {
                let captured = capture.as_ref().is_some_and(|c| c.wants(target, layer));
                let held = resume.as_ref().is_some_and(|resume| match target {
                    Target::Input => resume.holds(layer),
                    Target::Attention => {
                        let silent = resume.cut.silent && layer >= resume.cut.first;
                        silent && !anatomy.is_without(target, layer)
                    }
                    Target::Keys | Target::Values => false,
                });
                let edited = held || editors.values().any(|e| e.needs(target, layer));
                if captured || edited {
                    let site = match anatomy.site(target, layer) {
                        Ok(site) => site,
                        // What a layer does not have cannot be kept of it.
                        Err(_) if !edited => continue,
                        Err(fault) => return Err(fault),
                    };
                    let roles = resume.as_ref().map(|resume| &resume.roles);
                    if roles.is_some_and(|roles| roles[site.index] == Role::Dead) {
                        continue;
                    }
                    // A state that a layer below the cut shares with the first one above it.
                    let below = |r: &Resume| layer < r.cut.first && !r.cut.gives(layer);
                    if target == Target::Input && resume.as_ref().is_some_and(below) {
                        continue;
                    }
                    wanted.entry(site.index).or_default().push((target, layer));
                }
            }
        }
        Ok(Self {
            anatomy,
            rows,
            capture,
            resume,
            ids: Vec::new(),
            skipped: Vec::new(),
            wanted,
            cursor: 0,
            offset: 0,
            n_rows: 0,
            manipulated: BTreeMap::new(),
            buffer: Vec::new(),
            observed: Observed {
                editors,
                ..Observed::default()
            },
            sabotage: None,
        })
    }

    /// The same with a fault.
    pub fn sabotaged(mut self, sabotage: Option<Sabotage>) -> Self {
        self.sabotage = sabotage;
        self
    }

    /// A pass whose rows are one micro-batch, for a caller that recognises nodes itself and shows
    /// them with [`Self::show`].
    pub fn of_one_evaluation(mut self) -> Self {
        self.n_rows = self.rows.len();
        self
    }

    /// The nodes that it must be shown, by their index in the anatomy.
    pub fn sites(&self) -> impl Iterator<Item = usize> {
        self.wanted.keys().copied()
    }

    /// Checks that `node`, about to be computed, is the one recorded at `index`.
    ///
    /// # Errors
    /// [`HookFault::GraphChanged`].
    pub fn expect(&self, index: usize, node: Tensor<'_>) -> Result<(), HookFault> {
        match self.wanted.get(&index) {
            Some(places) => recognise(self.site(places[0])?, node),
            None => Ok(()),
        }
    }

    /// `node`, recorded at `index`, has been computed; its rows are edited.
    ///
    /// # Errors
    /// [`HookFault`] when its rows are not what they should be.
    pub fn show(&mut self, index: usize, node: Tensor<'_>) -> Result<(), HookFault> {
        for place in self.wanted.get(&index).cloned().unwrap_or_default() {
            self.edit(place, node)?;
        }
        Ok(())
    }

    /// After the evaluation: that every row named was touched (see [`Self::of_one_evaluation`]).
    ///
    /// # Errors
    /// What an editor missed.
    pub fn finish_evaluation(mut self) -> Result<Observed, HookFault> {
        self.end_evaluation();
        self.finish()
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
        let mut wanted = match self.wanted.get(&index) {
            None => false,
            Some(places) => {
                recognise(self.site(places[0])?, node)?;
                true
            }
        };
        if self.resume.is_some() {
            self.follow(index, node)?;
            // The last node is waited for so that the graph can be put back in order.
            wanted |= self.cursor == self.anatomy.n_nodes;
        }
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
        self.show(self.cursor - 1, node)?;
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
        for ((sequence, tensor), rows) in std::mem::take(&mut self.manipulated) {
            let touched = self.observed.touched.entry(sequence).or_default();
            touched.push(Touched { tensor, rows });
        }
        Ok(std::mem::take(&mut self.observed))
    }

    /// Gives the skipped nodes their operations back.
    pub fn restore(&mut self) {
        for node in self.skipped.drain(..) {
            // SAFETY: nodes are put on the list while their evaluation is under way, and taken
            // off at its last node, at a fault within it, or right after the decode that ended
            // early, before the graph is built anew.
            unsafe { node.restore() };
        }
    }

    /// Checks that `node` is what was recorded at `index`, operands included, and skips it
    /// where it is not needed.
    fn follow(&mut self, index: usize, node: Tensor<'_>) -> Result<(), HookFault> {
        let changed = || HookFault::GraphChanged {
            index,
            expected: "the same operation on the same operands".into(),
            found: node.name(),
        };
        let recorded = self.anatomy.edges.nodes.get(index).ok_or_else(changed)?;
        let mut sources = node.sources();
        let same = recorded.sources.iter().all(|recorded| {
            sources.next().is_some_and(|source| match recorded {
                None => true,
                Some(n) => self.ids[*n] == source.id() || source.is_copy(),
            })
        });
        if recorded.op != node.op() || !same || sources.next().is_some() {
            return Err(changed());
        }
        self.ids.push(node.id());
        let resume = self.resume.as_ref().expect("the caller saw it");
        if resume.roles[index] != Role::Live {
            self.skipped.push(node.skip());
        }
        Ok(())
    }

    fn end_evaluation(&mut self) {
        self.restore();
        self.ids.clear();
        self.offset += self.n_rows;
        self.cursor = 0;
    }

    fn site(&self, (target, layer): Place) -> Result<&Site, HookFault> {
        self.anatomy.site(target, layer)
    }

    fn n_layer(&self) -> u32 {
        self.anatomy.inputs.len() as u32
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
        let (target, layer) = place;
        let roles = self.resume.as_ref().map(|resume| &resume.roles);
        let given = roles.is_some_and(|roles| roles[self.cursor - 1] == Role::Given)
            && !self.is_there_already(place);
        let rows = if given {
            let (width, found) = node.rows_f32()?;
            buffer.clear();
            buffer.resize(width * found, 0.0);
            self.rows_of(node, found)?
        } else {
            self.read(place, node, &mut buffer)?
        };
        let width = buffer.len() / rows.len().max(1);
        let part = match self.anatomy.cache_site(target, layer) {
            Some(cache) => cache.head,
            None => width,
        };
        let mut written = vec![given; rows.len()];
        for (n, (index, row)) in rows.iter().enumerate() {
            let values = &mut buffer[n * width..(n + 1) * width];
            let mut manipulated = false;
            if let Some(resume) = &self.resume {
                let start = &resume.starts[*index];
                if target == Target::Input && (given || start.from >= layer) {
                    let state = start.entering(layer, row.position)?;
                    if state.len() != width {
                        return Err(HookFault::NoState {
                            layer,
                            position: row.position,
                        });
                    }
                    values.copy_from_slice(state);
                    written[n] = true;
                    manipulated = start.frozen.is_some_and(|k| layer >= k);
                }
                manipulated |= target == Target::Attention && layer >= start.from;
            }
            if let Some(editor) = self.observed.editors.get_mut(&row.sequence) {
                let at = (row.position, row.prior);
                let edited = editor.edit(target, layer, at, part, values)?;
                written[n] |= edited;
                manipulated |= edited;
            }
            if let Some(capture) = &self.capture
                && capture.wants(target, layer)
            {
                let states = self.observed.states.entry(row.sequence).or_default();
                let states = states.of(target);
                states.insert(layer, row.position, &*values);
            }
            if manipulated {
                let key = (row.sequence, node.name());
                *self.manipulated.entry(key).or_default() += 1;
            }
        }
        if self.sabotage == Some(Sabotage::SiteSkipped) && layer + 1 == self.n_layer() {
            written.fill(false);
        }
        if self.anatomy.cache_site(target, layer).is_some() {
            for n in (0..rows.len()).filter(|n| written[*n]) {
                node.write_strided(n, rows.len(), &buffer[n * width..(n + 1) * width])?;
            }
        } else {
            write_back(node, &buffer, width, &written)?;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Whether the state entering a layer is that entering the layer below, and given there.
    fn is_there_already(&self, (target, layer): Place) -> bool {
        let inputs = &self.anatomy.inputs;
        let gives = |below: &u32| self.resume.as_ref().is_some_and(|r| r.cut.gives(*below));
        let below = layer.checked_sub(1).filter(gives);
        target == Target::Input
            && below.is_some_and(|b| inputs[b as usize].index == inputs[layer as usize].index)
    }

    /// Reads a node's rows and says which they are.
    fn read(
        &self,
        place: Place,
        node: Tensor<'_>,
        buffer: &mut Vec<f32>,
    ) -> Result<Vec<(usize, Row)>, HookFault> {
        if self.anatomy.cache_site(place.0, place.1).is_some() {
            let rows = self.micro_batch()?.len();
            node.read_strided(rows, buffer)?;
            return self.rows_of(node, rows);
        }
        let (_, found) = node.read_f32(buffer)?;
        self.rows_of(node, found)
    }

    /// Which rows of the batch a node with `found` rows holds, with their index in the batch.
    fn rows_of(&self, node: Tensor<'_>, found: usize) -> Result<Vec<(usize, Row)>, HookFault> {
        let micro_batch = self.micro_batch()?;
        let rows = (self.offset..).zip(micro_batch.iter().copied());
        let mut rows: Vec<_> = rows.collect();
        if self.sabotage == Some(Sabotage::RowsShifted) {
            rows.rotate_left(1);
        }
        let outputs = micro_batch.iter().filter(|row| row.output).count();
        if found == micro_batch.len() {
            Ok(rows)
        } else if found == outputs {
            rows.retain(|(_, row)| row.output);
            Ok(rows)
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

/// Writes the marked rows back, one transfer for each contiguous run.
fn write_back(
    node: Tensor<'_>,
    buffer: &[f32],
    width: usize,
    written: &[bool],
) -> Result<(), HookFault> {
    let mut first = 0;
    while first < written.len() {
        let run = written[first..].iter().take_while(|w| **w).count();
        if run > 0 {
            node.write_rows(first, &buffer[first * width..(first + run) * width])?;
        }
        first += run.max(1);
    }
    Ok(())
}
