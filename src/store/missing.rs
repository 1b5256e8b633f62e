//! What a run lacks that is not complete, and which of its results can be counted.

use std::fmt;

use super::{Planned, ResultRow, StoredRun, StoredVariant};
use crate::experiment::Spec;

/// What a run that is not complete has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Results that are stored.
    pub stored: usize,
    /// Results of the complete run, if they are known.
    pub planned: Option<usize>,
    /// Results that are stored and that reports do not count, see [`StoredVariant::counted`].
    pub uncounted: usize,
    /// The command to go on with, if it is known.
    pub command: Option<String>,
}

/// `129 of 260 results are stored`.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.planned {
            Some(planned) => write!(f, "{} of {planned} results are stored", self.stored)?,
            None => write!(f, "{} results are stored", self.stored)?,
        }
        match self.uncounted {
            0 => Ok(()),
            n => write!(
                f,
                "; {n} of them belong to items that lack some layers of the manipulation, and are not counted in tables and figures"
            ),
        }
    }
}

impl StoredRun {
    /// What is missing of it; `None` when it is complete, and for runs of an older midlayer that
    /// do not say.
    pub fn missing(&self) -> Option<Missing> {
        let begun = self.command.is_some();
        let mut variants = self.variants.iter();
        if !variants.any(|variant| variant.is_short().unwrap_or(begun)) {
            return None;
        }
        let variants = || self.variants.iter();
        Some(Missing {
            stored: variants().map(|v| v.rows.len()).sum(),
            planned: variants().map(|v| v.planned.results).sum(),
            uncounted: variants().map(|v| v.rows.len() - v.counted().len()).sum(),
            command: self.command.clone(),
        })
    }
}

/// Whether a variant that has so many items and results lacks any, if that is known.
pub(super) fn is_short(
    spec: &Spec,
    planned: &Planned,
    (items, results): (usize, usize),
) -> Option<bool> {
    let lacks = planned.results.map(|n| results < n);
    if spec.until.is_some() {
        return Some(lacks.unwrap_or(true));
    }
    lacks.or(planned.items.map(|n| items < n))
}

impl StoredVariant {
    /// Whether it lacks results, if that is known.
    fn is_short(&self) -> Option<bool> {
        is_short(
            &self.spec,
            &self.planned,
            (self.items.len(), self.rows.len()),
        )
    }

    /// The results that can be counted: an item's under a manipulation only if all of them are
    /// there, so that every layer is about the same items. A sweep that stops when it knows has
    /// fewer items at some layers on purpose.
    pub fn counted(&self) -> Vec<&ResultRow> {
        if self.spec.until.is_some() {
            return self.rows.iter().collect();
        }
        // They are in the order of items and cells.
        let same = |a: &ResultRow, b: &ResultRow| {
            (a.task, &a.item, a.cell.treatment) == (b.task, &b.item, b.cell.treatment)
        };
        let whole = |rows: &&[ResultRow]| {
            let of = (rows[0].task.to_string(), rows[0].cell.treatment.to_string());
            rows.len() >= self.cells.get(&of).copied().unwrap_or(0)
        };
        let chunks = self.rows.chunk_by(same);
        chunks.filter(whole).flatten().collect()
    }
}
