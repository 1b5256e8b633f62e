//! How far models are from one another, layer by layer.

use serde::{Deserialize, Serialize};

/// How far a variant's hidden states are from those of the run's first variant, in clean runs of
/// the same prompts. The first variant's own is what rounding does: the first tokens of its
/// prompts in a batch of few rows, and the last one in a batch of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Prompts.
    pub prompts: usize,
    /// Tokens whose states were compared, over all prompts.
    pub tokens: usize,
    /// For each layer, the states that enter it.
    pub layers: Vec<LayerDrift>,
    /// Mean KL divergence of the next-token distribution from the first variant's, nats.
    pub kl: f64,
}

/// The drift of the states entering a layer: means over tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerDrift {
    /// Cosine of the angle between the two states.
    pub cosine: f64,
    /// Length of their difference as a share of the first variant's state.
    pub error: f64,
}
