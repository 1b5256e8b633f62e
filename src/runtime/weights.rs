//! What types a GGUF file's weights really have: names promise more than files hold.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Level;
use super::header::Header;

/// The key under which a requantized file keeps its source's level.
pub(super) const REQUANTIZED_FROM: &CStr = c"midlayer.requantized_from";

/// How many weights of a file have which type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// Weights of matrices by type, as `Q8_0`, without embeddings and the output matrix, which
    /// quantizers treat apart. Empty for a model made in memory.
    pub types: BTreeMap<String, u64>,
    /// For a file that midlayer requantized: the level of its source.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub requantized_from: Option<String>,
    /// Weights in rows whose width is no multiple of 32.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub uneven_32: u64,
    /// Weights in rows whose width is no multiple of 256.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub uneven_256: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Weights {
    /// The share of weights that must have a level's own type. Mixtures are the loosest: Q3_K_M
    /// and Q2_K keep up to half of a small model's weights in finer types.
    pub(super) const MOSTLY: f64 = 0.4;

    /// Reads the headers of a model's files. `None` where they cannot be read; the loader says
    /// why.
    pub(super) fn of_files(files: &[PathBuf]) -> Option<Self> {
        let mut weights = Self::default();
        for file in files {
            let header = Header::read(file).ok()?;
            weights.add(&header)?;
        }
        Some(weights)
    }

    fn add(&mut self, header: &Header) -> Option<()> {
        for tensor in &header.tensors {
            let name = &tensor.name;
            if !name.ends_with(".weight") || name.contains("norm") || is_apart(name) {
                continue;
            }
            *self.types.entry(tensor.type_name()?).or_default() += tensor.elements;
            for (block, uneven) in [(32, &mut self.uneven_32), (256, &mut self.uneven_256)] {
                if !tensor.width.is_multiple_of(block) {
                    *uneven += tensor.elements;
                }
            }
        }
        if let Some(source) = header.text(REQUANTIZED_FROM.to_str().ok()?) {
            self.requantized_from = Some(source.to_string());
        }
        Some(())
    }

    /// Weights in rows that a level cannot quantize, since it takes so many at a time.
    pub(super) fn uneven(&self, level: Level) -> u64 {
        match level.block() {
            256 => self.uneven_256,
            32 => self.uneven_32,
            _ => 0,
        }
    }

    /// The type that most weights have, and its share of them.
    pub fn main_type(&self) -> Option<(&str, f64)> {
        let total: u64 = self.types.values().sum();
        let (name, most) = self.types.iter().max_by_key(|(_, n)| **n)?;
        Some((name, *most as f64 / total as f64))
    }

    pub(super) fn share(&self, name: &str) -> f64 {
        let total: u64 = self.types.values().sum();
        let own = self.types.get(name).copied().unwrap_or(0);
        if total == 0 {
            1.0
        } else {
            own as f64 / total as f64
        }
    }

    /// The types with their shares, as `Q8_0 86%, F32 14%`, the commonest first.
    pub fn shares(&self) -> String {
        let mut types: Vec<(&String, f64)> = self
            .types
            .keys()
            .map(|name| (name, self.share(name)))
            .collect();
        types.sort_by(|a, b| b.1.total_cmp(&a.1));
        let one = |(name, share): (&String, f64)| format!("{name} {:.0}%", 100.0 * share);
        types.into_iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Whether the file is mostly what a level promises: mixtures (`_m`) hold finer types too.
    pub fn is_mostly(&self, level: Level) -> bool {
        self.share(level.base_type()) >= Self::MOSTLY
    }
}

fn is_apart(name: &str) -> bool {
    name.starts_with("token_embd") || name.starts_with("output") || name.contains("position_embd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        let weights = Weights {
            types: [("Q4_K".to_string(), 80), ("Q6_K".to_string(), 20)].into(),
            ..Weights::default()
        };
        assert_eq!(weights.shares(), "Q4_K 80%, Q6_K 20%");
        assert_eq!(weights.main_type(), Some(("Q4_K", 0.8)));
        assert!(weights.is_mostly(Level::Q4KM) && !weights.is_mostly(Level::Q8_0));
    }
}
