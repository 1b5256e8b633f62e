//! What is known of an architecture, and what follows from it.

use std::fmt;
use std::str::FromStr;

use super::architectures::Architecture;
use super::metadata::Value;

/// What an architecture's metadata say, beyond what all of them do.
#[derive(Clone, Copy)]
pub(super) struct Recipe {
    /// Unique among synthetic models.
    pub(super) name: &'static str,
    /// llama.cpp's name.
    pub(super) llama_cpp: &'static str,
    /// The key of its norms' epsilon.
    pub(super) epsilon: &'static str,
    /// Which layers keep keys and values.
    pub(super) caches: Caches,
    /// Heads of K and V.
    pub(super) heads: Heads,
    /// The rest.
    pub(super) metadata: &'static [Group],
}

/// Metadata that belong together, keys without the architecture's prefix.
pub(super) type Group = &'static [(&'static str, Value)];

impl Recipe {
    /// The rest of the metadata, group after group.
    pub(super) fn pairs(&self) -> impl Iterator<Item = &'static (&'static str, Value)> + use<> {
        self.metadata.iter().copied().flatten()
    }
}

/// Which layers keep keys and values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caches {
    All,
    Odd,
    None,
    /// The first and the last of every four.
    Outer,
    /// The lowest so many; the others read theirs.
    Lowest(u32),
}

/// Heads of K and V.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Heads {
    /// Two heads of Q share one.
    Paired,
    /// As many as of Q.
    Own,
    /// All share one.
    Single,
    /// As with [`Heads::Paired`] in layers with odd numbers; none in the others.
    PairedInOdd,
    /// No attention at all.
    None,
}

pub(super) const fn rms_norms(llama_cpp: &'static str) -> Recipe {
    Recipe {
        name: llama_cpp,
        llama_cpp,
        epsilon: "attention.layer_norm_rms_epsilon",
        caches: Caches::All,
        heads: Heads::Paired,
        metadata: &[],
    }
}

pub(super) const fn layer_norms(llama_cpp: &'static str) -> Recipe {
    Recipe {
        epsilon: "attention.layer_norm_epsilon",
        ..rms_norms(llama_cpp)
    }
}

impl Architecture {
    /// A name of its own.
    pub fn name(self) -> &'static str {
        self.recipe().name
    }

    /// llama.cpp's name; several variants may share one.
    pub fn llama_cpp_name(self) -> &'static str {
        self.recipe().llama_cpp
    }

    /// Whether `layer` keeps keys and values of its own.
    pub fn has_cache(self, layer: u32) -> bool {
        match self.recipe().caches {
            Caches::All => true,
            Caches::Odd => layer % 2 == 1,
            Caches::None => false,
            Caches::Outer => matches!(layer % 4, 0 | 3),
            Caches::Lowest(n) => layer < n,
        }
    }

    /// Whether `layer` has attention.
    pub fn has_attention(self, layer: u32) -> bool {
        matches!(self.recipe().caches, Caches::Lowest(_)) || self.has_cache(layer)
    }

    /// Whether llama.cpp leaves `layer` out of the graph: it has neither attention nor MLP.
    pub fn is_empty(self, layer: u32) -> bool {
        match self {
            Architecture::Deci => layer % 4 == 2,
            Architecture::DeciLinear => layer % 4 == 1,
            _ => false,
        }
    }

    /// Whether a layer that keeps keys and values keeps them as one (latent attention).
    pub fn is_latent(self) -> bool {
        let mut pairs = self.recipe().pairs();
        pairs.any(|(key, _)| *key == "attention.key_length_mla")
    }

    /// Whether some layer carries a state from token to token that is no list of keys and
    /// values.
    pub fn is_recurrent(self) -> bool {
        let keys = [
            "ssm.conv_kernel",
            "wkv.head_size",
            "shortconv.l_cache",
            "full_attention_interval",
        ];
        self.recipe().pairs().any(|(key, _)| keys.contains(key))
    }

    /// Whether attention chooses which of the earlier tokens it reads.
    pub fn is_sparse(self) -> bool {
        let mut pairs = self.recipe().pairs();
        pairs.any(|(key, _)| *key == "attention.indexer.top_k")
    }

    /// Every variant, those refused too.
    pub(crate) fn every() -> impl Iterator<Item = Architecture> {
        let all = Self::ALL.iter().chain(Self::KIN);
        all.chain(Self::REFUSED).copied()
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Architecture {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::every()
            .find(|architecture| architecture.name() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Self::every().map(Self::name).collect();
                let names = names.join(", ");
                format!("'{text}' is no synthetic architecture; choose one of {names}")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for architecture in Architecture::every() {
            assert_eq!(architecture.to_string().parse(), Ok(architecture));
            assert!(architecture.describe().ends_with('.'), "{architecture}");
            assert!(!architecture.describe().contains("  "), "{architecture}");
        }
        assert!("llama5".parse::<Architecture>().is_err());
        assert!(Architecture::ALL.len() >= 24);
    }

    #[test]
    fn layers_with_attention_and_with_a_cache() {
        let of = |a: Architecture, f: fn(Architecture, u32) -> bool| [0, 1, 2, 3].map(|l| f(a, l));
        let (yes, odd) = ([true; 4], [false, true, false, true]);
        assert_eq!(of(Architecture::Llama, Architecture::has_cache), yes);
        assert_eq!(of(Architecture::Jamba, Architecture::has_cache), odd);
        assert_eq!(of(Architecture::Jamba, Architecture::has_attention), odd);
        assert_eq!(of(Architecture::Gemma4, Architecture::has_attention), yes);
        let own = [true, true, false, false];
        assert_eq!(of(Architecture::Gemma4, Architecture::has_cache), own);
        assert_eq!(
            of(Architecture::Rwkv6, Architecture::has_attention),
            [false; 4]
        );
        assert!(Architecture::FalconH1.is_recurrent() && !Architecture::Gemma4.is_recurrent());
    }
}
