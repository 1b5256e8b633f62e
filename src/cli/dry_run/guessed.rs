//! Models that are not here: what they take, by their size.

use crate::engine::{Cost, Decode, Planned, Request, Shape};
use crate::experiment::Variant;
use crate::models::HubModel;
use crate::runtime::Facts;
use crate::sweep::{Prices, Speed, layer_weights};

/// The share of a layer's products that keys and values take: a guess between models with many
/// and with few heads for them.
const CACHE_SHARE: f64 = 0.1;

/// The prices of a model that is not here, by its size.
pub struct Guessed {
    shape: Shape,
    speed: Speed,
    /// Products of a row in a layer, and of logits.
    layer: f64,
    head: f64,
}

impl Guessed {
    pub fn new(variant: &Variant, speed: Speed, reference: &Facts) -> Self {
        let facts = &variant.spec.model.facts;
        Self {
            shape: variant.spec.shape(),
            speed,
            layer: layer_weights(facts),
            // The reference's vocabulary stands for the model's own.
            head: f64::from(reference.n_vocab) * f64::from(facts.n_embd),
        }
    }
}

impl Prices for Guessed {
    fn cost(&mut self, requests: &[Request]) -> Cost {
        self.shape.cost(requests)
    }

    fn seconds(&mut self, decode: &Decode) -> f64 {
        let share = if decode.cut.onward { 1.0 } else { CACHE_SHARE };
        let row = share * self.layer * f64::from(decode.cut.layers(self.shape.n_layer));
        self.speed
            .seconds((decode.rows, row), (decode.outputs, self.head))
    }
}

/// What is known of it.
pub fn facts_of(known: &HubModel) -> Facts {
    Facts {
        architecture: known.architecture.clone(),
        name: known.repo.clone(),
        n_layer: known.n_layer,
        n_embd: known.n_embd,
        n_vocab: known.n_vocab,
        n_ctx_train: 0,
        quantization: known.quantization.clone(),
        bytes: known.bytes,
        n_params: known.n_params,
        left_out_end: None,
        unrotated: false,
        weights: Default::default(),
        guesses_splitting: false,
    }
}

/// Bytes of keys and values, 16 bits each, in the cells that the planned strategy asks for, and
/// a guess at llama.cpp's other buffers.
pub fn buffers_of(known: &HubModel, n_ctx: u32) -> u64 {
    let cells = u64::from(Planned::cells(n_ctx));
    2 * 2 * cells * u64::from(known.n_layer) * u64::from(known.n_embd_kv) + 300_000_000
}
