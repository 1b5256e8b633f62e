//! The paper's rule: the first layer from which up the score stays near the clean one.

use super::mean;
use super::profile::Profile;

impl Profile {
    /// The lowest swept layer such that there and at every swept layer above the mean score is at
    /// least `threshold` times the clean mean; `None` where the last one's is not. This describes
    /// the items seen and no more: it is a maximum over many layers, which noise moves up, and
    /// no interval of it covers (docs/statistics.md).
    pub fn first_at(&self, threshold: f64) -> Option<u32> {
        let least = threshold * mean(self.items.iter().map(|item| item.clean));
        let holds = |k: &usize| mean(self.items.iter().map(|item| item.at[*k])) >= least - 1e-12;
        let layers = (0..self.layers.len()).rev();
        let lowest = layers.take_while(holds).last()?;
        (!self.items.is_empty()).then(|| self.layers[lowest])
    }
}
