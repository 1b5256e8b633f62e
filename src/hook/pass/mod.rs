//! One decode under interventions: which node is which, which row is which token.

mod edit;
mod follow;
mod hide;
mod place;
mod rows;
mod shown;
mod weigh;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use follow::Follower;
use hide::Hiding;
use place::{Place, TARGETS, recognise};
use weigh::weighing;

use super::HookFault;
use super::anatomy::Anatomy;
use super::asked::{Capture, Resume, Row};
use super::graph::Role;
use super::mask::Cells;
use super::node::Node;
use super::observed::{Observed, Touched};
use super::sabotage::Sabotage;
use super::site::Site;
use crate::intervention::{Editor, Met, Target};

/// The callback's state during one decode.
pub struct Pass {
    anatomy: Arc<Anatomy>,
    rows: Vec<Row>,
    capture: Option<Capture>,
    resume: Option<Resume>,
    follower: Follower,
    /// Ask index to the parts of layers that the node holds.
    wanted: BTreeMap<usize, Vec<Place>>,
    /// First batch row of the micro-batch being evaluated, and its number of rows.
    offset: usize,
    n_rows: usize,
    manipulated: BTreeMap<(u32, String), usize>,
    hiding: Hiding,
    /// Ask index to the layer whose weights of attention the node gives.
    weighing: BTreeMap<usize, u32>,
    buffer: Vec<f32>,
    /// Where the buffer holds states that were given: for each row, at which address the state
    /// lies that it is a copy of. (States outlive the pass.)
    kept: Vec<Option<usize>>,
    observed: Observed,
    sabotage: Option<Sabotage>,
    /// Whether it is not known any more where in the graph the evaluation is.
    lost: bool,
}

impl Pass {
    /// A pass over `rows` (in batch order) with an editor for some of the sequences, through
    /// the whole graph or, with `resume`, through a part of it.
    ///
    /// # Errors
    /// Those of [`Anatomy::admits`] for what this graph has no place for.
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
                    _ => false,
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
        let head = anatomy.inputs.len() as u32;
        let captured = capture
            .as_ref()
            .is_some_and(|c| c.wants(Target::Input, head));
        if captured || resume.as_ref().is_some_and(|r| r.cut.first == head) {
            let leaving = (Target::Input, head);
            let site = anatomy.site(leaving.0, leaving.1)?;
            wanted.entry(site.index).or_default().push(leaving);
        }
        let hiding = Hiding::new(&anatomy, &editors);
        let weighing = weighing(&anatomy, capture.as_ref())?;
        Ok(Self {
            anatomy,
            rows,
            capture,
            resume,
            follower: Follower::default(),
            wanted,
            offset: 0,
            n_rows: 0,
            manipulated: BTreeMap::new(),
            hiding,
            weighing,
            buffer: Vec::new(),
            kept: Vec::new(),
            observed: Observed {
                editors,
                ..Observed::default()
            },
            sabotage: None,
            lost: false,
        })
    }

    /// The same with a fault.
    pub fn sabotaged(mut self, sabotage: Option<Sabotage>) -> Self {
        self.sabotage = sabotage;
        self
    }

    /// The same, following which token is in which cell from what is known of it.
    pub fn following(mut self, cells: Option<Cells>) -> Self {
        self.observed.cells = cells;
        self
    }

    /// `node`, recorded at `index`, has been computed; its rows are edited.
    ///
    /// # Errors
    /// [`HookFault`] when its rows are not what they should be.
    pub fn show(&mut self, index: usize, node: Node<'_>) -> Result<(), HookFault> {
        for place in self.wanted.get(&index).cloned().unwrap_or_default() {
            self.edit(index, place, node)?;
        }
        match self.weighing.get(&index) {
            Some(&layer) => self.keep_weights(layer, node),
            None => Ok(()),
        }
    }

    /// The scheduler asks whether it should stop after `node`. Called once for each node of each
    /// evaluation, in order.
    ///
    /// # Errors
    /// [`HookFault`] when the graph or the order of rows is not what it should be.
    pub fn ask(&mut self, node: Node<'_>) -> Result<bool, HookFault> {
        let index = self.follower.next();
        if index == self.anatomy.tokens.index {
            self.n_rows = node.shape()[1] as usize;
            recognise(&self.anatomy.tokens, *node)?;
            self.prove_rows(*node, "token", |row| row.token)?;
        }
        if let Some(site) = &self.anatomy.positions
            && index == site.index
        {
            recognise(site, *node)?;
            self.prove_rows(*node, "position", |row| row.position as i32)?;
        }
        let mut wanted = match self.wanted.get(&index) {
            None => false,
            Some(places) => {
                recognise(self.site(places[0])?, *node)?;
                true
            }
        };
        if let Some(&layer) = self.weighing.get(&index) {
            recognise(self.site((Target::Mask, layer))?, *node)?;
            wanted = true;
        }
        wanted |= self.see_cells_and_masks(index, node)?;
        let role = self.role(index);
        self.follower.take(&self.anatomy.edges, node, role)?;
        // The last node is waited for so that the graph can be put back in order.
        wanted |= self.resume.is_some() && self.is_at_end();
        if self.is_at_end() && !wanted {
            self.end_evaluation();
        }
        Ok(wanted)
    }

    /// `node`, which was asked for, has been computed.
    ///
    /// # Errors
    /// [`HookFault`] when its rows are not what they should be.
    pub fn computed(&mut self, node: Node<'_>) -> Result<(), HookFault> {
        self.show(self.follower.next() - 1, node)?;
        if self.is_at_end() {
            self.end_evaluation();
        }
        Ok(())
    }

    /// A fault was met with the latest node, which was asked about (`ask`) or had been computed.
    /// From now on [`Self::abandoned`] takes the nodes.
    pub fn abandon(&mut self, ask: bool) {
        if ask {
            // The node may not be the one recorded, so it is not known how the graph goes on.
            self.lose_track();
        } else if self.is_at_end() {
            self.end_evaluation();
        }
    }

    /// After a fault, what the callback answers: nothing more is computed of this decode, for
    /// what a node reads may never have been written.
    pub fn abandoned(&mut self, node: Node<'_>, ask: bool) -> bool {
        if self.lost {
            return !ask;
        }
        if !ask {
            if self.is_at_end() {
                self.end_evaluation();
            }
            return true;
        }
        let taken = self
            .follower
            .take(&self.anatomy.edges, node, Role::Dead)
            .is_ok();
        if !taken {
            self.lose_track();
        }
        // The last node is waited for so that the graph can be put back in order.
        taken && self.is_at_end()
    }

    fn lose_track(&mut self) {
        self.lost = true;
        self.follower.restore();
    }

    /// After the decode: that every row of the batch went through.
    ///
    /// # Errors
    /// [`HookFault::RowTotal`], or what an editor missed.
    pub fn finish(mut self) -> Result<Observed, HookFault> {
        if self.offset != self.rows.len() || self.follower.next() != 0 {
            return Err(HookFault::RowTotal {
                found: self.offset,
                expected: self.rows.len(),
            });
        }
        for (sequence, editor) in &mut self.observed.editors {
            let rows = self.rows.iter().filter(|row| row.sequence == *sequence);
            let met: Vec<Met> = rows.map(Met::from).collect();
            editor.settle(&met)?;
        }
        for ((sequence, tensor), rows) in std::mem::take(&mut self.manipulated) {
            let touched = self.observed.touched.entry(sequence).or_default();
            touched.push(Touched { tensor, rows });
        }
        Ok(std::mem::take(&mut self.observed))
    }

    fn is_at_end(&self) -> bool {
        self.follower.next() == self.anatomy.n_nodes
    }

    fn end_evaluation(&mut self) {
        self.follower.begin_anew();
        self.hiding.begin_anew();
        self.offset += self.n_rows;
    }

    fn site(&self, (target, layer): Place) -> Result<&Site, HookFault> {
        self.anatomy.site(target, layer)
    }

    fn n_layer(&self) -> u32 {
        self.anatomy.inputs.len() as u32
    }

    /// What happens to the node with ask index `index`.
    fn role(&self, index: usize) -> Role {
        let roles = self.resume.as_ref().map(|resume| &resume.roles);
        let role = roles.and_then(|roles| roles.get(index).copied());
        role.unwrap_or(Role::Live)
    }
}
