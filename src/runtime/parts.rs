//! The files that a model is in: one, or several parts.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::RuntimeError;
use super::header::Header;

/// The files of a model, in order: the file itself, or all of its parts, of which it is the
/// first.
///
/// # Errors
/// [`RuntimeError`] for a file that is missing, not GGUF, without weights, or a part whose
/// other parts are not beside it. What else may be wrong with a file the loader says.
pub fn model_parts(path: &Path) -> Result<Vec<PathBuf>, RuntimeError> {
    let tensors = check_beginning(path)?;
    let whole = || path.to_path_buf();
    let header = Header::read(path).ok();
    let number = |key: &str| header.as_ref().and_then(|header| header.number(key));
    let count = number("split.count").unwrap_or(0);
    if count < 2 {
        if tensors == 0 {
            return Err(RuntimeError::VocabularyOnly(whole()));
        }
        return Ok(vec![whole()]);
    }
    let this = number("split.no").unwrap_or(0);
    let name = path.file_name().and_then(|name| name.to_str());
    let prefix = name.and_then(|name| name.strip_suffix(&*suffix(this + 1, count)));
    let Some(prefix) = prefix else {
        return Err(RuntimeError::PartName {
            path: whole(),
            suffix: suffix(this + 1, count),
        });
    };
    let part = |n: u64| path.with_file_name(format!("{prefix}{}", suffix(n, count)));
    if this != 0 {
        return Err(RuntimeError::NotFirstPart {
            path: whole(),
            first: part(1),
        });
    }
    let parts: Vec<PathBuf> = (1..=count).map(part).collect();
    match parts.iter().find(|part| !part.is_file()) {
        None => Ok(parts),
        Some(missing) => Err(RuntimeError::PartMissing {
            path: whole(),
            count,
            missing: missing.clone(),
        }),
    }
}

/// What the name of a part ends in, as llama.cpp wants it.
fn suffix(n: u64, count: u64) -> String {
    format!("-{n:05}-of-{count:05}.gguf")
}

/// A file's name without its ending, and without the number of a part: what the user knows the
/// model by.
pub fn model_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let number = |digits: &str| digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
    let name = stem
        .rsplit_once("-of-")
        .filter(|(_, count)| number(count))
        .and_then(|(rest, _)| rest.rsplit_once('-'))
        .filter(|(name, n)| number(n) && !name.is_empty());
    name.map_or_else(|| stem.to_string(), |(name, _)| name.to_string())
}

/// Looks at the first 24 bytes: magic, version, number of tensors, number of keys. Returns the
/// number of tensors.
fn check_beginning(path: &Path) -> Result<u64, RuntimeError> {
    let unreadable = |source: std::io::Error| RuntimeError::UnreadableModel {
        path: path.to_path_buf(),
        source,
    };
    if !path.exists() {
        return Err(RuntimeError::NoSuchModel(path.to_path_buf()));
    }
    let mut beginning = Vec::new();
    File::open(path)
        .map_err(unreadable)?
        .take(24)
        .read_to_end(&mut beginning)
        .map_err(unreadable)?;
    let path = path.to_path_buf();
    if !beginning.starts_with(b"GGUF") {
        return Err(RuntimeError::NotGguf(path));
    }
    let Some(tensors) = beginning.get(8..16).filter(|_| beginning.len() == 24) else {
        return Err(RuntimeError::Load {
            path,
            reason: "the file is truncated within its header".into(),
        });
    };
    let tensors = tensors.try_into().map(u64::from_le_bytes);
    Ok(tensors.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_part_is_no_part_of_the_name() {
        for (file, name) in [
            ("a/model-00001-of-00002.gguf", "model"),
            ("m-Q4_K_M-00001-of-00012.gguf", "m-Q4_K_M"),
            ("model.gguf", "model"),
            ("one-of-00002.gguf", "one-of-00002"),
            ("-00001-of-00002.gguf", "-00001-of-00002"),
            ("m-1-of-2.gguf", "m-1-of-2"),
        ] {
            assert_eq!(model_name(Path::new(file)), name, "{file}");
        }
    }
}
