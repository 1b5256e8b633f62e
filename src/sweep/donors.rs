//! The states that manipulations put in place of an item's own.

use std::sync::Arc;

use super::Given;
use crate::engine::{DonorStates, Engine, EngineError, donor_states};
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
    scaffold: Option<DonorStates>,
}

impl<'s> Donors<'s> {
    pub fn new(sites: &'s [Site], given: &'s Given) -> Self {
        Self {
            sites,
            given,
            donor: None,
            filler: None,
            scaffold: None,
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
            Needs::Scaffold => &mut self.scaffold,
            Needs::Nothing | Needs::Direction | Needs::Mean => {
                return self.given.states(kind, site, &item.prompt.tokens, engine);
            }
        };
        if known.is_none() {
            *known = match needs {
                Needs::Donor => {
                    let of = item
                        .swap
                        .as_ref()
                        .expect("cells with a donor are of items with one");
                    Some(donor_states(engine, &of.donor, &of.moves, self.sites)?)
                }
                _ => self.given.spliced(kind, &item.prompt, self.sites, engine)?,
            };
        }
        Ok(known.as_ref().map(|states| states.at(site)))
    }
}

/// The texts that are run whole to get the states that `kind` puts in an item.
pub(super) fn texts(kind: Kind, sites: &[Site], item: &Item) -> Vec<Vec<Token>> {
    match (kind.manipulation().needs(), &item.swap) {
        // Once for the stream and what is added to it, once where its keys and values are to be
        // put.
        (Needs::Donor, Some(swap)) => {
            let stream = sites.iter().any(|site| !site.is_cached());
            let cached = sites.iter().any(|site| site.is_cached());
            vec![swap.donor.tokens.clone(); usize::from(stream) + usize::from(cached)]
        }
        (Needs::Filler | Needs::Scaffold, _) => vec![item.prompt.tokens.clone()],
        _ => Vec::new(),
    }
}
