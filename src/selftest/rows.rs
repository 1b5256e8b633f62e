//! Rows in the model, read by llama.cpp's own names, against what they should be.

use super::examined::{Examined, SEED, without_padding};
use super::verdict::{distance, failed};
use super::watch::passes;
use super::{Check, Verdict};
use crate::engine::{Engine, EngineError};
use crate::hook::Witness;
use crate::intervention::{
    Action, Intervention, Kind, Known, Place, RowEdit, Site, States, Target,
};

impl Examined<'_> {
    /// States, keys and values found through the graph, against the witness's.
    pub fn captures(&mut self) -> Result<(), EngineError> {
        let n = self.prompt.tokens.len();
        for site in [Site::Residual, Site::Keys, Site::Values] {
            let mut worst: f64 = 0.0;
            let mut compared = 0;
            for layer in 0..self.n_layer() {
                let Some(seen) = seen(&self.prompt.beside, site, layer) else {
                    continue;
                };
                let rows = rows(self.prompt.captured.of(site.target()), layer, n);
                if site != Site::Residual && rows.is_empty() {
                    continue;
                }
                worst = worst.max(distance(seen, &rows));
                compared += 1;
            }
            let verdict = if compared == 0 {
                Verdict::NotSupported {
                    reason: format!("no layer's {site} go by llama.cpp's usual names"),
                }
            } else if let Some(reason) = self.other_heads(site) {
                Verdict::Wrong { reason }
            } else {
                Verdict::of(worst, 0.0)
            };
            self.note_all(Check::Capture, Some(site), verdict);
        }
        Ok(())
    }

    /// Where the analysis takes heads to be of another width than the metadata say.
    fn other_heads(&self, site: Site) -> Option<String> {
        let anatomy = self.exact.context().anatomy()?;
        let n = self.prompt.tokens.len();
        (0..self.n_layer()).find_map(|layer| {
            let sites = match site {
                Site::Keys => &anatomy.keys,
                Site::Values => &anatomy.values,
                _ => return None,
            };
            let found = sites[layer as usize].as_ref()?.head;
            let row = seen(&self.prompt.witness, site, layer)?.len() / n;
            let stated = self.head(site, layer, row)?;
            (found != stated).then(|| {
                format!("a head of layer {layer}'s {site} is {stated} wide, {found} were found")
            })
        })
    }

    /// The width of a head in rows of `row` values, by the metadata and not by the analysis that
    /// is examined.
    fn head(&self, site: Site, layer: u32, row: usize) -> Option<usize> {
        let heads = self.model.heads();
        match site {
            Site::Keys => heads.of_keys(layer, row),
            Site::Values => heads.of_values(layer, row).map(|(head, _)| head),
            _ => None,
        }
    }

    /// Every manipulation's rows, and whether it can be seen in the logits.
    pub fn rows(&mut self) -> Result<(), EngineError> {
        for cell in self.scope.cells() {
            let (kind, site, k) = cell;
            self.check("rows in the model", passes(kind, site))?;
            let made = self.intervention(kind, site, k);
            let request = self.request(vec![made.clone()]);
            // Under the user's settings keys and values are held against other ways at one layer
            // of each.
            let logits = match self.engine_of(site).logits(&request) {
                Ok(logits) => logits,
                Err(error) => {
                    self.note(Check::Effect, cell, failed(&error));
                    continue;
                }
            };
            let after = match site.is_cached() {
                false => self.slow.context().testimony(),
                true => without_padding(self.exact.context()),
            };
            let clean = match self.beside(&request.plan) {
                Ok(clean) => clean,
                Err(error) => {
                    self.note(Check::Effect, cell, failed(&error));
                    continue;
                }
            };
            let effect = distance(&logits, &clean.logits);
            let off = match site.is_cached() {
                false => self.states_off((kind, k), &made, &clean.rows, &after),
                true => self.cache_off((kind, k), &made, &clean.rows, &after),
            };
            if site == Site::Residual {
                self.known.insert(cell, logits);
            }
            if let Some(off) = off {
                let tolerance = self.tolerance_of_rows(&clean.rows);
                self.note(Check::Rows, cell, Verdict::of(off, tolerance));
            }
            let verdict = match effect {
                off if kind.manipulation().changes_nothing() => {
                    Verdict::of(off, self.tolerance_at(site))
                }
                0.0 => Verdict::Vacuous,
                _ => Verdict::Exact,
            };
            self.note(Check::Effect, cell, verdict);
        }
        Ok(())
    }

    /// The largest difference between states in the model and what they should be after a
    /// manipulation of the residual stream at layer `k`; `None` where no name tells. The state
    /// entering a layer is that leaving the one below.
    fn states_off(
        &self,
        (kind, k): (Kind, u32),
        made: &Intervention,
        clean: &Witness,
        after: &Witness,
    ) -> Option<f64> {
        let width = self.model.facts().n_embd as usize;
        let prior = (self.prompt.tokens.len() - 1) * width;
        let mut worst = None;
        for (output, own) in &clean.outputs {
            let Some(found) = after.outputs.get(output) else {
                continue;
            };
            // A layer that llama.cpp leaves out of the graph shares the state that enters it
            // with the next one.
            let next = clean.outputs.range(output + 1..).next();
            let entered = output + 1..=next.map_or(self.n_layer() - 1, |(next, _)| *next);
            if entered.is_empty() {
                continue; // the state that leaves the last layer is nobody's input
            }
            let manipulated = made.target() == Target::Input
                && entered.clone().any(|layer| made.layers.contains(layer));
            let mut should = own.clone();
            if manipulated {
                for (position, row) in (0..).zip(should[..prior].chunks_mut(width)) {
                    self.expect((kind, Site::Residual, k), made, clean, position, row)?;
                }
            }
            // Above the manipulation the last token's own state is its consequence, and so are
            // prior tokens' where they are not held.
            let end = match () {
                () if *entered.start() <= made.layers.first => should.len(),
                () if manipulated => prior,
                () => 0,
            };
            if found.len() != should.len() {
                return Some(f64::INFINITY);
            }
            let off = distance(&should[..end], &found[..end]);
            worst = Some(off.max(worst.unwrap_or(0.0)));
        }
        worst
    }

    /// What a prior token's row of a clean run should become at layer `k`; `None` where no name
    /// tells.
    fn expect(
        &self,
        (kind, site, k): (Kind, Site, u32),
        made: &Intervention,
        clean: &Witness,
        position: u32,
        row: &mut [f32],
    ) -> Option<()> {
        let width = row.len();
        let of = |rows: &[f32]| {
            let from = position as usize * width;
            rows.get(from..from + width).map(<[f32]>::to_vec)
        };
        let below = |witness: &Witness, layer: u32| {
            let (_, rows) = witness.outputs.range(..layer).next_back()?;
            of(rows)
        };
        let entered = |layer| {
            // What enters layer 0 has no name; that it is right, another check tells.
            let first = || self.prompt.captured.inputs.get(layer, position);
            below(clean, layer).or_else(|| first().map(<[f32]>::to_vec))
        };
        let donor = || match site {
            Site::Residual => below(&self.donor.beside, k),
            _ => of(seen(&self.donor.beside, site, k)?),
        };
        let part = match site.is_cached() {
            false => Some(width),
            true => self.head(site, k, width),
        };
        let edit = match &made.action {
            Action::Row(edit) => edit.clone(),
            _ => RowEdit {
                kind,
                seed: SEED,
                states: None,
            },
        };
        let known = Known {
            edit: &edit,
            k,
            place: part.map(|part| Place {
                target: site.target(),
                layer: k,
                position,
                part,
            }),
            entered: &entered,
            donor: &donor,
        };
        kind.manipulation().expected(&known, row)
    }

    /// As [`Self::states_off`], of keys and values in the cache. Prior tokens' own streams, and
    /// whatever the manipulation does not name, must be what they are without it.
    fn cache_off(
        &self,
        (kind, k): (Kind, u32),
        made: &Intervention,
        clean: &Witness,
        after: &Witness,
    ) -> Option<f64> {
        let site = made.site;
        let n = self.prompt.tokens.len();
        let mut worst = None;
        for other in [Site::Residual, Site::Keys, Site::Values] {
            // The state that leaves the last layer is nobody's input.
            let end = self.n_layer() - u32::from(other == Site::Residual);
            for layer in 0..end {
                let at = if other == Site::Residual {
                    layer + 1
                } else {
                    layer
                };
                let (Some(own), Some(found)) = (seen(clean, other, at), seen(after, other, at))
                else {
                    continue;
                };
                if found.len() != own.len() {
                    return Some(f64::INFINITY);
                }
                let width = own.len() / n;
                let mut should = own[..(n - 1) * width].to_vec();
                if other == site && made.layers.contains(layer) {
                    if !kind.manipulation().is_expected(site) {
                        continue;
                    }
                    for (position, row) in (0..).zip(should.chunks_mut(width)) {
                        self.expect((kind, site, k), made, clean, position, row)?;
                    }
                }
                let off = distance(&should, &found[..should.len()]);
                worst = Some(off.max(worst.unwrap_or(0.0)));
            }
        }
        worst
    }
}

/// Rows of a site as the witness saw them; a state entering a layer is that leaving the one
/// below it.
fn seen(witness: &Witness, site: Site, layer: u32) -> Option<&[f32]> {
    let rows = match site {
        Site::Residual => witness.outputs.get(&layer.checked_sub(1)?),
        Site::Keys => witness.keys.get(&layer),
        Site::Values => witness.values.get(&layer),
        // These go by names that differ from architecture to architecture.
        Site::AttnOut | Site::MlpOut | Site::Heads(_) => None,
    };
    rows.map(Vec::as_slice)
}

/// Rows of a layer one after the other; none where one is missing.
fn rows(states: &States, layer: u32, n: usize) -> Vec<f32> {
    let rows = (0..n as u32).map(|position| states.get(layer, position));
    let rows: Option<Vec<&[f32]>> = rows.collect();
    rows.map(|rows| rows.concat()).unwrap_or_default()
}
