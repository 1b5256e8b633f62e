//! Rewrites the rows of a node that has been computed.

use std::collections::BTreeMap;

use super::Pass;
use super::place::{Place, write_back};
use crate::hook::graph::Role;
use crate::hook::node::Node;
use crate::hook::sabotage::Sabotage;
use crate::hook::{HookFault, Row};
use crate::intervention::{Shown, Target};

impl Pass {
    /// Rewrites the rows of a part of a layer, which the node with ask index `index` holds.
    pub(super) fn edit(
        &mut self,
        index: usize,
        place: Place,
        node: Node<'_>,
    ) -> Result<(), HookFault> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let (target, layer) = place;
        let mut kept = std::mem::take(&mut self.kept);
        let given = self.course.role(index) == Role::Given && !self.is_there_already(place);
        let rows = if given || self.is_only_held(place) {
            let (width, found) = node.rows_f32()?;
            if target != Target::Input || buffer.len() != width * found {
                buffer.clear();
                buffer.resize(width * found, 0.0);
                kept.clear();
            }
            kept.resize(found, None);
            self.rows_of(*node, found)?
        } else {
            kept.clear();
            let from = self.read_from(place);
            let rows = self.read(place, *node, from, &mut buffer)?;
            self.observed.traffic.read += size_of_val(&buffer[..]) as u64;
            rows
        };
        let width = buffer.len() / rows.len().max(1);
        let by_head = self.course.anatomy.cache_site(target, layer).is_some();
        let part = match layer < self.n_layer() {
            true => self
                .course
                .anatomy
                .width_of_head(target, layer)
                .unwrap_or(width),
            false => width,
        };
        let mut written = vec![given; rows.len()];
        let mut manipulated: BTreeMap<u32, usize> = BTreeMap::new();
        let mut changed = vec![false; rows.len()];
        if self.resume.is_some() {
            for (n, (in_batch, row)) in rows.iter().enumerate() {
                let values = &mut buffer[n * width..(n + 1) * width];
                let kept = kept.get_mut(n);
                let held = self.hold(place, given, (*in_batch, row), values, kept)?;
                written[n] |= held.written;
                changed[n] = held.manipulated;
            }
        }
        if layer < self.n_layer() && width > 0 {
            for (sequence, editor) in &mut self.observed.editors {
                let of_sequence = |n: &usize| rows[*n].1.sequence == *sequence;
                let at: Vec<usize> = (0..rows.len()).filter(of_sequence).collect();
                let values = buffer.chunks_exact_mut(width).zip(&rows);
                let shown = values.filter(|(_, (_, row))| row.sequence == *sequence);
                let shown = shown.map(|(values, (_, row))| Shown {
                    position: row.position,
                    prior: row.prior,
                    values,
                });
                let mut shown: Vec<Shown<'_>> = shown.collect();
                let edited = editor.edit(target, layer, part, &mut shown)?;
                for (n, edited) in at.into_iter().zip(edited) {
                    written[n] |= edited;
                    changed[n] |= edited;
                    if edited && let Some(kept) = kept.get_mut(n) {
                        *kept = None;
                    }
                }
            }
        }
        for (n, (_, row)) in rows.iter().enumerate() {
            if let Some(capture) = &self.capture
                && capture.wants(target, layer)
                && row.position >= capture.from
            {
                let states = self.observed.states.entry(row.sequence).or_default();
                let values = &buffer[n * width..(n + 1) * width];
                states.of_mut(target).insert(layer, row.position, values);
            }
            if changed[n] {
                *manipulated.entry(row.sequence).or_default() += 1;
            }
        }
        for (sequence, rows) in manipulated {
            let touched = self.manipulated.entry((sequence, node.name())).or_default();
            *touched += rows;
        }
        if self.sabotage == Some(Sabotage::SiteSkipped) && layer + 1 == self.n_layer() {
            written.fill(false);
        }
        let sent = if by_head {
            let written = || (0..rows.len()).filter(|n| written[*n]);
            for n in written() {
                node.write_strided(n, rows.len(), &buffer[n * width..(n + 1) * width])?;
            }
            written().count()
        } else {
            let frozen = given && target == Target::Input && self.is_frozen();
            let held = self.observed.held.as_mut();
            let copied = match held.filter(|_| frozen && !written.contains(&false)) {
                Some(held) => held.put(node, &buffer, &kept)?,
                None => None,
            };
            match copied {
                Some(sent) => sent,
                None => write_back(node, &buffer, width, &written)?,
            }
        };
        self.observed.traffic.written += (sent * width * size_of::<f32>()) as u64;
        if target != Target::Input {
            kept.clear();
        }
        self.buffer = buffer;
        self.kept = kept;
        Ok(())
    }

    /// The first position of which a place's rows are needed: all rows but where they are only kept.
    fn read_from(&self, (target, layer): Place) -> u32 {
        let editors = &mut self.observed.editors.values();
        if self.resume.is_some() || editors.any(|editor| editor.needs(target, layer)) {
            return 0;
        }
        self.capture.as_ref().map_or(0, |capture| capture.from)
    }

    /// Whether all that happens to a state entering a layer is that some rows are written whole.
    fn is_only_held(&self, (target, layer): Place) -> bool {
        let editors = &mut self.observed.editors.values();
        target == Target::Input
            && self.resume.is_some()
            && !editors.any(|editor| editor.needs(target, layer))
            && !(self.capture.as_ref()).is_some_and(|capture| capture.wants(target, layer))
    }

    /// Whether rows are given that are the same in several layers.
    fn is_frozen(&self) -> bool {
        let starts = self.resume.iter().flat_map(|resume| &resume.starts);
        starts.into_iter().any(|start| start.frozen.is_some())
    }

    /// Whether the state entering a layer is that entering the layer below, and given there.
    fn is_there_already(&self, (target, layer): Place) -> bool {
        if layer == self.n_layer() {
            return false;
        }
        let inputs = &self.course.anatomy.inputs;
        let gives = |below: &u32| self.resume.as_ref().is_some_and(|r| r.cut.gives(*below));
        let below = layer.checked_sub(1).filter(gives);
        target == Target::Input
            && below.is_some_and(|b| inputs[b as usize].index == inputs[layer as usize].index)
    }

    /// Where a part of the graph is computed: puts the state in place that a row is held at.
    /// `kept` is the address of the state that the values are already: those of a frozen row are
    /// the same in all layers, and need no copying there.
    fn hold(
        &self,
        (target, layer): Place,
        given: bool,
        (in_batch, row): (usize, &Row),
        values: &mut [f32],
        kept: Option<&mut Option<usize>>,
    ) -> Result<Held, HookFault> {
        let mut held = Held::default();
        let Some(resume) = &self.resume else {
            return Ok(held);
        };
        let start = &resume.starts[in_batch];
        match target {
            Target::Input if given || start.from >= layer => {
                let state = start.entering(layer, row.position)?;
                if state.len() != values.len() {
                    return Err(HookFault::NoState {
                        layer,
                        position: row.position,
                    });
                }
                let address = Some(state.as_ptr() as usize);
                match kept {
                    Some(kept) if *kept == address => {}
                    Some(kept) => {
                        values.copy_from_slice(state);
                        *kept = address;
                    }
                    None => values.copy_from_slice(state),
                }
                held.written = true;
                held.manipulated = start.frozen.is_some_and(|k| layer >= k);
            }
            // It is given as zero.
            Target::Attention => held.manipulated = given && layer >= start.from,
            _ => {}
        }
        Ok(held)
    }
}

/// What became of a row.
#[derive(Default)]
struct Held {
    written: bool,
    manipulated: bool,
}
