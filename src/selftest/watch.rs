//! Who follows an examination, and how long it is.

use super::Scope;
use super::texts::LENGTH;
use crate::engine::{Cost, Decode};
use crate::intervention::{Kind, SecondWay, Site};

/// Follows an examination. All methods do nothing by default.
pub trait Watch {
    /// About so many runs of a short prompt are to be made.
    fn begin(&mut self, runs: usize) {
        let _ = runs;
    }
    /// So many of them begin, which compare this.
    fn check(&mut self, what: &str, runs: usize) {
        let _ = (what, runs);
    }
}

impl Watch for () {}

/// Clean runs, and runs of what is not about a single layer.
pub(super) const CLEAN: usize = 16;
/// Runs that making a context is as long as.
pub(super) const CONTEXT: usize = 1;

/// Runs of the prompt that a manipulation of a site takes. Keys and values take one to see the
/// states, one for each freeze, and the last.
pub(super) fn passes(kind: Kind, site: Site) -> usize {
    match (site, kind.manipulation().second_way()) {
        (site, _) if !site.is_cached() => 1,
        (_, Some(SecondWay::Cache)) => 3,
        _ => 2,
    }
}

impl Scope {
    /// About how many runs of a short prompt an examination takes, `silent` with the model's
    /// silent twin.
    pub fn runs(&self, silent: bool) -> usize {
        let all: Vec<_> = self.cells().collect();
        let middle = self.middle_cells();
        let of = |cells: &[(Kind, Site, u32)]| -> usize {
            cells
                .iter()
                .map(|(kind, site, _)| passes(*kind, *site))
                .sum()
        };
        let rows = of(&all);
        let has = |site| self.sites.contains(&site);
        let both_ways = has(Site::Keys) && has(Site::Values);
        let count = |way| {
            let cells = all.iter().filter(|(kind, site, _)| {
                kind.manipulation().second_way() == Some(way) && *site == Site::Residual
            });
            cells.count()
        };
        let frozen = if both_ways {
            5 * count(SecondWay::Cache)
        } else {
            0
        };
        let silent = if silent {
            let zeroed = middle.iter().filter(|(kind, site, _)| {
                let way = kind.manipulation().second_way();
                way == Some(SecondWay::ZeroWeights) && site.target().is_added()
            });
            (2 + CONTEXT) * (count(SecondWay::SilentWeights) + zeroed.count())
        } else {
            0
        };
        let alone = match count(SecondWay::Alone) {
            0 => 0,
            cells => 1 + CONTEXT + 2 * cells,
        };
        let shapes = if self.shapes {
            2 * of(&middle) + 2 * CONTEXT + 4
        } else {
            0
        };
        // Each on two texts and with tokens that follow, by both strategies.
        let planned = if self.planned {
            count_residual(&all) / 2 + 6 * of(&middle) + CONTEXT
        } else {
            0
        };
        CLEAN + 2 * CONTEXT + rows + frozen + silent + alone + shapes + planned
    }

    /// What these runs cost.
    pub fn cost(&self, silent: bool) -> Cost {
        Cost {
            decodes: vec![Decode::whole(LENGTH, 1); self.runs(silent)],
        }
    }
}

fn count_residual(cells: &[(Kind, Site, u32)]) -> usize {
    cells.iter().filter(|cell| cell.1 == Site::Residual).count()
}
