//! llama.cpp's own quantizer.

use std::ffi::CString;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use llama_cpp_sys_2 as sys;

use super::RuntimeError;
use crate::files::beside;

use super::backend::{backend, forget_log, reason};
use super::weights::{REQUANTIZED_FROM, Weights};

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

    fn entry(self) -> (&'static str, sys::llama_ftype) {
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

/// Writes `input` requantized to `level` to `output`, which appears only when it is complete.
/// A source that is itself quantized is dequantized first, so its losses stay; the file keeps
/// the source's level among its metadata. [`quantize_progress`](super::quantize_progress) tells how far it is.
///
/// # Errors
/// [`RuntimeError::Quantize`].
pub fn quantize(
    input: &Path,
    output: &Path,
    level: Level,
    threads: u32,
) -> Result<(), RuntimeError> {
    backend()?;
    let fail = |reason: String| RuntimeError::Quantize {
        path: input.to_path_buf(),
        level: level.to_string(),
        reason,
    };
    let c_path = |path: &Path| {
        CString::new(path.as_os_str().as_encoded_bytes()).map_err(|e| fail(e.to_string()))
    };
    let part = beside(output)
        .map_err(|e| fail(format!("cannot write beside {}: {e}", output.display())))?
        .into_temp_path();
    // SAFETY: no arguments, returns a plain struct.
    let mut params = unsafe { sys::llama_model_quantize_default_params() };
    params.ftype = level.entry().1;
    params.nthread = threads as i32;
    params.allow_requantize = true;
    let (from, to) = (c_path(input)?, c_path(&part)?);
    // What the source was made from counts, if it was requantized itself.
    let known = Weights::of_file(input).unwrap_or_default();
    let source = known.requantized_from.clone();
    let source = source.or(known.main_type().map(|(name, _)| name.to_string()));
    let overrides = source.map(|source| [note(&source), end_of_notes()]);
    if let Some(overrides) = &overrides {
        params.kv_overrides = overrides.as_ptr();
    }
    forget_log();
    // SAFETY: both paths are NUL-terminated and live for the call; the parameters are defaults
    // with three plain values changed, and overrides that end with an empty key and live too.
    let code = unsafe { sys::llama_model_quantize(from.as_ptr(), to.as_ptr(), &raw const params) };
    if code != 0 {
        return Err(fail(reason()));
    }
    part.persist(output).map_err(|e| fail(e.to_string()))
}

/// A string to be written into the metadata of the new file.
fn note(value: &str) -> sys::llama_model_kv_override {
    let mut note = end_of_notes();
    note.tag = sys::LLAMA_KV_OVERRIDE_TYPE_STR;
    let key = REQUANTIZED_FROM.to_bytes();
    for (to, from) in note.key.iter_mut().zip(key) {
        *to = *from as std::ffi::c_char;
    }
    let mut text: [std::ffi::c_char; 128] = [0; 128];
    for (to, from) in text[..127].iter_mut().zip(value.bytes()) {
        *to = from as std::ffi::c_char;
    }
    note.__bindgen_anon_1.val_str = text;
    note
}

/// An override without a key, which ends a list of them.
fn end_of_notes() -> sys::llama_model_kv_override {
    sys::llama_model_kv_override {
        tag: sys::LLAMA_KV_OVERRIDE_TYPE_INT,
        key: [0; 128],
        __bindgen_anon_1: sys::llama_model_kv_override__bindgen_ty_1 { val_i64: 0 },
    }
}
