//! Hides tokens from others: rewrites the mask of attention, layer by layer.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Pass;
use crate::hook::graph::Role;
use crate::hook::mask::Rows;
use crate::hook::node::Node;
use crate::hook::sabotage::Sabotage;
use crate::hook::{Anatomy, HookFault};
use crate::intervention::{Editor, Target};

/// What hiding needs of the graph.
#[derive(Default)]
pub(super) struct Hiding {
    /// Writes to caches that say which cell each row goes to, and the cache they are known by.
    pub(super) writes: BTreeMap<usize, u32>,
    /// Nodes after which a mask may be rewritten: all that reads it as it was has been computed.
    pub(super) barriers: BTreeSet<usize>,
    /// Nodes that attend, and their layers.
    pub(super) attends: BTreeMap<usize, u32>,
}

/// A mask of the evaluation at hand, as it came, and as it is now.
pub(super) struct Met {
    own: Rows,
    now: Rows,
}

impl Hiding {
    pub fn new(anatomy: &Anatomy, editors: &HashMap<u32, Editor>) -> Self {
        let layers = 0..anatomy.inputs.len() as u32;
        let hides = |layer: &u32| editors.values().any(|e| e.needs(Target::Mask, *layer));
        // Above what is hidden at some layers only, the mask is put back.
        let first = layers.clone().find(hides);
        let above = layers.filter(|layer| first.is_some_and(|first| *layer >= first));
        let sites =
            above.filter_map(|layer| Some((layer, anatomy.masks[layer as usize].as_ref()?)));
        let attends: BTreeMap<usize, u32> = sites.map(|(l, mask)| (mask.site.index, l)).collect();
        let masks = anatomy.masks.iter().flatten();
        Self {
            writes: masks.map(|mask| (mask.cells, mask.cache)).collect(),
            barriers: attends
                .values()
                .map(|layer| anatomy.inputs[*layer as usize].index)
                .collect(),
            attends,
        }
    }
}

impl Pass {
    /// Notes which cells the rows go to, and rewrites the mask of a node that is about to attend.
    /// Returns whether the evaluation must stop after the node.
    ///
    /// # Errors
    /// [`HookFault`] for a mask that is not what it should be.
    pub(super) fn see_cells_and_masks(
        &mut self,
        index: usize,
        node: Node<'_>,
    ) -> Result<bool, HookFault> {
        let role = self.course.role(index);
        if let Some(&cache) = self.course.hiding.writes.get(&index) {
            self.see_cells(cache, node)?;
        }
        if let Some(&layer) = self.course.hiding.attends.get(&index)
            && role == Role::Live
        {
            self.mask(layer, node)?;
        }
        Ok(self.course.hiding.barriers.contains(&index) && role != Role::Dead)
    }

    fn see_cells(&mut self, cache: u32, node: Node<'_>) -> Result<(), HookFault> {
        if self.observed.cells.is_none() {
            return Ok(());
        }
        let rows = self.micro_batch()?.to_vec();
        let Some(cells) = node
            .written_rows()
            .filter(|cells| cells.len() == rows.len())
        else {
            // Where hiding is asked for, cells are missed that nothing is known of.
            return Ok(());
        };
        let known = self.observed.cells.get_or_insert_default();
        for (row, cell) in rows.iter().zip(cells) {
            if let Ok(cell) = usize::try_from(cell) {
                known.put(cache, cell, row.position);
            }
        }
        Ok(())
    }

    fn mask(&mut self, layer: u32, node: Node<'_>) -> Result<(), HookFault> {
        let Some(site) = self.course.anatomy.masks[layer as usize].clone() else {
            return Ok(());
        };
        let mask = node.sources().nth(site.operand);
        let mask = mask.ok_or_else(|| HookFault::Mask(node.name()))?;
        let rows = self.rows_of(*node, self.n_rows)?;
        let spared = self.sabotage == Some(Sabotage::SiteSkipped) && layer + 1 == self.n_layer();
        let met = match self.masks.entry(mask.id()) {
            Entry::Occupied(met) => met.into_mut(),
            Entry::Vacant(first) => {
                let own = Rows::read(mask, rows.len());
                let own = own.ok_or_else(|| HookFault::Mask(mask.name()))?;
                let now = own.clone();
                first.insert(Met { own, now })
            }
        };
        let mut should = met.own.clone();
        for (n, (_, row)) in rows.iter().enumerate() {
            let editor = self.observed.editors.get_mut(&row.sequence);
            let Some(hidden) = editor.and_then(|editor| editor.hide(layer, row.position)) else {
                continue;
            };
            let cells = self.observed.cells.as_ref();
            should.hide(
                n,
                |cell| cells?.position(site.cache, cell),
                |position| hidden.contains(position),
            )?;
            let touched = self.manipulated.entry((row.sequence, node.name()));
            *touched.or_default() += 1;
        }
        if should != met.now && !spared {
            should.write(mask)?;
            met.now = should;
        }
        Ok(())
    }
}
