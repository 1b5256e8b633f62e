//! Rewrites the rows of a node that has been computed.

use std::collections::BTreeMap;

use super::Pass;
use super::place::{Place, write_back};
use crate::hook::graph::Role;
use crate::hook::node::Node;
use crate::hook::sabotage::Sabotage;
use crate::hook::{HookFault, Row};
use crate::intervention::{Shown, Target};

/// The rows of a part of a layer while they are edited.
pub(super) struct Edit<'g> {
    pub node: Node<'g>,
    pub place: Place,
    /// Whether the node has nothing to be read: all of its rows are given.
    pub given: bool,
    /// Which rows they are, each with its index in the batch.
    pub rows: Vec<(usize, Row)>,
    /// What they hold, one row of `width` after the other.
    pub values: Vec<f32>,
    pub width: usize,
    /// Where rows are given: for each row see [`Pass`]'s field of this name.
    pub kept: Vec<Option<usize>>,
    /// Which rows go back into the node.
    pub written: Vec<bool>,
    /// Which rows count as manipulated.
    pub manipulated: Vec<bool>,
}

impl Edit<'_> {
    fn row(&self, n: usize) -> &[f32] {
        &self.values[n * self.width..(n + 1) * self.width]
    }
}

impl Pass {
    /// Rewrites the rows of a part of a layer, which the node with ask index `index` holds.
    ///
    /// # Errors
    /// [`HookFault`] for a node of another shape, a state that is not there, and what an editor
    /// refuses.
    pub(super) fn edit(
        &mut self,
        index: usize,
        place: Place,
        node: Node<'_>,
    ) -> Result<(), HookFault> {
        let mut edit = self.begin(index, place, node)?;
        self.hold(&mut edit)?;
        self.let_editors_rewrite(&mut edit)?;
        self.keep_captured(&edit);
        self.count_manipulated(&edit);
        self.skip_if_sabotaged(&mut edit);
        self.write(&edit)?;
        self.end(edit);
        Ok(())
    }

    /// Finds the rows, and reads them where anything depends on what they hold.
    fn begin<'g>(
        &mut self,
        index: usize,
        place: Place,
        node: Node<'g>,
    ) -> Result<Edit<'g>, HookFault> {
        let mut values = std::mem::take(&mut self.buffer);
        let mut kept = std::mem::take(&mut self.kept);
        let given = self.course.role(index) == Role::Given && !self.is_there_already(place);
        let rows = if given || self.is_only_held(place) {
            self.make_room(place, node, &mut values, &mut kept)?
        } else {
            kept.clear();
            self.read_needed(place, node, &mut values)?
        };
        Ok(Edit {
            node,
            place,
            given,
            width: values.len() / rows.len().max(1),
            written: vec![given; rows.len()],
            manipulated: vec![false; rows.len()],
            rows,
            values,
            kept,
        })
    }

    /// Makes the buffer as large as the node, of which nothing is read. States that it holds from
    /// the layer below stay in it.
    fn make_room(
        &self,
        (target, _): Place,
        node: Node<'_>,
        values: &mut Vec<f32>,
        kept: &mut Vec<Option<usize>>,
    ) -> Result<Vec<(usize, Row)>, HookFault> {
        let (width, found) = node.rows_f32()?;
        if target != Target::Input || values.len() != width * found {
            values.clear();
            values.resize(width * found, 0.0);
            kept.clear();
        }
        kept.resize(found, None);
        self.rows_of(*node, found)
    }

    /// Reads the rows that are needed, and counts what passed.
    fn read_needed(
        &mut self,
        place: Place,
        node: Node<'_>,
        values: &mut Vec<f32>,
    ) -> Result<Vec<(usize, Row)>, HookFault> {
        let rows = self.read(place, *node, self.read_from(place), values)?;
        self.observed.traffic.read += size_of_val(&values[..]) as u64;
        Ok(rows)
    }

    /// The first position of which a place's rows are needed: all rows but where they are only kept.
    fn read_from(&self, (target, layer): Place) -> u32 {
        let editors = &mut self.observed.editors.values();
        if self.resume.is_some() || editors.any(|editor| editor.needs(target, layer)) {
            return 0;
        }
        self.capture.as_ref().map_or(0, |capture| capture.from)
    }

    /// Shows each sequence's editor its rows.
    fn let_editors_rewrite(&mut self, edit: &mut Edit<'_>) -> Result<(), HookFault> {
        let (target, layer) = edit.place;
        if layer >= self.n_layer() || edit.width == 0 {
            return Ok(());
        }
        let anatomy = &self.course.anatomy;
        let part = anatomy.width_of_head(target, layer).unwrap_or(edit.width);
        let rows = &edit.rows;
        for (sequence, editor) in &mut self.observed.editors {
            let of_sequence = |n: &usize| rows[*n].1.sequence == *sequence;
            let at: Vec<usize> = (0..rows.len()).filter(of_sequence).collect();
            let values = edit.values.chunks_exact_mut(edit.width).zip(rows);
            let shown = values.filter(|(_, (_, row))| row.sequence == *sequence);
            let shown = shown.map(|(values, (_, row))| Shown {
                position: row.position,
                prior: row.prior,
                values,
            });
            let mut shown: Vec<Shown<'_>> = shown.collect();
            let edited = editor.edit(target, layer, part, &mut shown)?;
            for (n, edited) in at.into_iter().zip(edited) {
                edit.written[n] |= edited;
                edit.manipulated[n] |= edited;
                if edited && let Some(kept) = edit.kept.get_mut(n) {
                    *kept = None;
                }
            }
        }
        Ok(())
    }

    /// Keeps what was asked for, as it is after rewriting.
    fn keep_captured(&mut self, edit: &Edit<'_>) {
        let (target, layer) = edit.place;
        let capture = self.capture.as_ref();
        let Some(capture) = capture.filter(|capture| capture.wants(target, layer)) else {
            return;
        };
        for (n, (_, row)) in edit.rows.iter().enumerate() {
            if row.position >= capture.from {
                let states = self.observed.states.entry(row.sequence).or_default();
                let states = states.of_mut(target);
                states.insert(layer, row.position, edit.row(n));
            }
        }
    }

    /// Notes how many rows of each sequence were manipulated in the node.
    fn count_manipulated(&mut self, edit: &Edit<'_>) {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        let rows = edit.rows.iter().zip(&edit.manipulated);
        for ((_, row), _) in rows.filter(|(_, manipulated)| **manipulated) {
            *counts.entry(row.sequence).or_default() += 1;
        }
        for (sequence, rows) in counts {
            let tensor = (sequence, edit.node.name());
            *self.manipulated.entry(tensor).or_default() += rows;
        }
    }

    fn skip_if_sabotaged(&self, edit: &mut Edit<'_>) {
        let is_last = edit.place.1 + 1 == self.n_layer();
        if self.sabotage == Some(Sabotage::SiteSkipped) && is_last {
            edit.written.fill(false);
        }
    }

    /// Writes the marked rows into the node, and counts what passed.
    fn write(&mut self, edit: &Edit<'_>) -> Result<(), HookFault> {
        let (target, layer) = edit.place;
        let sent = if self.course.anatomy.cache_site(target, layer).is_some() {
            write_strided(edit)?
        } else {
            match self.copy_kept(edit)? {
                Some(sent) => sent,
                None => write_back(edit.node, &edit.values, edit.width, &edit.written)?,
            }
        };
        self.observed.traffic.written += (sent * edit.width * size_of::<f32>()) as u64;
        Ok(())
    }

    /// Under `freeze`, has a device copy the rows that it holds already. Returns how many were sent
    /// besides, or nothing where the node was not written to.
    fn copy_kept(&mut self, edit: &Edit<'_>) -> Result<Option<usize>, HookFault> {
        let frozen = edit.given && edit.place.0 == Target::Input && self.is_frozen();
        let held = self.observed.held.as_mut();
        match held.filter(|_| frozen && !edit.written.contains(&false)) {
            Some(held) => held.put(edit.node, &edit.values, &edit.kept),
            None => Ok(None),
        }
    }

    /// Gives the buffer back, with what it holds for the layer above.
    fn end(&mut self, mut edit: Edit<'_>) {
        if edit.place.0 != Target::Input {
            edit.kept.clear();
        }
        self.buffer = edit.values;
        self.kept = edit.kept;
    }
}

/// Writes the marked rows one by one into a node of the cache. Returns how many they are.
///
/// # Errors
/// [`HookFault`] for a node whose rows cannot be written.
fn write_strided(edit: &Edit<'_>) -> Result<usize, HookFault> {
    let written = || (0..edit.rows.len()).filter(|n| edit.written[*n]);
    for n in written() {
        edit.node.write_strided(n, edit.rows.len(), edit.row(n))?;
    }
    Ok(written().count())
}
