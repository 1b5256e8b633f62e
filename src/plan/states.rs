//! Hidden states in a safetensors file: `layer.10`, one row for each of `positions.10`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, serialize};

use crate::intervention::States;

/// A file of states that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StatesFileError {
    /// What the system says.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
    /// Not a safetensors file.
    #[error("{}: {error}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: SafeTensorError,
    },
    /// Not the tensors that belong there.
    #[error("{}: tensor '{tensor}' {what}", .path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Reads the states of a file that [`write_states`] wrote.
///
/// # Errors
/// [`StatesFileError`].
pub fn read_states(path: &Path) -> Result<States, StatesFileError> {
    let file = |error| StatesFileError::File {
        path: path.into(),
        error,
    };
    let format = |error| StatesFileError::Format {
        path: path.into(),
        error,
    };
    let bytes = std::fs::read(path).map_err(file)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(format)?;
    let mut states = States::new();
    for (name, rows) in tensors.tensors() {
        let wrong = |what| StatesFileError::Tensor {
            path: path.into(),
            tensor: name.clone(),
            what,
        };
        let Some(layer) = name.strip_prefix("layer.") else {
            continue;
        };
        let layer: u32 = layer.parse().map_err(|_| wrong("names no layer"))?;
        let (Dtype::F32, &[n, width]) = (rows.dtype(), rows.shape()) else {
            return Err(wrong("is not made of rows of f32"));
        };
        let positions = tensors
            .tensor(&format!("positions.{layer}"))
            .map_err(|_| wrong("has no positions beside it"))?;
        if positions.dtype() != Dtype::I32 || positions.shape() != [n] {
            return Err(wrong("has positions that are not one i32 for each row"));
        }
        let places = positions.data().as_chunks::<4>().0;
        let rows = rows.data().chunks_exact((4 * width).max(1));
        for (position, row) in places.iter().zip(rows) {
            let position = u32::try_from(i32::from_le_bytes(*position))
                .map_err(|_| wrong("has a negative position"))?;
            let values = row.as_chunks::<4>().0.iter();
            let values: Vec<f32> = values.map(|bytes| f32::from_le_bytes(*bytes)).collect();
            states.insert(layer, position, values);
        }
    }
    Ok(states)
}

/// Writes states, whole or not at all.
///
/// # Errors
/// [`StatesFileError`]; states of a layer that differ in width are one.
pub fn write_states(path: &Path, states: &States) -> Result<(), StatesFileError> {
    let mut layers: BTreeMap<u32, BTreeMap<u32, &[f32]>> = BTreeMap::new();
    for ((layer, position), row) in states.iter() {
        layers.entry(layer).or_default().insert(position, row);
    }
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (layer, rows) in &layers {
        let width = rows.values().next().map_or(0, |row| row.len());
        if rows.values().any(|row| row.len() != width) {
            return Err(StatesFileError::Tensor {
                path: path.into(),
                tensor: format!("layer.{layer}"),
                what: "would have rows of several widths",
            });
        }
        let values = rows.values().flat_map(|row| row.iter());
        let values = values.flat_map(|x| x.to_le_bytes()).collect();
        let shape = vec![rows.len(), width];
        tensors.push((format!("layer.{layer}"), Dtype::F32, shape, values));
        let places = rows.keys().flat_map(|p| (*p as i32).to_le_bytes());
        let name = format!("positions.{layer}");
        tensors.push((name, Dtype::I32, vec![rows.len()], places.collect()));
    }
    let format = |error| StatesFileError::Format {
        path: path.into(),
        error,
    };
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        TensorView::new(*dtype, shape.clone(), data).map(|view| (name.clone(), view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(format)?;
    let bytes = serialize(views, None).map_err(format)?;
    let file = |error| StatesFileError::File {
        path: path.into(),
        error,
    };
    super::replace(path, &bytes).map_err(file)
}
