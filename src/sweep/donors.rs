//! The states that manipulations put in place of an item's own.

use std::sync::Arc;

use super::Given;
use crate::engine::{DonorStates, Engine, EngineError, donor_states, filler_states};
use crate::intervention::{Kind, Needs, Site, States};
use crate::runtime::Token;
use crate::tasks::Item;

/// An item's donor states, captured once.
pub(super) struct Donors<'s> {
    /// The sites that a sweep rewrites.
    sites: &'s [Site],
    given: &'s Given,
    donor: Option<DonorStates>,
    filler: Option<DonorStates>,
}

impl<'s> Donors<'s> {
    pub fn new(sites: &'s [Site], given: &'s Given) -> Self {
        Self {
            sites,
            given,
            donor: None,
            filler: None,
        }
    }

    /// The states that `kind` puts at `site`; `None` for kinds that need none.
    pub fn states(
        &mut self,
        kind: Kind,
        site: Site,
        item: &Item,
        engine: &mut dyn Engine,
    ) -> Result<Option<Arc<States>>, EngineError> {
        let needs = kind.manipulation().needs();
        let known = match needs {
            Needs::Donor => &mut self.donor,
            Needs::Filler => &mut self.filler,
            Needs::Nothing | Needs::Direction | Needs::Mean => {
                return self.given.states(kind, &item.prompt.tokens, engine);
            }
        };
        if known.is_none() {
            *known = Some(match needs {
                Needs::Donor => {
                    let of = item
                        .swap
                        .as_ref()
                        .expect("cells with a donor are of items with one");
                    donor_states(engine, &of.donor, &of.moves, self.sites)?
                }
                _ => filler_states(engine, &item.prompt, self.sites)?,
            });
        }
        Ok(known.as_ref().map(|states| states.at(site)))
    }
}

/// The texts that are run whole to get the states that `kind` puts in an item.
pub(super) fn texts(kind: Kind, sites: &[Site], item: &Item) -> Vec<Vec<Token>> {
    match (kind.manipulation().needs(), &item.swap) {
        // Once for the stream, once where its keys and values are to be put.
        (Needs::Donor, Some(swap)) => {
            let stream = sites.contains(&Site::Residual);
            let cached = sites.iter().any(|site| *site != Site::Residual);
            vec![swap.donor.tokens.clone(); usize::from(stream) + usize::from(cached)]
        }
        (Needs::Filler, _) => vec![item.prompt.tokens.clone()],
        _ => Vec::new(),
    }
}
