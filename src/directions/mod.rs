//! Directions in the residual stream, one for each layer, from a file: llama.cpp's control
//! vectors (GGUF), or states as `plan` writes them (safetensors).

mod between;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::intervention::States;
use crate::plan::{StatesFileError, read_states, write_states};
use crate::runtime::{ControlVector, control_vector_bytes, read_control_vector};

pub use between::{Found, Method, between};

/// A file of directions that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectionError {
    /// The file cannot be read, or is no control vector.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of states cannot be read.
    #[error(transparent)]
    States(#[from] StatesFileError),
    /// Two directions for one layer.
    #[error("{path} has {count} states of layer {layer}; a direction is one state for each layer")]
    Several {
        /// The file.
        path: PathBuf,
        /// The layer.
        layer: u32,
        /// How many there are.
        count: usize,
    },
    /// Made for another model.
    #[error("{path} has directions of {found} values, the model's states have {width}")]
    Width {
        /// The file.
        path: PathBuf,
        /// Values of a direction.
        found: usize,
        /// The model's.
        width: u32,
    },
    /// Nothing in it.
    #[error("{0} holds no direction for a layer of this model")]
    Empty(PathBuf),
}

/// Reads directions for a model of this width. The direction of the state that enters layer `l`
/// is at (`l`, 0): of a control vector it is `direction.(l-1)`, which llama.cpp adds to what
/// leaves the layer below.
///
/// # Errors
/// [`DirectionError`].
pub fn read_directions(path: &Path, width: u32, n_layer: u32) -> Result<States, DirectionError> {
    let failed = |source| DirectionError::File {
        path: path.into(),
        source,
    };
    let mut magic = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(4).read_to_end(&mut magic).map_err(failed)?;
    let mut directions = States::new();
    if magic == b"GGUF" {
        for (layer, values) in read_control_vector(path).map_err(failed)? {
            directions.insert(layer.saturating_add(1), 0, values);
        }
    } else {
        let states = read_states(path)?;
        for layer in 0..n_layer {
            let mut of_layer = states.iter().filter(|((of, _), _)| *of == layer);
            let Some((_, values)) = of_layer.next() else {
                continue;
            };
            directions.insert(layer, 0, values.to_vec());
            let count = 1 + of_layer.count();
            if count > 1 {
                let path = path.into();
                return Err(DirectionError::Several { path, layer, count });
            }
        }
    }
    let wrong = directions
        .iter()
        .find(|(_, row)| row.len() != width as usize);
    if let Some((_, row)) = wrong {
        return Err(DirectionError::Width {
            path: path.into(),
            found: row.len(),
            width,
        });
    }
    if !directions.iter().any(|((layer, _), _)| layer < n_layer) {
        return Err(DirectionError::Empty(path.into()));
    }
    Ok(directions)
}

/// The layers that have a direction.
pub fn layers_of(directions: &States, n_layer: u32) -> Vec<u32> {
    let layers = 0..n_layer;
    layers
        .filter(|layer| directions.get(*layer, 0).is_some())
        .collect()
}

/// Writes directions: as a control vector for llama.cpp where the file's name ends in `.gguf`,
/// else as states. A control vector has no place for the states that enter layers 0 and 1.
///
/// # Errors
/// [`DirectionError`].
pub fn write_directions(
    path: &Path,
    directions: &States,
    architecture: &str,
) -> Result<(), DirectionError> {
    if path.extension().is_none_or(|ending| ending != "gguf") {
        return Ok(write_states(path, directions)?);
    }
    let rows = directions.iter();
    let vector: ControlVector = rows
        .filter(|((layer, position), _)| *layer > 1 && *position == 0)
        .map(|((layer, _), row)| (layer - 1, row.to_vec()))
        .collect();
    std::fs::write(path, control_vector_bytes(&vector, architecture)).map_err(|source| {
        DirectionError::File {
            path: path.into(),
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_survive_either_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut states = States::new();
        for layer in 2..5 {
            states.insert(layer, 0, vec![layer as f32, 0.5, -1e-9]);
        }
        for name in ["d.gguf", "d.safetensors"] {
            let path = folder.path().join(name);
            write_directions(&path, &states, "llama").unwrap();
            let read = read_directions(&path, 3, 6).unwrap();
            assert_eq!(read, states, "{name}");
            assert_eq!(layers_of(&read, 6), [2, 3, 4]);
            let error = read_directions(&path, 4, 6).unwrap_err().to_string();
            assert!(error.contains("directions of 3 values"), "{error}");
            let error = read_directions(&path, 3, 2).unwrap_err().to_string();
            assert!(error.contains("no direction"), "{error}");
        }
        let mut two = states.clone();
        two.insert(3, 1, vec![0.0; 3]);
        let path = folder.path().join("two.safetensors");
        write_states(&path, &two).unwrap();
        let error = read_directions(&path, 3, 6).unwrap_err().to_string();
        assert!(error.contains("2 states of layer 3"), "{error}");
    }
}
