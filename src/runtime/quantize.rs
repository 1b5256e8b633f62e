//! llama.cpp's own quantizer.

use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};

use llama_cpp_sys_2 as sys;
use sha2::{Digest, Sha256};

use crate::files::hex;

use super::backend::{backend, llama_cpp_version};
use super::header::Header;
use super::log::{forget_log, forget_progress, reason};
use super::weights::{REQUANTIZED_FROM, Weights};
use super::{Level, RuntimeError, model_parts};

/// The version of what is done here; a higher one when a copy would come out otherwise.
const VERSION: u32 = 1;

/// What a requantized copy was made of, and how. It is among the copy's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// SHA-256 of the source in hexadecimal; of a model in parts that of its parts' hashes.
    pub source: String,
    /// The level of the copy.
    pub level: Level,
}

const SOURCE: &CStr = c"midlayer.source_sha256";
const LEVEL: &CStr = c"midlayer.level";
const QUANTIZER: &CStr = c"midlayer.quantizer";

impl Recipe {
    /// The version of the code that quantizes: llama.cpp's, and a number for what is done here.
    pub fn quantizer() -> String {
        format!("{VERSION}, llama.cpp {}", llama_cpp_version())
    }

    /// A short name for all copies of one source that one version makes.
    pub fn tag(&self) -> String {
        let version = hex(&Sha256::digest(Self::quantizer()));
        let source = self.source.get(..16).unwrap_or(&self.source);
        format!("{source}-{}", &version[..8])
    }

    fn notes(&self) -> [(&'static CStr, String); 3] {
        [
            (SOURCE, self.source.clone()),
            (LEVEL, self.level.to_string()),
            (QUANTIZER, Self::quantizer()),
        ]
    }

    /// Whether a file is a whole copy that was made so.
    pub fn made(&self, path: &Path) -> bool {
        let Ok(header) = Header::read(path) else {
            return false;
        };
        let has = |(key, value): &(&CStr, String)| {
            let key = key.to_str().unwrap_or_default();
            header.text(key) == Some(value)
        };
        header.is_whole() && self.notes().iter().all(has)
    }
}

/// Writes `input` requantized to the recipe's level to `output`, piece by piece: a reader can
/// meet half a file there. A source that is itself quantized is dequantized first, so its losses
/// stay. The file keeps the source's level and the recipe among its metadata.
/// [`quantize_progress`](super::quantize_progress) tells how far it is.
///
/// # Errors
/// [`RuntimeError::Quantize`].
pub fn quantize(
    input: &Path,
    output: &Path,
    recipe: &Recipe,
    threads: u32,
) -> Result<(), RuntimeError> {
    backend()?;
    let fail = |reason: String| RuntimeError::Quantize {
        path: input.to_path_buf(),
        level: recipe.level.to_string(),
        reason,
    };
    let c_path = |path: &Path| {
        CString::new(path.as_os_str().as_encoded_bytes()).map_err(|e| fail(e.to_string()))
    };
    // SAFETY: no arguments, returns a plain struct.
    let mut params = unsafe { sys::llama_model_quantize_default_params() };
    params.ftype = recipe.level.entry().1;
    params.nthread = threads as i32;
    params.allow_requantize = true;
    let (from, to) = (c_path(input)?, c_path(output)?);
    let parts: Vec<PathBuf> = model_parts(input)?;
    // What the source was made from counts, if it was requantized itself.
    let known = Weights::of_files(&parts).unwrap_or_default();
    let source = known.requantized_from.clone();
    let source = source.or(known.main_type().map(|(name, _)| name.to_string()));
    let mut overrides: Vec<_> = recipe
        .notes()
        .iter()
        .map(|(key, value)| note(key, value))
        .collect();
    overrides.extend(source.map(|source| note(REQUANTIZED_FROM, &source)));
    overrides.push(end_of_notes());
    params.kv_overrides = overrides.as_ptr();
    forget_log();
    forget_progress();
    // SAFETY: both paths are NUL-terminated and live for the call; the parameters are defaults
    // with three plain values changed, and overrides that end with an empty key and live too.
    let code = unsafe { sys::llama_model_quantize(from.as_ptr(), to.as_ptr(), &raw const params) };
    if code != 0 {
        return Err(fail(reason()));
    }
    Ok(())
}

/// A string to be written into the metadata of the new file; at most 127 bytes of it.
fn note(key: &CStr, value: &str) -> sys::llama_model_kv_override {
    let mut note = end_of_notes();
    note.tag = sys::LLAMA_KV_OVERRIDE_TYPE_STR;
    for (to, from) in note.key.iter_mut().zip(key.to_bytes()) {
        *to = *from as c_char;
    }
    let mut text: [c_char; 128] = [0; 128];
    for (to, from) in text[..127].iter_mut().zip(value.bytes()) {
        *to = from as c_char;
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
