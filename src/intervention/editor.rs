//! Carries a list of interventions out on the rows of one sequence, and keeps the books.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Action, HeadSet, Intervention, Place, PositionSet, RowsFunction, States, Target};

/// One sequence's interventions, the states they have saved, and which rows they have touched.
///
/// The caller shows it every row of every layer that it asks for, in order of layers.
#[derive(Clone)]
pub struct Editor {
    plan: Arc<[Intervention]>,
    n_layer: u32,
    /// The layer above which prior tokens' own states are held, and the states.
    pins: Option<(u32, Arc<States>)>,
    /// Parts of layers that the model does not have.
    absent: HashSet<(Target, u32)>,
    /// For each freeze, the saved state of each position.
    saved: Vec<BTreeMap<u32, Vec<f32>>>,
    /// For each intervention, rows touched at each layer.
    touched: Vec<BTreeMap<u32, usize>>,
}

/// A row that went through a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// Its position.
    pub position: u32,
    /// Whether it is a prior token (false for the last token of its text).
    pub prior: bool,
    /// Whether its logits were asked for.
    pub output: bool,
}

/// A row that an editor is shown.
#[derive(Debug)]
pub struct Shown<'r> {
    /// Its position.
    pub position: u32,
    /// Whether it is a prior token's.
    pub prior: bool,
    /// Its values.
    pub values: &'r mut [f32],
}

/// An intervention that did not touch what it should have.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Missed {
    /// No tensor was met at a layer, or with too few rows.
    #[error(
        "{action} touched {touched} of {expected} rows at layer {layer}: this model's graph does not offer the tensor where it was looked for"
    )]
    Rows {
        /// The action, for the message.
        action: String,
        /// The layer at fault.
        layer: u32,
        /// Rows touched there.
        touched: usize,
        /// Rows that should have been.
        expected: usize,
    },
    /// A given row is missing.
    #[error("no state was given for layer {layer}, position {position}")]
    NotGiven {
        /// The layer.
        layer: u32,
        /// The position.
        position: u32,
    },
    /// A given row has another width than the model.
    #[error(
        "the state given for layer {layer}, position {position} has {given} values, the model {width}"
    )]
    Width {
        /// The layer.
        layer: u32,
        /// The position.
        position: u32,
        /// Values given.
        given: usize,
        /// Values needed.
        width: usize,
    },
    /// The caller's own function of rows failed.
    #[error("a function of rows failed: {0}")]
    Function(String),
    /// Freeze met a row whose lower state had not been seen.
    #[error("freeze has no saved state for position {position} at layer {layer}")]
    NotSaved {
        /// The layer.
        layer: u32,
        /// The position.
        position: u32,
    },
}

impl Editor {
    /// An editor for one sequence of a model with `n_layer` layers.
    pub fn new(plan: Arc<[Intervention]>, n_layer: u32) -> Self {
        let n = plan.len();
        Self {
            plan,
            n_layer,
            pins: None,
            absent: HashSet::new(),
            saved: vec![BTreeMap::new(); n],
            touched: vec![BTreeMap::new(); n],
        }
    }

    /// Holds prior tokens' own residual stream: the states entering layers above `layer` become
    /// `states`, as far as these hold them. Keys and values rewritten at `layer` then reach
    /// later tokens directly, and not through what earlier tokens read of each other.
    pub fn pinned(mut self, layer: u32, states: Arc<States>) -> Self {
        self.pins = Some((layer, states));
        self
    }

    /// Whether it must see this part of `layer`.
    pub fn needs(&self, target: Target, layer: u32) -> bool {
        if self.absent.contains(&(target, layer)) {
            return false;
        }
        let pinned = self.pins.as_ref().is_some_and(|(first, _)| layer > *first);
        (target == Target::Input && pinned)
            || self.plan.iter().any(|i| {
                let rewrites = i.target() == target && i.layers.contains(layer);
                rewrites || (target == Target::Input && saves_at(i, layer))
            })
    }

    /// The interventions.
    pub fn plan(&self) -> &[Intervention] {
        &self.plan
    }

    /// Leaves parts of layers out that a model does not have: they are not asked for, and not
    /// missed.
    pub fn leave_out(&mut self, is_without: impl Fn(Target, u32) -> bool) {
        let targets: HashSet<Target> = self.plan.iter().map(Intervention::target).collect();
        for target in targets {
            let without = (0..self.n_layer).filter(|layer| is_without(target, *layer));
            self.absent.extend(without.map(|layer| (target, layer)));
        }
    }

    /// Rewrites rows of a layer, made of parts of `part` values each (heads; the whole row for the
    /// residual stream). Returns of each whether it was written.
    ///
    /// # Errors
    /// [`Missed`] when a state that should be written is not there, or the caller's own function
    /// fails.
    pub fn edit(
        &mut self,
        target: Target,
        layer: u32,
        part: usize,
        rows: &mut [Shown<'_>],
    ) -> Result<Vec<bool>, Missed> {
        let mut written = vec![false; rows.len()];
        for (n, intervention) in self.plan.iter().enumerate() {
            if intervention.target() != target || !intervention.layers.contains(layer) {
                continue;
            }
            let named = |row: &Shown<'_>| {
                intervention.tokens.contains(row.position)
                    && (row.prior || intervention.action.touches_last())
            };
            let named: Vec<usize> = (0..rows.len()).filter(|at| named(&rows[*at])).collect();
            let heads = intervention.some_heads();
            let kept = named.iter().filter(|_| heads.is_some());
            let kept: Vec<Vec<f32>> = kept.map(|at| rows[*at].values.to_vec()).collect();
            if let Action::CustomRows(f) = &intervention.action {
                all_at_once(&**f, layer, &named, rows)?;
            }
            for &at in &named {
                let row = &mut rows[at];
                let place = Place {
                    target,
                    layer,
                    position: row.position,
                    part,
                };
                let saved = self.saved[n].get(&row.position);
                rewrite(&intervention.action, saved, &place, row.values)?;
                written[at] = true;
            }
            if let Some(heads) = heads {
                for (at, kept) in named.iter().zip(&kept) {
                    put_back(heads, part, kept, rows[*at].values);
                }
            }
            if !named.is_empty() {
                *self.touched[n].entry(layer).or_default() += named.len();
            }
        }
        if target == Target::Input {
            for (row, written) in rows.iter_mut().zip(&mut written) {
                *written |= self.hold_and_save(layer, row);
            }
        }
        Ok(written)
    }

    /// After all rewriting at a layer: holds a prior token's own state, and keeps it where a freeze
    /// needs "the state that entered layer k - 1". Returns whether it was held.
    fn hold_and_save(&mut self, layer: u32, row: &mut Shown<'_>) -> bool {
        if !row.prior {
            return false;
        }
        let position = row.position;
        let mut held = false;
        if let Some((first, states)) = &self.pins
            && layer > *first
            && let Some(own) = states.get(layer, position)
        {
            row.values.copy_from_slice(own);
            held = true;
        }
        for (n, intervention) in self.plan.iter().enumerate() {
            if saves_at(intervention, layer) && intervention.tokens.contains(position) {
                self.saved[n].insert(position, row.values.to_vec());
            }
        }
        held
    }

    /// The positions that the token at `position` must not see in a layer; `None` where nothing
    /// is hidden there.
    pub fn hide(&mut self, layer: u32, position: u32) -> Option<PositionSet> {
        let mut hidden: Option<Vec<_>> = None;
        for (n, intervention) in self.plan.iter().enumerate() {
            let hides = intervention.target() == Target::Mask;
            if !hides || !intervention.layers.contains(layer) {
                continue;
            }
            let ranges = intervention.tokens.as_ranges().iter().cloned();
            hidden.get_or_insert_default().extend(ranges);
            *self.touched[n].entry(layer).or_default() += 1;
        }
        let before = PositionSet::ranges(hidden?).below_only(position);
        Some(before)
    }

    /// Checks, after a forward pass over `rows`, that every intervention touched every row it
    /// names at every layer of its span, and none twice, and clears the books.
    ///
    /// What the last layer adds may exist for rows with logits only, since nothing reads the
    /// others.
    ///
    /// # Errors
    /// [`Missed::Rows`] for the first layer that fell short.
    pub fn settle(&mut self, rows: &[Met]) -> Result<(), Missed> {
        let touched = std::mem::take(&mut self.touched);
        self.touched = vec![BTreeMap::new(); self.plan.len()];
        for (intervention, touched) in self.plan.iter().zip(&touched) {
            let named = || {
                let prior_only = !intervention.action.touches_last();
                let hides = intervention.target() == Target::Mask;
                rows.iter().filter(move |row| {
                    let named = intervention.tokens.contains(row.position);
                    hides || ((row.prior || !prior_only) && named)
                })
            };
            let expected = named().count();
            let with_logits = named().filter(|row| row.output).count();
            let has = |layer: &u32| !self.absent.contains(&(intervention.target(), *layer));
            let layers = (0..self.n_layer).filter(|l| intervention.layers.contains(*l));
            for layer in layers.filter(has) {
                let touched = touched.get(&layer).copied().unwrap_or(0);
                let thinned = intervention.target().is_added() && layer + 1 == self.n_layer;
                if touched != expected && !(thinned && touched == with_logits) {
                    return Err(Missed::Rows {
                        action: format!("{:?}", intervention.action),
                        layer,
                        touched,
                        expected: if thinned { with_logits } else { expected },
                    });
                }
            }
        }
        Ok(())
    }
}

/// Has a function rewrite the rows that are named, in one piece.
fn all_at_once(
    f: &RowsFunction,
    layer: u32,
    named: &[usize],
    rows: &mut [Shown<'_>],
) -> Result<(), Missed> {
    let Some(width) = named.first().map(|first| rows[*first].values.len()) else {
        return Ok(());
    };
    let positions: Vec<u32> = named.iter().map(|at| rows[*at].position).collect();
    let mut values = Vec::with_capacity(width * named.len());
    named
        .iter()
        .for_each(|at| values.extend_from_slice(rows[*at].values));
    f(layer, &positions, &mut values).map_err(Missed::Function)?;
    for (at, values) in named.iter().zip(values.chunks_exact(width)) {
        rows[*at].values.copy_from_slice(values);
    }
    Ok(())
}

/// Gives the heads that were not chosen the values that they had.
fn put_back(chosen: HeadSet, head: usize, had: &[f32], row: &mut [f32]) {
    let heads = row.chunks_mut(head).zip(had.chunks(head)).enumerate();
    for (_, (values, had)) in heads.filter(|(n, _)| !chosen.contains(*n)) {
        values.copy_from_slice(had);
    }
}

fn saves_at(intervention: &Intervention, layer: u32) -> bool {
    intervention.target() == Target::Input
        && matches!(intervention.action, Action::Freeze)
        && layer + 1 == intervention.layers.first
}

fn rewrite(
    action: &Action,
    saved: Option<&Vec<f32>>,
    place: &Place,
    row: &mut [f32],
) -> Result<(), Missed> {
    let Place {
        layer, position, ..
    } = *place;
    match action {
        Action::SkipAttention => row.fill(0.0),
        // Nothing is written to rows, or it is written already.
        Action::Hide | Action::CustomRows(_) => {}
        Action::Freeze => row.copy_from_slice(saved.ok_or(Missed::NotSaved { layer, position })?),
        Action::Row(edit) => edit.kind.manipulation().rewrite(edit, place, row)?,
        Action::Given(states) => row.copy_from_slice(states.fitting(layer, position, row.len())?),
        Action::Custom(f) => f(layer, position, row),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
