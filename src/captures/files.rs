//! Captures as files.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize};

use super::{Array, CaptureError, Captures, name};
use crate::files::replace_by;

/// What captures can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Tensors with names, and metadata.
    Safetensors,
    /// One array, for NumPy.
    Npy,
}

/// Where captures come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The model's name.
    pub model: String,
    /// SHA-256 of its files.
    pub sha256: String,
}

impl Format {
    /// The format that a file's ending names.
    ///
    /// # Errors
    /// The endings that there are.
    pub fn of(file: &Path) -> Result<Self, CaptureError> {
        match file.extension().and_then(|of| of.to_str()) {
            Some("safetensors") => Ok(Format::Safetensors),
            Some("npy") => Ok(Format::Npy),
            _ => Err(CaptureError::Format(format!(
                "{}: states are written as .safetensors or .npy",
                file.display()
            ))),
        }
    }
}

/// Writes captures of one or several texts, whole or not at all, as the file's ending says.
///
/// A safetensors file has for each site a float32 tensor [layers, tokens, width] under its name,
/// and int32 tensors `layers.NAME` (the layers), `positions` (of the tokens that were kept) and
/// `tokens` (the ids of all tokens of the text). Where there are several texts, the names begin
/// with the text's number, from 0: `1.resid_pre`. Metadata: model, model_sha256, sites, texts (how
/// many), text.N. A .npy file holds the array of one site of one text.
///
/// # Errors
/// [`CaptureError::Format`], [`CaptureError::File`].
pub fn write(path: &Path, texts: &[Captures], source: &Source) -> Result<(), CaptureError> {
    let bytes = match Format::of(path)? {
        Format::Safetensors => safetensors(texts, source)?,
        Format::Npy => match texts {
            [one] if one.arrays.len() == 1 => npy(&one.arrays[0]),
            _ => {
                return Err(CaptureError::Format(
                    "a .npy file holds one array: keep one site of one text, or write .safetensors"
                        .into(),
                ));
            }
        },
    };
    replace_by(path, |out| out.write_all(&bytes)).map_err(|source| CaptureError::File {
        path: path.into(),
        source,
    })
}

fn safetensors(texts: &[Captures], source: &Source) -> Result<Vec<u8>, CaptureError> {
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut metadata = HashMap::from([
        ("model".to_string(), source.model.clone()),
        ("model_sha256".to_string(), source.sha256.clone()),
        ("texts".to_string(), texts.len().to_string()),
    ]);
    for (n, text) in texts.iter().enumerate() {
        let before = match texts.len() {
            1 => String::new(),
            _ => format!("{n}."),
        };
        let mut whole = |name: String, numbers: Vec<u8>| {
            tensors.push((name, Dtype::I32, vec![numbers.len() / 4], numbers));
        };
        whole(format!("{before}tokens"), le(text.tokens.iter().copied()));
        let positions = text.positions.iter().map(|at| at.cast_signed());
        whole(format!("{before}positions"), le(positions));
        for array in &text.arrays {
            let layers = array.layers.iter().map(|layer| layer.cast_signed());
            whole(format!("{before}layers.{}", name(array.site)), le(layers));
        }
        for array in &text.arrays {
            tensors.push((
                format!("{before}{}", name(array.site)),
                Dtype::F32,
                array.shape().to_vec(),
                floats(array),
            ));
        }
        metadata.insert(format!("text.{n}"), text.text.clone());
    }
    let sites = texts.first().map_or(&[][..], |text| &text.arrays);
    let sites: Vec<&str> = sites.iter().map(|array| name(array.site)).collect();
    metadata.insert("sites".into(), sites.join(","));
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        TensorView::new(*dtype, shape.clone(), data).map(|view| (name.clone(), view))
    });
    let wrong = |error: safetensors::SafeTensorError| CaptureError::Format(error.to_string());
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(wrong)?;
    serialize(views, Some(metadata)).map_err(wrong)
}

fn le(numbers: impl Iterator<Item = i32>) -> Vec<u8> {
    numbers.flat_map(i32::to_le_bytes).collect()
}

fn floats(array: &Array) -> Vec<u8> {
    array.values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// NumPy's format, version 1.0: what the array is as a literal of Python, then its values.
fn npy(array: &Array) -> Vec<u8> {
    let [layers, tokens, width] = array.shape();
    let said = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({layers}, {tokens}, {width}), }}"
    );
    // Magic, version and length take ten bytes; with the line end all is a multiple of 64.
    let length = (10 + said.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{said:<0$}\n", length - 1).bytes());
    bytes.extend(floats(array));
    bytes
}
