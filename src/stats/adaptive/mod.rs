//! Sweeps that stop when they know: what of a curve to compute next, and when it is decided. A pure
//! function of the scores that are known, so that a sweep that was cut off goes on as an undisturbed
//! one. `docs/statistics.md` says what it was tried on.

mod walk;

use serde::{Deserialize, Serialize};

use super::ignorable::{Ignorable, Margin};
use super::mean;
use super::profile::{ItemScores, Profile};
use walk::Walk;

/// What a sweep is to find out before it stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Until {
    /// The half-way layer, to within so many layers to either side.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub half_way: Option<f64>,
    /// From which layer up the loss is at most this.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ignorable: Option<Margin>,
}

impl Until {
    /// What a sweep finds out that is only told to stop early: the half-way layer to within a
    /// quarter of a layer, and from where a loss is at most [`Margin::DEFAULT`].
    pub const DEFAULT: Until = Until {
        half_way: Some(0.25),
        ignorable: Some(Margin::DEFAULT),
    };
}

/// The confidence of a half-way layer's interval where it is looked at after each block of items.
/// Stopping as soon as it is narrow costs coverage: with 95% it covered gradual curves in 89 to 97%
/// of simulated data sets, with this in 93 to 100%.
pub const LOOKS_LEVEL: f64 = 0.97;
/// An item's scores, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownItem {
    /// In the clean run.
    pub clean: Option<f64>,
    /// In the same clean run decoded in another batch shape.
    pub again: Option<f64>,
    /// At each layer; seeds averaged.
    pub at: Vec<Option<f64>>,
    /// Whether the answer at each layer is the donor's; empty unless a donor was injected.
    pub donor: Vec<Option<f64>>,
    /// What guessing scores on it: one over its choices, 0 where answers are free.
    pub chance: f64,
    /// See [`ItemScores::cluster`].
    pub cluster: Option<usize>,
}

/// A curve, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The layers that may be swept, ascending.
    pub layers: Vec<u32>,
    /// All items that there are, in the order in which they run.
    pub items: Vec<KnownItem>,
}

/// How far a curve is swept: always the first items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Items with a clean run.
    pub clean: usize,
    /// Items at each layer of [`Known::layers`].
    pub at: Vec<usize>,
}

/// Layers at which the same items were swept: what a half-way layer is estimated from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The layers, ascending.
    pub layers: Vec<u32>,
    /// The first so many items.
    pub items: usize,
}

/// What is known of a curve so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Decisions {
    /// What it takes to decide more: nothing beyond what was known, once all is decided.
    pub asked: Asked,
    /// All layers with the first items: the whole curve, coarsely.
    pub wide: Option<Window>,
    /// What the half-way layer is estimated from, once that is decided.
    pub half_way: Option<Window>,
    /// From where the manipulation can be ignored, once that is decided.
    pub ignorable: Option<Ignorable>,
}

impl Decisions {
    /// Whether all that was asked for is decided.
    pub fn are_made(&self, until: &Until) -> bool {
        let half_way = until.half_way.is_none() || self.half_way.is_some();
        half_way && (until.ignorable.is_none() || self.ignorable.is_some())
    }
}

/// What a curve is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Nothing.
    Alone,
    /// Others will be compared with it: its window reaches a layer further to both sides, so that
    /// a shift by one lies within.
    First,
    /// A curve before it with this window.
    With(Window),
}

impl Known {
    /// Decides what can be decided of what `known` covers, and asks for what comes next. The two
    /// questions are followed at once: what either asks for is computed together.
    pub fn decide(&self, until: &Until, known: &Asked, compared: &Compared) -> Decisions {
        let mut walk = Walk {
            of: self,
            known,
            // What was asked for once stays asked for, whatever else decides.
            asked: known.clone(),
        };
        let mut decisions = Decisions {
            asked: Asked::default(),
            wide: None,
            half_way: None,
            ignorable: None,
        };
        if let Some(start) = walk.start() {
            decisions.wide = Some(self.window(&start.wide, start.items));
            decisions.half_way = (until.half_way).and_then(|goal| {
                let found = walk.half_way(&start, goal, *compared == Compared::First)?;
                walk.compared(compared).then_some(found)
            });
            if let Some(margin) = until.ignorable {
                decisions.ignorable = walk.ignorable(margin, &start);
            }
        }
        decisions.asked = walk.asked;
        decisions
    }

    /// Follows all steps that the known scores cover, from nothing.
    pub fn replay(&self, until: &Until, compared: &Compared) -> Decisions {
        let mut known = Asked::none(self.layers.len());
        loop {
            let decisions = self.decide(until, &known, compared);
            if decisions.asked == known || !self.has(&decisions.asked) {
                return decisions;
            }
            known = decisions.asked;
        }
    }

    /// Whether all that is asked for is known.
    fn has(&self, asked: &Asked) -> bool {
        let clean = self.items[..asked.clean].iter().all(|i| i.clean.is_some());
        let at = |(k, &n): (usize, &usize)| self.items[..n].iter().all(|i| i.at[k].is_some());
        clean && asked.at.iter().enumerate().all(at)
    }

    pub(super) fn window(&self, layers: &[usize], items: usize) -> Window {
        Window {
            layers: layers.iter().map(|&k| self.layers[k]).collect(),
            items,
        }
    }

    /// Whether an item's scores at all layers of a window are known.
    pub fn is_known(&self, item: usize, window: &Window) -> bool {
        let item = &self.items[item];
        let at = |layer: &u32| {
            let k = self.layers.binary_search(layer);
            k.is_ok_and(|k| item.at[k].is_some())
        };
        item.clean.is_some() && window.layers.iter().all(at)
    }

    /// The profile of a window. Items or layers that are not known are left out.
    pub fn profile(&self, window: &Window) -> Profile {
        let at = |layer: &u32| self.layers.binary_search(layer).ok();
        let at: Vec<usize> = window.layers.iter().filter_map(at).collect();
        self.profile_at(&at, window.items.min(self.items.len()))
    }

    pub(super) fn profile_at(&self, at: &[usize], items: usize) -> Profile {
        let of = |item: &KnownItem| {
            let scores = at.iter().map(|&k| item.at[k]);
            let donor = at.iter().filter_map(|&k| item.donor.get(k).copied());
            Some(ItemScores {
                clean: item.clean?,
                again: item.again,
                at: scores.collect::<Option<_>>()?,
                donor: donor.collect::<Option<_>>().unwrap_or_default(),
                cluster: item.cluster,
            })
        };
        Profile {
            layers: at.iter().map(|&k| self.layers[k]).collect(),
            chance: self.chance(items),
            items: self.items[..items].iter().filter_map(of).collect(),
        }
    }

    pub(super) fn chance(&self, items: usize) -> f64 {
        mean(self.items[..items].iter().map(|item| item.chance))
    }
}

impl Asked {
    /// Nothing, at so many layers.
    pub fn none(layers: usize) -> Self {
        Asked {
            clean: 0,
            at: vec![0; layers],
        }
    }
}
