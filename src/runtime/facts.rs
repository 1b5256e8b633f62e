//! What a model says of itself, and what a reader of results should know of it.

use serde::{Deserialize, Serialize};

use super::{ContextOptions, Level, Weights};

/// What a model says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `general.architecture`.
    pub architecture: String,
    /// The file's name without its ending: what the user knows the model by.
    pub name: String,
    /// Number of layers.
    pub n_layer: u32,
    /// Width of the residual stream.
    pub n_embd: u32,
    /// Vocabulary size.
    pub n_vocab: u32,
    /// Context length of its training.
    pub n_ctx_train: u32,
    /// Quantization as the file states it, such as `Q8_0`.
    pub quantization: String,
    /// Size of all tensors in bytes.
    pub bytes: u64,
    /// Number of weights.
    pub n_params: u64,
    /// The types that they have.
    #[serde(default)]
    pub weights: Weights,
    /// Whether the file does not say how text is split before it becomes tokens
    /// (`tokenizer.ggml.pre`), where its tokenizer needs to know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guesses_splitting: bool,
    /// The token that the tokenizer would put behind every text, as the vocabulary spells it. It
    /// is left out, since texts are to be continued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out_end: Option<String>,
    /// Whether the model does not rotate by position: it has learned positions, or none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unrotated: bool,
}

/// A file that takes so many times the bits of its level promises less than it holds.
const MORE_THAN_PROMISED: f64 = 1.4;

const FULL_PRECISION: [&str; 3] = ["F32", "F16", "BF16"];

impl Facts {
    /// Bits that a weight takes, scales included.
    pub fn bits_per_weight(&self) -> f64 {
        8.0 * self.bytes as f64 / self.n_params.max(1) as f64
    }

    /// The quantization in a word, by what the file really holds: the level that it states if
    /// most weights have that level's type, else the type that most have.
    pub fn level(&self) -> String {
        match (self.stated(), self.weights.main_type()) {
            (Some(level), _) if self.weights.is_mostly(level) => level.to_string(),
            (None, Some(_)) if self.states_its_own() => self.quantization.clone(),
            (_, Some((held, _))) => held.to_lowercase(),
            (_, None) => self.quantization.clone(),
        }
    }

    /// The level that the file states, if midlayer knows it.
    fn stated(&self) -> Option<Level> {
        Level::stated(&self.quantization)
    }

    /// The level that the file's name or the file itself promises.
    pub fn promised(&self) -> Option<Level> {
        level_in(&self.name).or(self.stated())
    }

    /// Whether a statement that is no level of midlayer's, as `Q4_K - Small` or `IQ2_M - 2.7
    /// bpw`, names a type that many weights have: the very type, or for `IQ` and the like, which
    /// are mixtures by definition, one of its family.
    fn states_its_own(&self) -> bool {
        let stated = self.quantization.trim_start_matches("(guessed) ");
        let first = stated.split(' ').next().unwrap_or_default();
        let family = first.split('_').next().unwrap_or_default();
        let mixture = !first.starts_with('Q');
        let shares =
            self.weights.types.keys().filter(|held| {
                *held == first || (mixture && held.split('_').next() == Some(family))
            });
        let share: f64 = shares.map(|held| self.weights.share(held)).sum();
        share >= Weights::MOSTLY
    }

    /// Whether midlayer made the file from one that was itself quantized.
    pub fn is_from_quantized(&self) -> bool {
        let from = self.weights.requantized_from.as_deref();
        from.is_some_and(|from| !FULL_PRECISION.contains(&from))
    }

    /// What a reader of results should know of the file.
    pub fn notices(&self) -> Vec<String> {
        let name = &self.name;
        let mut notices = Vec::new();
        if self.is_from_quantized()
            && let Some(source) = &self.weights.requantized_from
        {
            notices.push(format!(
                "{name} was made from a {source} file, so its losses are in it too: the base of any comparison is the dequantized file, not the original"
            ));
        }
        notices.extend(self.type_notice().or_else(|| self.bits_notice()));
        notices.extend(self.splitting_notice());
        notices.extend(self.end_notice());
        notices
    }

    /// Where the tokenizer would end every text.
    pub fn end_notice(&self) -> Option<String> {
        let end = self.left_out_end.as_ref()?;
        let name = &self.name;
        Some(format!(
            "{name} puts {end} behind every text (tokenizer.ggml.add_eos_token); it is left out here, because texts are to be continued"
        ))
    }

    /// Where a context of so many positions was asked for (`-c`) that texts may be longer than
    /// those of the training.
    pub fn context_notice(&self, n_ctx: u32) -> Option<String> {
        let (name, trained) = (&self.name, self.n_ctx_train);
        // The default is no one's wish.
        let asked = n_ctx > ContextOptions::default().n_ctx;
        (asked && self.is_foreign(n_ctx as usize)).then(|| {
            format!(
                "the context has {n_ctx} positions, {name} was trained on {trained}: longer texts are foreign to it (`n_ctx`)"
            )
        })
    }

    /// Where a text of so many tokens is longer than those of the training.
    pub fn length_notice(&self, tokens: usize) -> Option<String> {
        let (name, trained) = (&self.name, self.n_ctx_train);
        self.is_foreign(tokens).then(|| {
            format!(
                "a text has {tokens} tokens, {name} was trained on {trained}: longer texts are foreign to it"
            )
        })
    }

    /// Whether rotation goes on beyond what the model was trained on. Learned positions end.
    fn is_foreign(&self, tokens: usize) -> bool {
        let trained = self.n_ctx_train as usize;
        tokens > trained && trained > 0 && !self.unrotated
    }

    /// Where the file does not say how its tokenizer splits text.
    pub fn splitting_notice(&self) -> Option<String> {
        let name = &self.name;
        self.guesses_splitting.then(|| {
            format!(
                "{name} does not say how its tokenizer splits text (it has no tokenizer.ggml.pre): llama.cpp splits it in its default way, and may give the model other tokens than it was trained on; a newer conversion of the model says it"
            )
        })
    }

    /// Where the types of the weights are not what the file or its name says.
    fn type_notice(&self) -> Option<String> {
        let weights = &self.weights;
        if weights.types.is_empty() {
            return None;
        }
        let holds = format!("holds {}, {}", weights.shares(), self.bits());
        let name = &self.name;
        let stated = self.stated();
        let wrong = |level: &Level| !weights.is_mostly(*level);
        if let Some(promised) = stated.filter(wrong).or(level_in(name).filter(wrong)) {
            let block = promised.block();
            let total: u64 = weights.types.values().sum();
            let uneven = weights.uneven(promised) as f64 / total.max(1) as f64;
            // Whether the level would be kept, if the weights had it whose widths forbid it.
            let by_width = weights.share(promised.base_type()) + uneven >= Weights::MOSTLY;
            let reason = if by_width {
                format!(
                    "{promised} needs widths that are multiples of {block}, which not all of the model's are"
                )
            } else if stated == Some(promised) {
                "the type that the file states (general.file_type) is wrong".into()
            } else {
                "its name is wrong".into()
            };
            return Some(format!("{name} is called {promised} but {holds}: {reason}"));
        }
        if stated.is_none() && !self.states_its_own() {
            let stated = &self.quantization;
            return Some(format!(
                "{name} states {stated} but {holds}: the type that the file states (general.file_type) is wrong"
            ));
        }
        None
    }

    /// Where a file takes many more bits than its level promises.
    fn bits_notice(&self) -> Option<String> {
        // Nothing is known of models made in memory.
        if self.weights.types.is_empty() {
            return None;
        }
        let level = self.promised()?;
        let more = self.bits_per_weight() > MORE_THAN_PROMISED * level.bits();
        more.then(|| {
            format!(
                "{} is called {level} ({} bits) but takes {}: embeddings, or matrices that {level} keeps finer, are a large share of this model",
                self.name,
                level.bits(),
                self.bits()
            )
        })
    }

    fn bits(&self) -> String {
        format!("{:.2} bits a weight", self.bits_per_weight())
    }
}

/// The level that a file name ends with, as in `model.Q4_1.requantized-q8_0` or `model-f16`.
fn level_in(name: &str) -> Option<Level> {
    let words = name.rsplit(['.', '-']);
    words.filter_map(|word| word.parse().ok()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a million weights at so many bits.
    fn facts(name: &str, stated: &str, types: &[(&str, u64)], bits: f64) -> Facts {
        Facts {
            architecture: "llama".into(),
            name: name.into(),
            n_layer: 4,
            n_embd: 64,
            n_vocab: 96,
            n_ctx_train: 64,
            quantization: stated.into(),
            bytes: (bits * 1e6 / 8.0) as u64,
            n_params: 1_000_000,
            weights: Weights {
                types: types.iter().map(|(t, n)| (t.to_string(), *n)).collect(),
                ..Weights::default()
            },
            guesses_splitting: false,
            left_out_end: None,
            unrotated: false,
        }
    }

    #[test]
    fn an_honest_file_is_not_noticed() {
        for (name, stated, types, bits, level) in [
            (
                "a-Q4_K_M",
                "Q4_K - Medium",
                [("Q4_K", 80), ("Q6_K", 20)],
                4.9,
                "q4_k_m",
            ),
            (
                "a-Q4_K_S",
                "Q4_K - Small",
                [("Q4_K", 90), ("Q5_K", 10)],
                4.6,
                "Q4_K - Small",
            ),
            (
                "a",
                "IQ2_M - 2.7 bpw",
                [("IQ2_S", 70), ("IQ3_S", 30)],
                2.8,
                "IQ2_M - 2.7 bpw",
            ),
            ("a", "BF16", [("BF16", 99), ("F32", 1)], 16.0, "BF16"),
            (
                "a-bf16",
                "(guessed) BF16",
                [("BF16", 99), ("F32", 1)],
                16.0,
                "(guessed) BF16",
            ),
        ] {
            let facts = facts(name, stated, &types, bits);
            assert_eq!(facts.notices(), [""; 0], "{name} {stated}");
            assert_eq!(facts.level(), level);
        }
        // Nothing is known of models made in memory.
        let memory = facts("a-q8_0", "all F32", &[], 32.0);
        assert_eq!((memory.notices().len(), memory.level()), (0, "f32".into()));
    }

    #[test]
    fn what_a_file_holds_counts_and_the_reason_is_the_right_one() {
        let wrong = "general.file_type";
        for (name, stated, held, uneven, level, reason) in [
            // No k-quant, so its widths are not at fault.
            ("a", "Q8_0", "Q4_1", 0, "q4_1", wrong),
            ("a", "Q4_K - Small", "Q4_1", 0, "q4_1", wrong),
            ("a", "IQ2_M - 2.7 bpw", "F16", 0, "f16", wrong),
            ("a", "F16", "F32", 0, "f32", wrong),
            ("a-q8_0", "Q4_1", "Q4_1", 0, "q4_1", "its name is wrong"),
            ("a.q6_k", "Q6_K", "Q8_0", 90, "q8_0", "multiples of 256"),
            ("a.q6_k", "Q6_K", "Q8_0", 9, "q8_0", wrong),
            ("a.q6_k", "Q6_K", "Q8_0", 0, "q8_0", wrong),
        ] {
            let mut facts = facts(name, stated, &[(held, 100)], 5.0);
            facts.weights.uneven_256 = uneven;
            let notices = facts.notices();
            assert_eq!(notices.len(), 1, "{name} {stated}: {notices:?}");
            let notice = &notices[0];
            assert!(notice.contains(reason), "{notice}");
            assert!(
                notice.contains(&format!("holds {held} 100%, 5.00 bits")),
                "{notice}"
            );
            assert_eq!(facts.level(), level, "{name} {stated}");
        }
    }

    #[test]
    fn a_file_of_many_more_bits_than_its_level_is_noticed() {
        let of = |bits| facts("a-q4_0", "Q4_0", &[("Q4_0", 100)], bits).notices();
        assert!(of(5.3).is_empty());
        assert!(
            of(7.01)[0].contains("q4_0 (4.5 bits) but takes 7.01 bits"),
            "{:?}",
            of(7.01)
        );
    }

    #[test]
    fn a_quantized_source_and_a_lacking_pre_tokenizer_are_noticed() {
        let mut facts = facts("a.q8_0", "Q8_0", &[("Q8_0", 1)], 8.5);
        let mut notices = |from: Option<&str>| {
            facts.weights.requantized_from = from.map(String::from);
            facts.notices()
        };
        assert!(notices(Some("Q4_1"))[0].contains("from a Q4_1 file"));
        assert!(notices(Some("F16")).is_empty());
        assert!(notices(None).is_empty());
        facts.guesses_splitting = true;
        assert!(facts.notices()[0].contains("tokenizer.ggml.pre"));
    }

    #[test]
    fn the_last_level_of_a_name_counts() {
        assert_eq!(level_in("m.Q4_1.requantized-q8_0"), Some(Level::Q8_0));
        assert_eq!(level_in("gemma-3-270m-it-Q4_K_M"), Some(Level::Q4KM));
        assert_eq!(level_in("tiny"), None);
    }
}
