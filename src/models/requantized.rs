//! Requantized copies, kept by what they were made of.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{ModelError, ModelFiles};
use crate::files::{Remember, beside, is_full, lacks_space, lock, remove_parts};
use crate::runtime::{Level, Recipe, RuntimeError, model_name, processors, quantize};

/// The folder within the cache.
const FOLDER: &str = "requantized";
/// Held by the process that makes copies in the folder beside it.
const LOCK: &str = ".lock";

/// The copy of a model at a level, made on first use, telling `say` about it. It is kept in the
/// folder `cache` by the contents of its source, the level and the version of the code that
/// quantizes, all of which are among the copy's metadata and are compared before it is used.
/// Where another process makes the same copy, it is waited for.
///
/// # Errors
/// [`ModelError`]; nothing half-made is left behind.
pub fn requantized(
    cache: &Path,
    source: &Path,
    level: Level,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, ModelError> {
    let files = ModelFiles::open_in(source, cache, Remember::Hash)?;
    let (recipe, folder, target) = place(cache, &files, source, level);
    let name = model_name(source);
    clean(&cache.join(FOLDER));
    if recipe.made(&target) {
        return Ok(target);
    }
    let failed = |source: std::io::Error| match is_full(&source) {
        true => ModelError::NoSpace {
            folder: cache.to_path_buf(),
            name: name.clone(),
            level,
            source,
        },
        false => ModelError::Io {
            path: folder.clone(),
            source,
        },
    };
    fs::create_dir_all(&folder).map_err(failed)?;
    let wait = || {
        say(&format!(
            "another midlayer is requantizing {name}; waiting for it"
        ));
    };
    let _lock = lock(&folder.join(LOCK), wait).map_err(failed)?;
    if !recipe.made(&target) {
        say(&format!("requantizing {name} to {level}"));
        requantize(&files, source, level, &target, processors().given)?;
    }
    Ok(target)
}

/// The copy of a model at a level, if it has been made. Nothing is written.
///
/// # Errors
/// [`ModelError`] where the model cannot be read.
pub fn requantized_copy(
    cache: &Path,
    source: &Path,
    level: Level,
) -> Result<Option<PathBuf>, ModelError> {
    let files = ModelFiles::open_in(source, cache, Remember::Nothing)?;
    let (recipe, _, target) = place(cache, &files, source, level);
    Ok(recipe.made(&target).then_some(target))
}

/// The copies in a cache folder, of any model, with their sizes in bytes, by name.
pub fn requantized_copies(cache: &Path) -> Vec<(PathBuf, u64)> {
    let folders = fs::read_dir(cache.join(FOLDER)).into_iter().flatten();
    let files = folders
        .flatten()
        .flat_map(|folder| fs::read_dir(folder.path()));
    let copies = files.flatten().flatten().filter_map(|file| {
        let path = file.path();
        let bytes = file.metadata().ok()?.len();
        let is_model = path.extension().is_some_and(|e| e == "gguf");
        is_model.then_some((path, bytes))
    });
    let mut copies: Vec<_> = copies.collect();
    copies.sort_by(|a, b| a.0.file_name().cmp(&b.0.file_name()).then(a.cmp(b)));
    copies
}

/// How a copy is made, the folder that it is in, and its file.
fn place(
    cache: &Path,
    files: &ModelFiles,
    source: &Path,
    level: Level,
) -> (Recipe, PathBuf, PathBuf) {
    let recipe = Recipe {
        source: files.sha256().to_string(),
        level,
    };
    let folder = cache.join(FOLDER).join(recipe.tag());
    let name = model_name(source);
    let target = folder.join(format!("{name}.requantized-{level}.gguf"));
    (recipe, folder, target)
}

/// Writes a model requantized to a level to `target`, which is there whole or not at all.
///
/// # Errors
/// [`ModelError`]; also where the source changed meanwhile.
pub fn requantize(
    files: &ModelFiles,
    source: &Path,
    level: Level,
    target: &Path,
    threads: u32,
) -> Result<(), ModelError> {
    let folder = target.parent().unwrap_or(Path::new(""));
    let failed = |error: std::io::Error| match is_full(&error) {
        true => ModelError::NoSpace {
            folder: folder.to_path_buf(),
            name: model_name(source),
            level,
            source: error,
        },
        false => ModelError::Io {
            path: target.to_path_buf(),
            source: error,
        },
    };
    let recipe = Recipe {
        source: files.sha256().to_string(),
        level,
    };
    let part = beside(target).map_err(failed)?.into_temp_path();
    quantize(source, &part, &recipe, threads).map_err(|error| match lacks_space(&part) {
        Some(full) => failed(full),
        None => error.into(),
    })?;
    files.check_paths()?;
    if !recipe.made(&part) {
        let reason = "the copy is not whole".to_string();
        return Err(ModelError::Runtime(RuntimeError::Quantize {
            path: source.to_path_buf(),
            level: level.to_string(),
            reason,
        }));
    }
    // On the disk before it has its name: also a power cut leaves no half of it.
    File::options()
        .write(true)
        .open(&part)
        .and_then(|file| file.sync_all())
        .map_err(failed)?;
    part.persist(target).map_err(|error| failed(error.error))
}

/// Removes what makers that were killed have left in any of the folders in which nobody makes
/// anything.
fn clean(copies: &Path) {
    for folder in fs::read_dir(copies).into_iter().flatten().flatten() {
        let folder = folder.path();
        if let Ok(lock) = File::open(folder.join(LOCK))
            && lock.try_lock().is_ok()
        {
            remove_parts(&folder);
        }
    }
}
