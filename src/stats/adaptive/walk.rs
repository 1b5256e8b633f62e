//! What each of the two questions asks for, step by step.

use super::{Asked, Compared, Known, LOOKS_LEVEL, Window};
use crate::stats::ignorable::{Ignorable, LayerLoss, Margin};
use crate::stats::normal::{normal, normal_quantile};
use crate::stats::profile::{ItemScores, Profile};
use crate::stats::{HalfWay, mean};

/// Looks at a loss, after equal shares of the items.
const LOOKS: usize = 4;
/// Their one-sided quantiles, for an error of 5% in all. They grow sharper as O'Brien and Fleming's
/// do (1979, "A multiple testing procedure for clinical trials", Biometrics 35), and the looks
/// before the last may claim 0.7% together, so that the last one is as sharp as the only look of a
/// full sweep (1.645) but for a hair: it shows what that one shows. Quantiles of equal size
/// (Pocock's 2.067) would miss losses that a full sweep shows to be small.
const LOOKS_Z: [f64; LOOKS] = [3.5, 2.9, 2.5, 1.66];
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

/// Where both questions begin: the first items at layers some way apart, and at those between the
/// two that half of clean lies between.
pub(super) struct Start {
    pub items: usize,
    pub wide: Vec<usize>,
    /// The layers below and above half of clean; `None` where all are above it, where the top
    /// is below it, or where too few items are known to say.
    around: Option<(usize, usize)>,
    /// The lowest layer that may be above half of clean, if any is.
    above: Option<usize>,
    enough: bool,
}

/// A walk through the known scores: asking is all that it changes.
pub(super) struct Walk<'k> {
    pub of: &'k Known,
    pub known: &'k Asked,
    pub asked: Asked,
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

    pub fn start(&mut self) -> Option<Start> {
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
    pub fn half_way(&mut self, start: &Start, goal: f64, widen: bool) -> Option<Window> {
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
    pub fn compared(&mut self, compared: &Compared) -> bool {
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
    pub fn ignorable(&mut self, margin: Margin, start: &Start) -> Option<Ignorable> {
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
                _ => LOOKS_Z[n - 1],
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
        let room = margin.share() - LOOKS_Z[LOOKS - 1] * deviation / all.sqrt() - loss * n / all;
        let spread = deviation * (all - n).sqrt() / all;
        loss - error > margin.share() || room < -normal_quantile(0.99) * spread
    }
}
