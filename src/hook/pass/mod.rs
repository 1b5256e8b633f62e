//! One decode under interventions: which node is which, which row is which token.

mod course;
mod edit;
mod follow;
mod hide;
mod hold;
mod place;
mod rows;
mod shown;
mod weigh;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use course::Course;
use follow::Follower;
use hide::Met as MaskMet;

use super::HookFault;
use super::anatomy::Anatomy;
use super::asked::{Capture, Resume, Row};
use super::graph::Role;
use super::held::Held;
use super::mask::Cells;
use super::node::Node;
use super::observed::{Observed, Touched};
use super::sabotage::Sabotage;
use crate::intervention::{Editor, Met};

/// The callback's state during one decode.
pub struct Pass {
    course: Course,
    /// Graphs that an evaluation may be as well.
    others: Vec<Arc<Anatomy>>,
    rows: Vec<Row>,
    capture: Option<Capture>,
    resume: Option<Resume>,
    follower: Follower,
    /// First batch row of the micro-batch being evaluated, and its number of rows.
    offset: usize,
    n_rows: usize,
    manipulated: BTreeMap<(u32, String), usize>,
    /// Masks of attention that were met in the evaluation.
    masks: HashMap<usize, MaskMet>,
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
        let roles = resume.as_ref().map(|resume| resume.roles.clone());
        let (kept, part) = (capture.as_ref(), resume.as_ref());
        let course = Course::new(anatomy, roles, &editors, kept, part)?;
        Ok(Self {
            course,
            others: Vec::new(),
            rows,
            capture,
            resume,
            follower: Follower::default(),
            offset: 0,
            n_rows: 0,
            manipulated: BTreeMap::new(),
            masks: HashMap::new(),
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

    /// The same with a place to keep rows where the graph is computed.
    pub fn holding(mut self, mut held: Box<dyn Held>) -> Self {
        held.forget();
        self.observed.held = Some(held);
        self
    }

    /// The same where each evaluation may be of one of these graphs as well.
    pub fn or(mut self, others: Vec<Arc<Anatomy>>) -> Self {
        self.others = others;
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
        for place in self.course.wanted.get(&index).cloned().unwrap_or_default() {
            self.edit(index, place, node)?;
        }
        match self.course.weighing.get(&index) {
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
        self.find_course(node)?;
        let index = self.follower.next();
        if index == self.course.anatomy.tokens.index {
            self.n_rows = node.shape()[1] as usize;
            self.prove_rows(*node, "token", |row| row.token)?;
        }
        if let Some(site) = &self.course.anatomy.positions
            && index == site.index
        {
            self.prove_rows(*node, "position", |row| row.position as i32)?;
        }
        let mut wanted = self.course.wanted.contains_key(&index);
        wanted |= self.course.weighing.contains_key(&index);
        wanted |= self.see_cells_and_masks(index, node)?;
        self.follower.take(node, self.course.role(index));
        // The last node is waited for so that the graph can be put back in order.
        wanted |= self.resume.is_some() && self.is_at_end();
        if self.is_at_end() && !wanted {
            self.end_evaluation();
        }
        Ok(wanted)
    }

    /// Checks that `node` is the next one of the graph that is followed. If it is not, and another
    /// graph has been the same until here, in what is done there too, that one is followed.
    fn find_course(&mut self, node: Node<'_>) -> Result<(), HookFault> {
        let Err(fault) = self.course.fits(node, &self.follower) else {
            return Ok(());
        };
        let end = self.follower.next();
        let resume = self.resume.as_ref();
        let followed = &self.course.anatomy;
        let others = self.others.iter();
        for other in others.filter(|other| !Arc::ptr_eq(other, followed)) {
            let roles = resume.map(|resume| resume.cut.roles(other));
            let Ok(roles) = roles.transpose() else {
                continue;
            };
            let course = Course::new(
                other.clone(),
                roles.map(Into::into),
                &self.observed.editors,
                self.capture.as_ref(),
                resume,
            );
            if let Ok(course) = course
                && course.is_like(&self.course, end)
                && course.fits(node, &self.follower).is_ok()
            {
                self.course = course;
                return Ok(());
            }
        }
        Err(fault)
    }

    /// `node`, which was asked for, has been computed.
    ///
    /// # Errors
    /// [`HookFault`] when its rows are not what they should be.
    pub fn computed(&mut self, node: Node<'_>) -> Result<(), HookFault> {
        self.observed.traffic.stops += 1;
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
        let edges = &self.course.anatomy.edges;
        if self.follower.expects(edges, node).is_err() {
            self.lose_track();
            return false;
        }
        self.follower.take(node, Role::Dead);
        // The last node is waited for so that the graph can be put back in order.
        self.is_at_end()
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
        self.observed.met = Some(self.course.anatomy.clone());
        Ok(std::mem::take(&mut self.observed))
    }

    fn is_at_end(&self) -> bool {
        self.follower.next() == self.course.anatomy.n_nodes
    }

    fn end_evaluation(&mut self) {
        self.follower.begin_anew();
        self.masks.clear();
        self.offset += self.n_rows;
    }

    fn n_layer(&self) -> u32 {
        self.course.anatomy.inputs.len() as u32
    }
}
