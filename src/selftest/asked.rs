//! Clean runs in which nodes are asked for.
//!
//! Some backends compute several nodes by one kernel. Where one in their midst is asked for they
//! compute each by its own, which rounds otherwise: a last bit, in all that follows. So on devices
//! what should be the same to the last bit is compared with a run in which the same nodes were asked
//! for, as nearly as can be had, and what rounding makes is allowed.

use std::collections::HashMap;
use std::sync::Arc;

use super::examined::{Examined, without_padding};
use super::texts::rows_of;
use super::verdict::{distance, failed};
use super::{Check, Verdict};
use crate::engine::{Engine, EngineError, Request, Straightforward};
use crate::hook::Witness;
use crate::intervention::{Action, Intervention, LayerSpan, PositionSet, Site};
use crate::runtime::{Context, RuntimeError};

/// What a few last bits make of a number, layer after layer.
const ROUNDING: f64 = 1e-5;

/// A clean run under the settings that a site's rows are compared under.
pub(super) struct Beside {
    /// Logits after the prompt.
    pub logits: Vec<f32>,
    /// Rows by llama.cpp's own names.
    pub rows: Witness,
}

/// What a [`Beside`] is kept by: a site, and on devices the layers that are asked.
pub(super) type Asked = (Site, Option<(u32, Option<u32>)>);

impl Examined<'_> {
    /// The callback must not change a clean run. Where it asks for nodes, rounding on a device is
    /// allowed; where it asks for none, nothing is.
    pub fn callback(&mut self) -> Result<(), EngineError> {
        let rows = rows_of(0, &self.prompt.tokens);
        let logits = |mut context: Context| {
            context.decode(&rows, HashMap::new(), None)?;
            Ok::<_, RuntimeError>(context.logits(rows.len() - 1)?.to_vec())
        };
        let bare = Context::without_callback(self.model.clone(), &self.options)?;
        let bare = logits(bare)?;
        let asked = distance(&bare, &self.clean);
        let mut verdict = Verdict::of(asked, 0.0);
        if verdict.is_wrong() && self.model.may_be_on_devices() {
            let idle = Context::new(self.model.clone(), &self.options)?;
            let idle = distance(&bare, &logits(idle)?);
            verdict = match idle {
                0.0 => Verdict::of(asked, self.clean_tolerance()),
                _ => Verdict::of(idle, 0.0),
            };
        }
        self.note_all(Check::Callback, None, verdict);
        Ok(())
    }

    /// The state that another token enters layer 0 with, put in place of the prompt's own, must
    /// be as good as that token in the prompt: layer 0's input has no name of its own.
    pub fn first_layer(&mut self) -> Result<(), EngineError> {
        let at = PositionSet::all();
        let donor = Arc::new(self.donor.captured.inputs.clone());
        let mut direct = self.request(vec![]);
        let last = direct.tokens.len() - 1;
        direct.tokens[..last].copy_from_slice(&self.donor.tokens[..last]);
        if self.model.may_be_on_devices() {
            direct.plan = vec![itself(LayerSpan::only(0), Site::Residual)];
        }
        let direct = self.slow.logits(&direct)?;
        let injected = self.request(vec![Intervention::given(0, donor, at)]);
        let verdict = match self.slow.logits(&injected) {
            Ok(injected) => Verdict::of(distance(&injected, &direct), 0.0),
            Err(error) => failed(&error),
        };
        self.note_all(Check::FirstLayer, Some(Site::Residual), verdict);
        Ok(())
    }

    /// Every row of every layer rewritten with itself.
    pub fn identity(&mut self) {
        let sites = self.scope.sites.clone();
        for site in sites {
            let layers = (0..self.n_layer()).filter(|layer| self.has(site, *layer));
            let plan = layers.map(|layer| itself(LayerSpan::only(layer), site));
            let plan: Vec<Intervention> = plan.collect();
            let request = self.request(plan);
            let verdict = if request.plan.is_empty() {
                Verdict::NotSupported {
                    reason: format!("no layer keeps {site} of its own"),
                }
            } else {
                let clean = self.clean_asked_at(site);
                let tolerance = self.tolerance_at(site);
                match (self.slow.logits(&request), clean) {
                    (Ok(logits), Ok(clean)) => Verdict::of(distance(&logits, &clean), tolerance),
                    (Err(error), _) | (_, Err(error)) => failed(&error),
                }
            };
            self.note_all(Check::Identity, Some(site), verdict);
        }
    }

    /// What rewriting rows with themselves may change.
    pub fn tolerance_at(&self, site: Site) -> f64 {
        match site.target().is_added() || self.model.may_be_on_devices() {
            true => self.clean_tolerance(),
            false => 0.0,
        }
    }

    /// What rows may differ by that are not all of one run: on devices what rounding makes, by the
    /// size of the largest.
    pub fn tolerance_of_rows(&self, clean: &Witness) -> f64 {
        if !self.model.may_be_on_devices() {
            return 0.0;
        }
        let parts = [&clean.outputs, &clean.keys, &clean.values];
        let values = parts.into_iter().flat_map(|part| part.values().flatten());
        let values = values.filter(|value| value.is_finite());
        let largest = values.fold(0.0f32, |most, value| most.max(value.abs()));
        ROUNDING * f64::from(largest)
    }

    /// The clean run's logits where the nodes of a site are asked for in all layers.
    fn clean_asked_at(&mut self, site: Site) -> Result<Vec<f32>, EngineError> {
        if !site.target().is_added() && !self.model.may_be_on_devices() {
            return Ok(self.clean.clone());
        }
        let tokens = &self.prompt.tokens;
        self.slow.captured(tokens, 0, &[site.target()])?;
        Ok(self.slow.context().logits(tokens.len() - 1)?.to_vec())
    }

    /// The clean run in which the nodes of a plan are asked for: what its effect, and the rows that
    /// it leaves alone, are to be told from. On the processor it is the clean run itself.
    ///
    /// # Errors
    /// [`EngineError`], where it is not possible so.
    pub fn beside(&mut self, plan: &[Intervention]) -> Result<Arc<Beside>, EngineError> {
        let first = plan.first().map(|i| (i.site, i.layers));
        let key = first.map_or((Site::Residual, None), |(site, layers)| {
            let asked = self.model.may_be_on_devices();
            (site, asked.then_some((layers.first, layers.last)))
        });
        if let Some(known) = self.beside.get(&key) {
            return Ok(known.clone());
        }
        let is_cached = key.0.is_cached();
        let beside = if key.1.is_none() {
            match is_cached {
                false => Beside {
                    logits: self.clean.clone(),
                    rows: self.clean_rows.clone(),
                },
                true => Beside {
                    logits: self.prompt.logits.clone(),
                    rows: self.prompt.witness.clone(),
                },
            }
        } else {
            let plan = plan.iter().map(|i| itself(i.layers, i.site)).collect();
            let request = self.request(plan);
            let engine = self.engine_of(key.0);
            Beside {
                logits: engine.logits(&request)?,
                rows: match is_cached {
                    false => engine.context().testimony(),
                    true => without_padding(engine.context()),
                },
            }
        };
        let beside = Arc::new(beside);
        self.beside.insert(key, beside.clone());
        Ok(beside)
    }

    /// How much a plan moves the logits after the prompt, under the user's settings; 0 where no clean
    /// run tells.
    pub fn effect(&mut self, request: &Request, logits: &[f32]) -> f64 {
        if request.plan.iter().any(|i| i.site.is_cached()) {
            return distance(logits, &self.clean);
        }
        let clean = self.beside(&request.plan);
        clean.map_or(0.0, |clean| distance(logits, &clean.logits))
    }

    /// The engine in which a site's rows are compared: keys and values can be where caches are of
    /// F32.
    pub fn engine_of(&mut self, site: Site) -> &mut Straightforward {
        match site.is_cached() {
            false => &mut self.slow,
            true => &mut self.exact,
        }
    }

    /// Whether a layer has the site at all.
    pub fn has(&self, site: Site, layer: u32) -> bool {
        let Some(anatomy) = self.exact.context().anatomy() else {
            return false;
        };
        match site {
            Site::Residual => true,
            Site::Keys => anatomy.keys[layer as usize].is_some(),
            Site::Values => anatomy.values[layer as usize].is_some(),
            Site::AttnOut | Site::MlpOut | Site::Heads(_) => anatomy
                .admits(&itself(LayerSpan::only(layer), site))
                .is_ok(),
        }
    }
}

/// A site's rows rewritten with themselves.
fn itself(layers: LayerSpan, site: Site) -> Intervention {
    let nothing = Arc::new(|_, _, _: &mut [f32]| {});
    Intervention::new(Action::Custom(nothing), layers).on(site)
}
