//! The geometry of states: how long each is, how it turns from layer to layer, and how far it is
//! from another model's for the same text.

use super::{Down, Map};
use crate::engine::{EngineError, Planned, Prompt};
use crate::experiment::{FEW_ROWS, LayerDrift};
use crate::hook::Capture;
use crate::intervention::{States, Target};
use crate::runtime::Token;

/// The states of a text's tokens where they enter each layer and where they leave the last one.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// The layers that the states enter, the columns. The last is the number of layers: the states
    /// that leave the last one.
    pub layers: Vec<u32>,
    /// The tokens' positions, the rows.
    pub positions: Vec<u32>,
    /// By token, then by layer.
    pub states: Vec<Vec<Shape>>,
    /// For each layer, how far rounding alone moves its states: the mean over the first tokens in a
    /// batch of their own. Only beside another model.
    pub rounding: Option<Vec<LayerDrift>>,
}

/// The shape of one state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Its Euclidean length.
    pub norm: f64,
    /// The cosine of its angle with the state entering the layer below; `None` at layer 0.
    pub before: Option<f64>,
    /// How far the other model's state is from it.
    pub drift: Option<LayerDrift>,
}

/// What of a geometry is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// The base-10 logarithm of the norm.
    Norm,
    /// 1 less the cosine with the state one layer below.
    Turn,
    /// The length of the difference from the other model's state, as a share of the state.
    Drift,
}

impl Aspect {
    /// What a cell is, in words.
    pub fn name(self) -> &'static str {
        match self {
            Aspect::Norm => "base-10 logarithm of the state's length",
            Aspect::Turn => "1 - cosine with the state one layer below",
            Aspect::Drift => "length of the difference, as a share of the state",
        }
    }
}

/// States of a run, kept to be compared with another model's.
#[derive(Clone, Debug)]
pub struct Kept {
    tokens: Vec<Token>,
    n_layer: u32,
    states: States,
    rounding: Vec<LayerDrift>,
}

impl Kept {
    /// Runs a text clean, and its first tokens in a batch of their own: so few rows meet other
    /// kernels, which is what rounding does. (Kernels that take four rows at once leave three.)
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn of(engine: &mut Planned, prompt: &Prompt) -> Result<Self, EngineError> {
        let n_layer = engine.inspect().model().n_layer();
        let tokens = &prompt.tokens;
        let states = entering(engine, tokens, n_layer)?;
        let few = match tokens.len() {
            n if n > FEW_ROWS => FEW_ROWS,
            n if n > 3 => 3,
            n => n.saturating_sub(1).max(1),
        };
        let again = entering(engine, &tokens[..few], n_layer)?;
        let rounding = (0..=n_layer).map(|layer| {
            let drifts = (0..few as u32).filter_map(|at| {
                LayerDrift::between(states.get(layer, at)?, again.get(layer, at)?)
            });
            let drifts: Vec<LayerDrift> = drifts.collect();
            let mean = |of: fn(&LayerDrift) -> f64| {
                drifts.iter().map(of).sum::<f64>() / drifts.len().max(1) as f64
            };
            LayerDrift {
                cosine: mean(|drift| drift.cosine),
                error: mean(|drift| drift.error),
            }
        });
        Ok(Self {
            rounding: rounding.collect(),
            tokens: tokens.clone(),
            n_layer,
            states,
        })
    }

    /// The geometry of some tokens at some layers and above the last one, and their distance from
    /// another model's states.
    ///
    /// # Errors
    /// What keeps the two from being compared: other tokens, another number of layers, states of
    /// another width or without a direction.
    pub fn geometry(
        &self,
        layers: &[u32],
        positions: &[u32],
        other: Option<&Kept>,
    ) -> Result<Geometry, String> {
        if let Some(other) = other {
            self.compares(other)?;
        }
        let mut layers = layers.to_vec();
        layers.push(self.n_layer);
        let shape = |layer: u32, at: u32| {
            let state = self.states.get(layer, at).expect("all were kept");
            let squares = state.iter().map(|x| f64::from(*x) * f64::from(*x));
            let below = layer.checked_sub(1);
            let below = below.and_then(|below| self.states.get(below, at));
            let before = below.and_then(|below| LayerDrift::between(below, state));
            let there = other.and_then(|other| other.states.get(layer, at));
            Shape {
                norm: squares.sum::<f64>().sqrt(),
                before: before.map(|drift| drift.cosine),
                drift: there.and_then(|there| LayerDrift::between(state, there)),
            }
        };
        let row = |at: &u32| layers.iter().map(|layer| shape(*layer, *at)).collect();
        let states: Vec<Vec<Shape>> = positions.iter().map(row).collect();
        let rounding = other.map(|_| {
            let of = layers.iter().map(|layer| self.rounding[*layer as usize]);
            of.collect()
        });
        Ok(Geometry {
            states,
            positions: positions.to_vec(),
            rounding,
            layers,
        })
    }

    fn compares(&self, other: &Self) -> Result<(), String> {
        let width = |of: &Self| of.states.get(0, 0).map_or(0, <[f32]>::len);
        if self.tokens != other.tokens {
            Err("the other model reads the text as other tokens, so their states are not of the same text".into())
        } else if (self.n_layer, width(self)) != (other.n_layer, width(other)) {
            Err(format!(
                "the other model has {} layers of width {}, this one {} of width {}: their states cannot be compared",
                other.n_layer,
                width(other),
                self.n_layer,
                width(self)
            ))
        } else {
            Ok(())
        }
    }
}

fn entering(engine: &mut Planned, tokens: &[Token], n_layer: u32) -> Result<States, EngineError> {
    let capture = Capture {
        targets: vec![Target::Input],
        layers: (0..=n_layer).collect(),
        ..Capture::default()
    };
    Ok(engine.captured_of_all(tokens, &capture)?.inputs)
}

impl Geometry {
    /// One aspect as a map; what rounding alone does to the states is its floor.
    pub fn map(&self, aspect: Aspect) -> Map {
        let value = |shape: &Shape| match aspect {
            Aspect::Norm => Some(shape.norm.log10()).filter(|x| x.is_finite()),
            Aspect::Turn => shape.before.map(|cosine| 1.0 - cosine),
            Aspect::Drift => shape.drift.map(|drift| drift.error),
        };
        let rounding = self.rounding.iter().flatten().map(|drift| drift.error);
        Map {
            layers: self.layers.clone(),
            down: Down::Tokens,
            rows: self.positions.clone(),
            values: (self.states.iter())
                .map(|row| row.iter().map(value).collect())
                .collect(),
            clean: f64::NAN,
            corrupted: None,
            floor: match aspect {
                Aspect::Drift => rounding.fold(0.0, f64::max),
                Aspect::Norm | Aspect::Turn => 0.0,
            },
            says: None,
        }
    }

    /// For each layer the mean drift over the tokens, and rounding's own; `None` where no other
    /// model was compared.
    pub fn by_layer(&self) -> Option<Vec<(u32, LayerDrift, LayerDrift)>> {
        let rounding = self.rounding.as_ref()?;
        let n = self.positions.len() as f64;
        let of_layer = |column: usize| {
            let drifts = self.states.iter().filter_map(|row| row[column].drift);
            let sum = drifts.fold(LayerDrift::default(), |sum, drift| LayerDrift {
                cosine: sum.cosine + drift.cosine / n,
                error: sum.error + drift.error / n,
            });
            (self.layers[column], sum, rounding[column])
        };
        Some((0..self.layers.len()).map(of_layer).collect())
    }
}
