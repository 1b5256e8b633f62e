//! Quantization levels.

use std::fmt;
use std::str::FromStr;

use llama_cpp_sys_2 as sys;

/// A quantization level, by llama.cpp's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // llama.cpp's names
pub enum Level {
    F32,
    F16,
    Q8_0,
    Q6K,
    Q5KM,
    Q5_1,
    Q5_0,
    Q4KM,
    Q4_1,
    Q4_0,
    Q3KM,
    Q2K,
}

impl Level {
    /// All levels, from the finest to the coarsest.
    pub const ALL: [Level; 12] = [
        Level::F32,
        Level::F16,
        Level::Q8_0,
        Level::Q6K,
        Level::Q5KM,
        Level::Q5_1,
        Level::Q5_0,
        Level::Q4KM,
        Level::Q4_1,
        Level::Q4_0,
        Level::Q3KM,
        Level::Q2K,
    ];

    pub(super) fn entry(self) -> (&'static str, sys::llama_ftype) {
        match self {
            Level::F32 => ("f32", sys::LLAMA_FTYPE_ALL_F32),
            Level::F16 => ("f16", sys::LLAMA_FTYPE_MOSTLY_F16),
            Level::Q8_0 => ("q8_0", sys::LLAMA_FTYPE_MOSTLY_Q8_0),
            Level::Q6K => ("q6_k", sys::LLAMA_FTYPE_MOSTLY_Q6_K),
            Level::Q5KM => ("q5_k_m", sys::LLAMA_FTYPE_MOSTLY_Q5_K_M),
            Level::Q5_1 => ("q5_1", sys::LLAMA_FTYPE_MOSTLY_Q5_1),
            Level::Q5_0 => ("q5_0", sys::LLAMA_FTYPE_MOSTLY_Q5_0),
            Level::Q4KM => ("q4_k_m", sys::LLAMA_FTYPE_MOSTLY_Q4_K_M),
            Level::Q4_1 => ("q4_1", sys::LLAMA_FTYPE_MOSTLY_Q4_1),
            Level::Q4_0 => ("q4_0", sys::LLAMA_FTYPE_MOSTLY_Q4_0),
            Level::Q3KM => ("q3_k_m", sys::LLAMA_FTYPE_MOSTLY_Q3_K_M),
            Level::Q2K => ("q2_k", sys::LLAMA_FTYPE_MOSTLY_Q2_K),
        }
    }
}

impl Level {
    /// The type that most of its weights have, as ggml names it, in capitals.
    pub fn base_type(self) -> &'static str {
        match self {
            Level::F32 => "F32",
            Level::F16 => "F16",
            Level::Q8_0 => "Q8_0",
            Level::Q6K => "Q6_K",
            Level::Q5KM => "Q5_K",
            Level::Q5_1 => "Q5_1",
            Level::Q5_0 => "Q5_0",
            Level::Q4KM => "Q4_K",
            Level::Q4_1 => "Q4_1",
            Level::Q4_0 => "Q4_0",
            Level::Q3KM => "Q3_K",
            Level::Q2K => "Q2_K",
        }
    }

    /// Bits that a weight of that type takes, scales included.
    pub fn bits(self) -> f64 {
        match self {
            Level::F32 => 32.0,
            Level::F16 => 16.0,
            Level::Q8_0 => 8.5,
            Level::Q6K => 6.5625,
            Level::Q5_1 => 6.0,
            Level::Q5KM | Level::Q5_0 => 5.5,
            Level::Q4_1 => 5.0,
            Level::Q4KM | Level::Q4_0 => 4.5,
            Level::Q3KM => 3.4375,
            Level::Q2K => 2.625,
        }
    }

    /// Weights of a row that are quantized together: a row's width must be a multiple of it.
    pub fn block(self) -> u64 {
        match self {
            Level::F32 | Level::F16 => 1,
            Level::Q6K | Level::Q5KM | Level::Q4KM | Level::Q3KM | Level::Q2K => 256,
            _ => 32,
        }
    }

    /// The level that llama.cpp calls by this name, as `Q4_K - Medium`.
    pub fn stated(name: &str) -> Option<Self> {
        let name = name.trim_start_matches("(guessed) ");
        let mut levels = Self::ALL.into_iter();
        levels.find(|level| type_name(level.entry().1) == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry().0)
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.to_lowercase();
        Self::ALL
            .into_iter()
            .find(|level| level.entry().0 == wanted)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(ToString::to_string).collect();
                format!("'{text}' is not a level; choose from {}", names.join(", "))
            })
    }
}

/// What llama.cpp calls the type of a file, as `Q8_0` or `Q4_K - Medium`.
pub(super) fn type_name(ftype: sys::llama_ftype) -> String {
    // SAFETY: returns a static string for every value.
    let name = unsafe { sys::llama_ftype_name(ftype) };
    // SAFETY: not null, NUL-terminated, static.
    let name = unsafe { std::ffi::CStr::from_ptr(name) };
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_blocks_are_those_of_ggml() {
        for level in Level::ALL {
            let types = 0..sys::GGML_TYPE_COUNT;
            let name = |kind| {
                // SAFETY: a type below the number of types.
                let name = unsafe { sys::ggml_type_name(kind) };
                // SAFETY: a static string, as for every type that ggml has a name for.
                let name = unsafe { std::ffi::CStr::from_ptr(name) };
                name.to_string_lossy().to_uppercase()
            };
            let kind = types
                .into_iter()
                .find(|kind| name(*kind) == level.base_type());
            let kind = kind.expect("ggml knows the type");
            // SAFETY: ggml knows the type.
            let block = unsafe { sys::ggml_blck_size(kind) } as u64;
            // SAFETY: as above.
            let bytes = unsafe { sys::ggml_type_size(kind) };
            assert_eq!(level.block(), block, "{level}");
            assert_eq!(level.bits(), 8.0 * bytes as f64 / block as f64, "{level}");
        }
    }
}
