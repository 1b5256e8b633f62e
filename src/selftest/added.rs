//! What a layer adds to the residual stream, zeroed, against weights of zero.

use super::examined::Examined;
use super::texts::LENGTH;
use super::verdict::{distance, failed};
use super::watch::CONTEXT;
use super::{Check, Silent, Verdict};
use crate::engine::{Engine, EngineError, Straightforward};
use crate::intervention::{HeadSet, Kind, SecondWay, Site};
use crate::runtime::{Model, RuntimeError};

impl Examined<'_> {
    /// Prior tokens' states leaving a layer are those of a model in which the weights are zero that
    /// project what the layer adds, or a head's columns of them; the last token's is the clean run's.
    pub fn zero_weights(&mut self, silent: &mut Silent<'_>) -> Result<(), EngineError> {
        for cell in self.scope.middle_cells() {
            let (kind, site, _) = cell;
            let way = kind.manipulation().second_way();
            if way != Some(SecondWay::ZeroWeights) || !site.target().is_added() {
                continue;
            }
            self.check("what a layer adds zeroed, weights of zero", 2 + CONTEXT)?;
            let verdict = match self.zeroed(silent, cell) {
                Ok(verdict) => verdict,
                Err(error) => failed(&error),
            };
            self.note(Check::ZeroWeights, cell, verdict);
        }
        Ok(())
    }

    fn zeroed(
        &mut self,
        silent: &mut Silent<'_>,
        (kind, site, k): (Kind, Site, u32),
    ) -> Result<Verdict, EngineError> {
        // Of heads, one that is not the first.
        let heads = self.model.heads().of_queries(k).unwrap_or(1);
        let (head, site) = match site {
            Site::Heads(_) => (heads / 2, Site::Heads(HeadSet::of([heads as u32 / 2]))),
            other => (0, other),
        };
        let request = self.request(vec![self.intervention(kind, site, k)]);
        self.slow.logits(&request)?;
        let after = self.slow.context().testimony();
        let twin = without(silent.anew()?, site, k, head)?;
        let mut twin = Straightforward::new(twin.into(), &self.options)?;
        twin.context().call_witness();
        twin.logits(&self.request(vec![]))?;
        let twin = twin.context().testimony();
        let leaving = [&after, &twin, &self.clean_rows].map(|seen| seen.outputs.get(&k));
        let [Some(after), Some(zero), Some(clean)] = leaving else {
            let reason = format!("what leaves layer {k} does not go by llama.cpp's usual name");
            return Ok(Verdict::NotSupported { reason });
        };
        let prior = after.len() / LENGTH * (LENGTH - 1);
        if [zero.len(), clean.len()] != [after.len(); 2] {
            return Ok(Verdict::of(f64::INFINITY, 0.0));
        }
        let should = [&zero[..prior], &clean[prior..]].concat();
        let largest = should.iter().fold(1.0, |most: f32, x| most.max(x.abs()));
        let tolerance = self.clean_tolerance() * f64::from(largest);
        Ok(Verdict::of(distance(after, &should), tolerance))
    }
}

/// A model without what a site is at layer `k`.
fn without(model: Model, site: Site, k: u32, head: usize) -> Result<Model, RuntimeError> {
    match site {
        Site::MlpOut => model.without_mlps(k),
        Site::Heads(_) => model.without_head(k, head),
        _ => model.without_attention(k),
    }
}
