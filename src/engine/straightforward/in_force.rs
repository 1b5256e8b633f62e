//! The plan in force, and what is known of the text that it is in force on.

use std::sync::Arc;

use crate::hook::Captured;
use crate::intervention::{Action, Intervention, States, Target};

/// The layer above which own streams are held, and the states they are held at.
pub(super) type Pins = (u32, Arc<States>);

/// A plan, sorted by what it rewrites.
#[derive(Default)]
pub(super) struct InForce {
    /// Interventions on the residual stream and on attention.
    pub stream: Vec<Intervention>,
    /// Interventions on keys and values.
    pub cache: Vec<Intervention>,
    /// For each of those that is a freeze, keys and values computed from saved states.
    pub frozen: Vec<Captured>,
    /// Where keys or values are rewritten: every token's own states entering every layer.
    pub own: Arc<States>,
}

impl InForce {
    pub fn new(plan: Vec<Intervention>) -> Self {
        let (cache, stream): (Vec<_>, Vec<_>) = plan
            .into_iter()
            .partition(|i| matches!(i.target(), Target::Keys | Target::Values));
        Self {
            stream,
            frozen: vec![Captured::default(); cache.len()],
            cache,
            own: Arc::default(),
        }
    }

    /// The plan as editors carry it out, and what they hold still.
    pub fn carried_out(&self) -> (Vec<Intervention>, Option<Pins>) {
        let mut plan = self.stream.clone();
        for (intervention, frozen) in self.cache.iter().zip(&self.frozen) {
            let mut intervention = intervention.clone();
            if matches!(intervention.action, Action::Freeze) {
                let states = match intervention.target() {
                    Target::Keys => &frozen.keys,
                    _ => &frozen.values,
                };
                intervention.action = Action::Given(Arc::new(states.clone()));
            }
            plan.push(intervention);
        }
        let first = self.cache.iter().map(|i| i.layers.first).min();
        (plan, first.map(|layer| (layer, self.own.clone())))
    }

    /// Takes up the newest token's own states.
    pub fn learn(&mut self, states: Captured) {
        Arc::make_mut(&mut self.own).extend(states.inputs);
    }
}
