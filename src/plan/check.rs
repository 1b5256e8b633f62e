//! What can be told of a plan without its model.

use super::{Plan, PlanFileError, Requests, VERSION};
use crate::intervention::Extent;

/// More layers than any model has.
const LAYERS: u32 = 1 << 16;

impl Plan {
    /// Refuses what no model could carry out.
    pub(super) fn checked(self) -> Result<Self, PlanFileError> {
        if self.midlayer_plan != VERSION {
            return Err(PlanFileError::Version(self.midlayer_plan));
        }
        if self.interventions.is_empty() && self.capture.is_none() {
            return Err(PlanFileError::Empty);
        }
        if self.requests == Requests::Every(0) {
            return Err(PlanFileError::EveryZeroth);
        }
        let steps = self.interventions.iter();
        let captured = self.capture.iter().flat_map(|keep| &keep.layers);
        let mut layers = steps.map(|step| step.layer).chain(captured.copied());
        let beyond = self.model.map_or(LAYERS, |model| model.layers);
        if let Some(layer) = layers.find(|layer| *layer >= beyond) {
            return Err(PlanFileError::Layer { layer, beyond });
        }
        let windows = self.interventions.iter().map(|step| step.extent);
        let mut windows = windows.filter_map(|extent| match extent {
            Extent::Window(width) => Some(width),
            _ => None,
        });
        match windows.find(|width| !(1..LAYERS).contains(width)) {
            Some(width) => Err(PlanFileError::Window(width)),
            None => Ok(self),
        }
    }
}
