//! The states that manipulations put in place of an item's own.

use std::sync::Arc;

use super::Given;
use crate::engine::{DonorStates, Engine, EngineError, donor_states, filler_states};
use crate::intervention::{Kind, Needs, Site, States};
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
