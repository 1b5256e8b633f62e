//! What types a GGUF file's weights really have: names promise more than files hold.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::path::Path;

use llama_cpp_sys_2 as sys;
use serde::{Deserialize, Serialize};

use super::quantize::Level;

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
}

impl Weights {
    /// Reads a file's header. `None` where it cannot be read; the loader says why.
    pub(super) fn of_file(path: &Path) -> Option<Self> {
        let name = CString::new(path.as_os_str().as_encoded_bytes()).ok()?;
        let params = sys::gguf_init_params {
            no_alloc: true,
            ctx: std::ptr::null_mut(),
        };
        // SAFETY: the path is NUL-terminated; no tensor data is read without a ggml context.
        let raw = unsafe { sys::gguf_init_from_file(name.as_ptr(), params) };
        if raw.is_null() {
            return None;
        }
        let file = Gguf(raw);
        Some(Self {
            types: file.types(),
            requantized_from: file.string(REQUANTIZED_FROM),
        })
    }

    /// The type that most weights have, and its share of them.
    pub fn main_type(&self) -> Option<(&str, f64)> {
        let total: u64 = self.types.values().sum();
        let (name, most) = self.types.iter().max_by_key(|(_, n)| **n)?;
        Some((name, *most as f64 / total as f64))
    }

    fn share(&self, name: &str) -> f64 {
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
        self.share(level.base_type()) >= MOSTLY
    }

    /// What a reader of results should know: `name` is the file's, without its ending, and
    /// `level` the one that the file states.
    pub fn notices(&self, name: &str, level: Option<Level>) -> Vec<String> {
        let mut notices = Vec::new();
        if let Some(source) = &self.requantized_from
            && !FULL_PRECISION.contains(&source.as_str())
        {
            notices.push(format!(
                "{name} was made from a {source} file, so its losses are in it too: the base of any comparison is the dequantized file, not the original"
            ));
        }
        for promised in [level, level_in(name)].into_iter().flatten() {
            if !self.is_mostly(promised) {
                notices.push(format!(
                    "{name} is called {promised} but holds {}: widths that are not multiples of 256 admit no k-quants",
                    self.shares()
                ));
                break;
            }
        }
        notices
    }
}

/// The share of weights that must have a level's own type. Mixtures are the loosest: Q3_K_M and
/// Q2_K keep up to half of a small model's weights in finer types.
const MOSTLY: f64 = 0.4;

const FULL_PRECISION: [&str; 3] = ["F32", "F16", "BF16"];

/// The level that a file name ends with, as in `model.Q4_1.requantized-q8_0` or `model-f16`.
fn level_in(name: &str) -> Option<Level> {
    let words = name.rsplit(['.', '-']);
    words.filter_map(|word| word.parse().ok()).next()
}

/// An open header, closed when dropped.
struct Gguf(*mut sys::gguf_context);

impl Gguf {
    fn types(&self) -> BTreeMap<String, u64> {
        let mut types = BTreeMap::new();
        // SAFETY: the context is open.
        let n = unsafe { sys::gguf_get_n_tensors(self.0) };
        for id in 0..n {
            // SAFETY: `id` is below the number of tensors, as in the calls below.
            let name = unsafe { sys::gguf_get_tensor_name(self.0, id) };
            // SAFETY: names are NUL-terminated and live as long as the context.
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
            if !name.ends_with(".weight") || name.contains("norm") || is_apart(&name) {
                continue;
            }
            // SAFETY: as above.
            let kind = unsafe { sys::gguf_get_tensor_type(self.0, id) };
            // SAFETY: as above.
            let bytes = unsafe { sys::gguf_get_tensor_size(self.0, id) } as u64;
            // SAFETY: gguf refuses files with types that ggml does not know.
            let block = unsafe { sys::ggml_blck_size(kind) } as u64;
            // SAFETY: as above.
            let block_bytes = unsafe { sys::ggml_type_size(kind) } as u64;
            // SAFETY: as above.
            let kind = unsafe { sys::ggml_type_name(kind) };
            // SAFETY: a static string, as for every type that ggml knows.
            let kind = unsafe { CStr::from_ptr(kind) };
            let kind = kind.to_string_lossy().to_uppercase();
            *types.entry(kind).or_default() += bytes / block_bytes.max(1) * block;
        }
        types
    }

    fn string(&self, key: &CStr) -> Option<String> {
        // SAFETY: the context is open and the key NUL-terminated.
        let id = unsafe { sys::gguf_find_key(self.0, key.as_ptr()) };
        if id < 0 {
            return None;
        }
        // SAFETY: the id was just found.
        let kind = unsafe { sys::gguf_get_kv_type(self.0, id) };
        if kind != sys::GGUF_TYPE_STRING {
            return None;
        }
        // SAFETY: the value is a string, as just asked.
        let value = unsafe { sys::gguf_get_val_str(self.0, id) };
        // SAFETY: it is NUL-terminated and lives as long as the context.
        let value = unsafe { CStr::from_ptr(value) };
        Some(value.to_string_lossy().into_owned())
    }
}

fn is_apart(name: &str) -> bool {
    name.starts_with("token_embd") || name.starts_with("output") || name.contains("position_embd")
}

impl Drop for Gguf {
    fn drop(&mut self) {
        // SAFETY: opened by gguf_init_from_file, freed once.
        unsafe { sys::gguf_free(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(types: &[(&str, u64)], from: Option<&str>) -> Weights {
        Weights {
            types: types.iter().map(|(t, n)| (t.to_string(), *n)).collect(),
            requantized_from: from.map(String::from),
        }
    }

    #[test]
    fn names_that_do_not_hold_are_noticed() {
        let honest = weights(&[("Q4_K", 80), ("Q6_K", 20)], None);
        assert!(honest.notices("a-Q4_K_M", Some(Level::Q4KM)).is_empty());
        assert_eq!(honest.shares(), "Q4_K 80%, Q6_K 20%");
        assert_eq!(honest.main_type(), Some(("Q4_K", 0.8)));
        let fallen = weights(&[("Q8_0", 80), ("Q6_K", 20)], None);
        let notices = fallen.notices("a.q6_k", Some(Level::Q6K));
        assert_eq!(notices.len(), 1);
        assert!(notices[0].contains("holds Q8_0 80%"), "{notices:?}");
        // A file renamed against what it states.
        assert_eq!(honest.notices("a-q8_0", Some(Level::Q4KM)).len(), 1);
        // Nothing is known of models made in memory.
        assert!(Weights::default().notices("a-q8_0", None).is_empty());
    }

    #[test]
    fn a_quantized_source_is_noticed() {
        let notices = |from| weights(&[("Q8_0", 1)], from).notices("a.q8_0", None);
        assert!(notices(Some("Q4_1"))[0].contains("from a Q4_1 file"));
        assert!(notices(Some("F16")).is_empty());
        assert!(notices(None).is_empty());
    }

    #[test]
    fn the_last_level_of_a_name_counts() {
        assert_eq!(level_in("m.Q4_1.requantized-q8_0"), Some(Level::Q8_0));
        assert_eq!(level_in("gemma-3-270m-it-Q4_K_M"), Some(Level::Q4KM));
        assert_eq!(level_in("tiny"), None);
    }
}
