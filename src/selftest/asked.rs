//! Clean runs in which nodes are asked for.
//!
//! Some backends compute several nodes by one kernel. Where one in their midst is asked for they
//! compute each by its own, which rounds otherwise: a last bit, in all that follows. What is compared
//! to the last bit is therefore compared with a run in which the same nodes were asked for.

use std::collections::HashMap;
use std::sync::Arc;

use super::examined::Examined;
use super::texts::rows_of;
use super::verdict::{distance, failed};
use super::{Check, Verdict};
use crate::engine::{Engine, EngineError};
use crate::intervention::{Action, Intervention, LayerSpan, Site};
use crate::runtime::{Context, RuntimeError};

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
        match site.target().is_added() {
            true => self.clean_tolerance(),
            false => 0.0,
        }
    }

    /// The clean run's logits where the nodes of a site are asked for.
    fn clean_asked_at(&mut self, site: Site) -> Result<Vec<f32>, EngineError> {
        if !site.target().is_added() {
            return Ok(self.clean.clone());
        }
        let tokens = &self.prompt.tokens;
        self.slow.captured(tokens, 0, &[site.target()])?;
        Ok(self.slow.context().logits(tokens.len() - 1)?.to_vec())
    }

    /// The clean run's logits where the nodes of a plan are asked for: what its effect is to be told
    /// from.
    ///
    /// # Errors
    /// [`EngineError`], where the clean run is not possible so.
    pub fn clean_beside(&mut self, plan: &[Intervention]) -> Result<Arc<[f32]>, EngineError> {
        let first = plan.first().map(|i| (i.site, i.layers.first));
        let asked =
            first.filter(|(site, _)| site.target().is_added() && self.model.may_be_on_devices());
        let Some((site, layer)) = asked else {
            return Ok(self.clean.as_slice().into());
        };
        if let Some(known) = self.beside.get(&(site, layer)) {
            return Ok(known.clone());
        }
        let plan = plan.iter().map(|i| itself(i.layers, i.site)).collect();
        let request = self.request(plan);
        let logits: Arc<[f32]> = self.slow.logits(&request)?.into();
        self.beside.insert((site, layer), logits.clone());
        Ok(logits)
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
