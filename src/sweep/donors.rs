//! The states that inject and filler put in place of an item's own.

use std::sync::Arc;

use crate::engine::{Engine, EngineError, donor_states, filler_states};
use crate::intervention::{Kind, Site, States};
use crate::tasks::Item;

/// An item's donor states, captured once.
#[derive(Default)]
pub(super) struct Donors {
    inject: Option<[Arc<States>; 3]>,
    filler: Option<[Arc<States>; 3]>,
}

impl Donors {
    /// The states that `kind` puts at `site`; `None` for kinds that need none.
    pub fn states(
        &mut self,
        kind: Kind,
        site: Site,
        item: &Item,
        engine: &mut dyn Engine,
    ) -> Result<Option<Arc<States>>, EngineError> {
        let known = match kind {
            Kind::Inject => &mut self.inject,
            Kind::Filler => &mut self.filler,
            _ => return Ok(None),
        };
        if known.is_none() {
            *known = Some(match kind {
                Kind::Inject => {
                    let of = item
                        .swap
                        .as_ref()
                        .expect("inject cells are of items with one");
                    donor_states(engine, &of.donor, &of.moves)?
                }
                _ => filler_states(engine, &item.prompt)?,
            });
        }
        let by_site = known.as_ref().expect("made above");
        let n = match site {
            Site::Residual => 0,
            Site::Keys => 1,
            Site::Values => 2,
        };
        Ok(Some(by_site[n].clone()))
    }
}
