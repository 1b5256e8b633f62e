//! Directions in the residual stream, one for each layer, from a file: llama.cpp's control
//! vectors (GGUF), or states as `plan` writes them (safetensors).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::intervention::States;
use crate::plan::{StatesFileError, read_states};
use crate::runtime::read_control_vector;

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
