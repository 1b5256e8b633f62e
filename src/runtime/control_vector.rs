//! llama.cpp's control vectors: a GGUF file with a tensor `direction.N`, F32, for each layer `N`
//! at whose output it is added. There is none for layer 0.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::header::Header;

/// Directions by the layer whose output they are added to, in llama.cpp's numbers: `direction.5`
/// is added to what leaves layer 5 and enters layer 6.
pub type ControlVector = BTreeMap<u32, Vec<f32>>;

/// Reads a control vector. Several tensors of one layer are added, as llama.cpp does.
///
/// # Errors
/// For a file that cannot be read, and for tensors that llama.cpp would refuse.
pub fn read_control_vector(path: &Path) -> io::Result<ControlVector> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let header = Header::read(path)?;
    if !header.is_whole() {
        return Err(wrong("the file is shorter than its tensors".into()));
    }
    let mut directions = ControlVector::new();
    for tensor in &header.tensors {
        let name = &tensor.name;
        let layer = name.strip_prefix("direction.").and_then(|n| n.parse().ok());
        let layer: u32 = layer
            .filter(|layer| *layer > 0)
            .ok_or_else(|| wrong(format!("tensor {name} is not direction.N with N from 1 up")))?;
        if tensor.width != tensor.elements {
            return Err(wrong(format!("tensor {name} is not one row")));
        }
        let values = header.floats(path, tensor)?;
        let values = values.ok_or_else(|| wrong(format!("tensor {name} is not of type F32")))?;
        let sum = directions
            .entry(layer)
            .or_insert_with(|| vec![0.0; values.len()]);
        if sum.len() != values.len() {
            return Err(wrong(format!("tensor {name} is as wide as no other")));
        }
        sum.iter_mut()
            .zip(values)
            .for_each(|(sum, value)| *sum += value);
    }
    Ok(directions)
}

/// A control vector as the bytes of a GGUF file that llama.cpp's `--control-vector` reads.
/// `architecture` is that of the model it was made with.
pub fn control_vector_bytes(directions: &ControlVector, architecture: &str) -> Vec<u8> {
    const ALIGNMENT: usize = 32;
    const STRING: u32 = 8;
    const U32: u32 = 4;
    const F32: u32 = 0;
    let mut bytes = b"GGUF".to_vec();
    let number = |bytes: &mut Vec<u8>, n: usize| bytes.extend((n as u64).to_le_bytes());
    let small = |bytes: &mut Vec<u8>, n: u32| bytes.extend(n.to_le_bytes());
    let text = |bytes: &mut Vec<u8>, text: &str| {
        number(bytes, text.len());
        bytes.extend(text.as_bytes());
    };
    small(&mut bytes, 3);
    number(&mut bytes, directions.len());
    number(&mut bytes, 3);
    for (key, value) in [
        ("general.architecture", "controlvector"),
        ("controlvector.model_hint", architecture),
    ] {
        text(&mut bytes, key);
        small(&mut bytes, STRING);
        text(&mut bytes, value);
    }
    text(&mut bytes, "controlvector.layer_count");
    small(&mut bytes, U32);
    small(&mut bytes, directions.len() as u32);
    let mut offset = 0;
    for (layer, values) in directions {
        text(&mut bytes, &format!("direction.{layer}"));
        small(&mut bytes, 1);
        number(&mut bytes, values.len());
        small(&mut bytes, F32);
        number(&mut bytes, offset);
        offset += (4 * values.len()).next_multiple_of(ALIGNMENT);
    }
    for values in directions.values() {
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<ControlVector> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.gguf");
        std::fs::write(&path, bytes).unwrap();
        read_control_vector(&path)
    }

    #[test]
    fn a_control_vector_survives_a_file_and_damage_is_noticed() {
        let directions: ControlVector = [(1, vec![0.5f32; 9]), (7, vec![-1e-8; 9])].into();
        let bytes = control_vector_bytes(&directions, "llama");
        assert_eq!(read(&bytes).unwrap(), directions);
        assert!(read(&bytes[..bytes.len() - 32]).is_err());
        let zero: ControlVector = [(0, vec![0.5f32; 8])].into();
        let error = read(&control_vector_bytes(&zero, "llama")).unwrap_err();
        assert!(error.to_string().contains("direction.0"), "{error}");
    }
}
