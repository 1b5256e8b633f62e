//! Mean states over a set of texts.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Engine, EngineError, Prompt, PromptError};
use crate::intervention::{States, Target};
use crate::runtime::Token;

/// A sum of states of one layer, and of how many.
type Sum = (Vec<f64>, u32);

/// Mean states of a part of each layer: over all texts at a position, and over all places of a
/// token.
#[derive(Clone, Debug, Default)]
pub struct Means {
    by_position: HashMap<(u32, u32), Sum>,
    by_token: HashMap<(u32, i32), Sum>,
    /// Layers up to the last one of which anything is known.
    layers: u32,
}

impl Means {
    /// The means of what `target` is over clean runs of `texts`.
    ///
    /// # Errors
    /// The engine's.
    pub fn over(
        engine: &mut dyn Engine,
        texts: &[Prompt],
        target: Target,
    ) -> Result<Self, EngineError> {
        let mut means = Self::default();
        for text in texts {
            let captured = engine.captured(&text.tokens, 0, &[target])?;
            for ((layer, position), row) in captured.of(target).iter() {
                means.layers = means.layers.max(layer + 1);
                add(&mut means.by_position, (layer, position), row);
                let token = text.tokens[position as usize].0;
                add(&mut means.by_token, (layer, token), row);
            }
        }
        Ok(means)
    }

    /// The states that replace a prompt's own: by token, or by position.
    ///
    /// # Errors
    /// [`PromptError::NoMean`] names the first prior token for which the texts have nothing.
    pub fn states(&self, tokens: &[Token], by_token: bool) -> Result<Arc<States>, EngineError> {
        let mut states = States::new();
        let prior = tokens.len().saturating_sub(1);
        for (position, token) in (0..).zip(&tokens[..prior]) {
            let mut known = false;
            let sum = |layer| match by_token {
                true => self.by_token.get(&(layer, token.0)),
                false => self.by_position.get(&(layer, position)),
            };
            for layer in 0..self.layers {
                let Some((values, n)) = sum(layer) else {
                    continue;
                };
                let mean = values.iter().map(|value| (value / f64::from(*n)) as f32);
                states.insert(layer, position, mean.collect::<Vec<f32>>());
                known = true;
            }
            if !known {
                return Err(PromptError::NoMean { position, by_token }.into());
            }
        }
        Ok(Arc::new(states))
    }
}

fn add<K: std::hash::Hash + Eq>(sums: &mut HashMap<K, Sum>, key: K, row: &[f32]) {
    let (sum, n) = sums.entry(key).or_insert_with(|| (vec![0.0; row.len()], 0));
    sum.iter_mut()
        .zip(row)
        .for_each(|(sum, value)| *sum += f64::from(*value));
    *n += 1;
}

/// The texts of a file: one in each line that is not empty.
///
/// # Errors
/// For a file that cannot be read, or holds no text.
pub fn read_texts(path: &Path) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let texts: Vec<String> = lines.map(String::from).collect();
    match texts.is_empty() {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no line has a text",
        )),
        false => Ok(texts),
    }
}
