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

/// Rows of the small batch that shows what rounding does: so few meet other kernels.
pub const FEW_ROWS: usize = 7;

impl LayerDrift {
    /// The drift of `b` from `a`; `None` where they have not the same width or one has no direction.
    pub fn between(a: &[f32], b: &[f32]) -> Option<Self> {
        let (mut dot, mut aa, mut bb, mut apart) = (0.0, 0.0, 0.0, 0.0);
        for (&x, &y) in a.iter().zip(b) {
            let (x, y) = (f64::from(x), f64::from(y));
            dot += x * y;
            aa += x * x;
            bb += y * y;
            apart += (x - y) * (x - y);
        }
        let lengths = (aa * bb).sqrt();
        let can = a.len() == b.len() && lengths > 0.0 && lengths.is_finite();
        can.then(|| Self {
            cosine: (dot / lengths).clamp(-1.0, 1.0),
            error: (apart / aa).sqrt(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_the_angle_and_the_length_of_the_difference() {
        let same = LayerDrift::between(&[3.0, 4.0], &[3.0, 4.0]).unwrap();
        assert_eq!((same.cosine, same.error), (1.0, 0.0));
        let turned = LayerDrift::between(&[2.0, 0.0], &[0.0, 1.0]).unwrap();
        assert_eq!(turned.cosine, 0.0);
        assert!((turned.error - 1.25f64.sqrt()).abs() < 1e-12);
        let longer = LayerDrift::between(&[1.0, 1.0], &[2.0, 2.0]).unwrap();
        assert!((longer.cosine - 1.0).abs() < 1e-12 && (longer.error - 1.0).abs() < 1e-12);
        assert_eq!(LayerDrift::between(&[0.0], &[1.0]), None);
        assert_eq!(LayerDrift::between(&[1.0], &[1.0, 0.0]), None);
        assert_eq!(LayerDrift::between(&[f32::NAN], &[1.0]), None);
    }
}
