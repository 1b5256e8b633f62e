//! Sweeps that stop when they know: what of a curve to compute next, and when it is decided. A pure
//! function of the scores that are known, so that a sweep that was cut off goes on as an undisturbed
//! one. `docs/statistics.md` says what it was tried on.

use serde::{Deserialize, Serialize};

use super::ignorable::{Ignorable, LayerLoss, Margin};
use super::normal::{normal, normal_quantile};
use super::profile::{ItemScores, Profile};
use super::{HalfWay, mean};

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
/// Looks at a loss, after equal shares of the items.
const LOOKS: usize = 4;
/// The one-sided quantile of the last of them for an error of 5% in all; that of the n-th is larger
/// by the root of `LOOKS / n` (O'Brien & Fleming 1979, "A multiple testing procedure for clinical
/// trials", Biometrics 35). The last look is nearly as sharp as the only look of a full sweep:
/// with equal quantiles (Pocock's 2.067) it would miss losses that a full sweep shows to be small.
const LAST_LOOK_Z: f64 = 1.733;
/// The quantile at which a loss is given up as more than the margin. It makes no claim.
const GIVEN_UP_Z: f64 = 2.0;
/// Items of fewer than four such looks are looked at once, at the end.
const FEWEST_TO_LOOK: usize = 40;
/// The confidence of the claim that results.
const LEVEL: f64 = 0.95;
/// Items that come together.
const BLOCK: usize = 16;
/// The first ones, where a quarter of all is more.
const FIRST: usize = 24;
/// The layers are first swept about so many steps apart.
const STEPS: f64 = 6.0;

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

    fn window(&self, layers: &[usize], items: usize) -> Window {
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

    fn profile_at(&self, at: &[usize], items: usize) -> Profile {
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

    fn chance(&self, items: usize) -> f64 {
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

/// Where both questions begin: the first items at layers some way apart, and at those between the
/// two that half of clean lies between.
struct Start {
    items: usize,
    wide: Vec<usize>,
    /// The layers below and above half of clean; `None` where all are above it, where the top
    /// is below it, or where too few items are known to say.
    around: Option<(usize, usize)>,
    /// The lowest layer that may be above half of clean, if any is.
    above: Option<usize>,
    enough: bool,
}

/// A walk through the known scores: asking is all that it changes.
struct Walk<'k> {
    of: &'k Known,
    known: &'k Asked,
    asked: Asked,
}

impl Walk<'_> {
    /// Asks for the first items at layers; whether they are known.
    fn needs(&mut self, layers: impl IntoIterator<Item = usize>, items: usize) -> bool {
        self.asked.clean = self.asked.clean.max(items);
        let mut known = self.known.clean >= items;
        for k in layers {
            self.asked.at[k] = self.asked.at[k].max(items);
            known &= self.known.at[k] >= items;
        }
        known
    }

    fn items(&self) -> usize {
        self.of.items.len()
    }

    /// Items at a look.
    fn look(&self, n: usize) -> usize {
        (n * self.items()).div_ceil(LOOKS)
    }

    fn looks(&self) -> usize {
        if self.items() < FEWEST_TO_LOOK {
            1
        } else {
            LOOKS
        }
    }

    fn start(&mut self) -> Option<Start> {
        let layers = self.of.layers.len();
        let (all, quarter) = (self.items(), self.look(1));
        let first = if quarter <= 2 * BLOCK {
            quarter.max(BLOCK)
        } else {
            FIRST
        };
        let mut items = first.min(all);
        // A clean run with itself at a layer says whether there are enough.
        let enough = loop {
            if !self.needs([], items) {
                return None;
            }
            let clean = self.of.items[..items].iter();
            let profile = Profile {
                layers: vec![0],
                chance: self.of.chance(items),
                items: clean
                    .map(|item| ItemScores {
                        clean: item.clean.unwrap_or_default(),
                        at: vec![item.clean.unwrap_or_default()],
                        cluster: item.cluster,
                        ..ItemScores::default()
                    })
                    .collect(),
            };
            match profile.is_enough() {
                enough if enough || items == all => break enough,
                _ => items = (items + BLOCK).min(all),
            }
        };
        let stride = ((layers as f64 / STEPS).round() as usize).max(1);
        let mut wide: Vec<usize> = (0..layers).rev().step_by(stride).collect();
        wide.push(0);
        wide.dedup();
        wide.reverse();
        if !self.needs(wide.iter().copied(), items) {
            return None;
        }
        let (mut around, mut above) = self.around(&wide, items);
        if let Some((low, high)) = around {
            let between = low + 1..high;
            if !self.needs(between.clone(), items) {
                return None;
            }
            let inner: Vec<usize> = (low..=high).collect();
            (around, above) = self.around(&inner, items);
            wide.extend(between);
            wide.sort_unstable();
        }
        Some(Start {
            items,
            wide,
            around,
            above,
            enough,
        })
    }

    /// The highest of the layers that is below half of clean and the next, and the lowest that
    /// all from there up are above it.
    fn around(&self, at: &[usize], items: usize) -> (Option<(usize, usize)>, Option<usize>) {
        let profile = self.of.profile_at(at, items);
        let clean = mean(profile.items.iter().map(|item| item.clean));
        let half = profile.level(clean, 0.5);
        let score = |n: usize| mean(profile.items.iter().map(|item| item.at[n]));
        let below = (0..at.len()).rev().find(|&n| score(n) < half - 1e-12);
        match below {
            None => (None, at.first().copied()),
            Some(n) if n + 1 == at.len() => (None, None),
            Some(n) => (Some((at[n], at[n + 1])), Some(at[n + 1])),
        }
    }

    /// Blocks of items at the layers around the crossing until its interval is as narrow as asked,
    /// or the items are used up.
    fn half_way(&mut self, start: &Start, goal: f64, widen: bool) -> Option<Window> {
        let top = self.of.layers.len() - 1;
        let (Some((mut low, mut high)), true) = (start.around, start.enough) else {
            // Too few, or no crossing: the whole curve says so.
            return Some(self.of.window(&start.wide, start.items));
        };
        let mut items = start.items;
        loop {
            if !self.needs(low..=high, items) {
                return None;
            }
            let layers: Vec<usize> = (low..=high).collect();
            let found = self.of.profile_at(&layers, items).half_way(LOOKS_LEVEL);
            let Some((from, to)) = found.interval() else {
                break;
            };
            let below = matches!(found, HalfWay::Above { .. }) || from == f64::NEG_INFINITY;
            let above = matches!(found, HalfWay::NotReached { .. }) || to == f64::INFINITY;
            if (below && low > 0) || (above && high < top) {
                // An end may be open for want of items as well as of layers: more of both.
                low -= usize::from(below && low > 0);
                high += usize::from(above && high < top);
                items = (items + BLOCK).min(self.items());
                continue;
            }
            let width = to - from;
            if width <= 2.0 * goal || items == self.items() {
                break;
            }
            // Intervals narrow with the root of the items.
            let wanted = items as f64 * (width / (2.0 * goal)).powi(2);
            let wanted = if wanted.is_finite() {
                wanted.ceil() as usize
            } else {
                usize::MAX
            };
            items = wanted.clamp(items + BLOCK, 2 * items).min(self.items());
        }
        let widened = low.saturating_sub(usize::from(widen))..=(high + usize::from(widen)).min(top);
        let layers: Vec<usize> = widened.collect();
        self.needs(layers.iter().copied(), items)
            .then(|| self.of.window(&layers, items))
    }

    /// Asks for what another curve's window holds; whether it is known.
    fn compared(&mut self, compared: &Compared) -> bool {
        let Compared::With(window) = compared else {
            return true;
        };
        let at = |layer: &u32| self.of.layers.binary_search(layer).ok();
        let layers: Vec<usize> = window.layers.iter().filter_map(at).collect();
        let items = window.items.min(self.items());
        self.needs(layers, items)
    }

    /// Paired tests from the top layer down, until one fails, each at several looks. All layers
    /// above half of clean are looked at together: what is computed in vain there costs less than
    /// what travelling together saves.
    fn ignorable(&mut self, margin: Margin, start: &Start) -> Option<Ignorable> {
        let top = self.of.layers.len() - 1;
        let top_alone = self.of.profile_at(&[top], start.items);
        let claim = top_alone.ignorable(margin, LEVEL);
        if claim.vacuous || !start.enough {
            return Some(Ignorable {
                from: None,
                ..claim
            });
        }
        let bottom = start.above.unwrap_or(top);
        let mut by_layer: Vec<LayerLoss> = Vec::new();
        let (mut from, mut open) = (None, false);
        for k in (0..=top).rev() {
            // Layers below those that are looked at together come one by one.
            if open && k < bottom {
                return None;
            }
            match self.layer(k, margin) {
                None => open = true,
                Some((loss, holds)) => {
                    by_layer.push(loss);
                    if !holds {
                        break;
                    }
                    from = Some(loss.layer);
                }
            }
        }
        if open {
            return None;
        }
        by_layer.reverse();
        Some(Ignorable {
            margin,
            level: LEVEL,
            from,
            vacuous: false,
            by_layer,
        })
    }

    /// The loss at a layer and whether it is within the margin, once that is decided.
    fn layer(&mut self, k: usize, margin: Margin) -> Option<(LayerLoss, bool)> {
        let looks = self.looks();
        for n in 1..=looks {
            let items = match n == looks {
                true => self.items(),
                false => self.look(n),
            };
            if !self.needs([k], items) {
                return None;
            }
            let z = match looks {
                1 => normal_quantile(LEVEL),
                _ => LAST_LOOK_Z * (LOOKS as f64 / n as f64).sqrt(),
            };
            let profile = self.of.profile_at(&[k], items);
            let at = |z: f64| profile.loss(0, margin, normal(z));
            let loss = at(z);
            if loss.bound <= margin.share() {
                return Some((loss, true));
            }
            let unlikely = self.is_unlikely(items, loss.loss, at(GIVEN_UP_Z).bound, margin);
            if n == looks || unlikely {
                return Some((loss, false));
            }
        }
        None
    }

    /// Whether a loss is shown to be more than the margin, or is unlikely to be shown to be less
    /// once all items have run: in fewer than one case in a hundred, if the others lose nothing more
    /// than they gain. `bound` is the loss's at [`GIVEN_UP_Z`].
    fn is_unlikely(&self, items: usize, loss: f64, bound: f64, margin: Margin) -> bool {
        let (n, all) = (items as f64, self.items() as f64);
        let error = bound - loss;
        // Of one item.
        let deviation = error / GIVEN_UP_Z * n.sqrt();
        let room = margin.share() - LAST_LOOK_Z * deviation / all.sqrt() - loss * n / all;
        let spread = deviation * (all - n).sqrt() / all;
        loss - error > margin.share() || room < -normal_quantile(0.99) * spread
    }
}
