//! The header of a GGUF file, read without llama.cpp, which may end the process on a damaged
//! file: keys, and what tensors there are.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use llama_cpp_sys_2 as sys;

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// An unsigned or signed whole number.
    Number(i128),
    /// A text.
    Text(String),
    /// Anything else.
    Other,
}

/// A tensor as the header describes it.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    /// Its name.
    pub(super) name: String,
    /// Elements in a row.
    pub(super) width: u64,
    /// Elements in all.
    pub(super) elements: u64,
    /// `ggml_type`.
    kind: u32,
    /// Where its data begin, seen from where all data begin.
    offset: u64,
}

/// A file's header.
#[derive(Clone, Debug)]
pub(super) struct Header {
    keys: HashMap<String, Value>,
    /// The tensors.
    pub(super) tensors: Vec<Tensor>,
    /// Where the data begin.
    begin: Option<u64>,
    /// Where the data should end at least, if the types of all tensors are known.
    end: Option<u64>,
    /// The size of the file.
    bytes: u64,
}

impl Header {
    /// Reads a file's header.
    ///
    /// # Errors
    /// For a file that cannot be read, or whose header is not well formed.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut reader = Reader {
            from: BufReader::new(file),
            at: 0,
            bytes,
        };
        if reader.take::<4>()? != *b"GGUF" || !matches!(reader.u32()?, 2 | 3) {
            return malformed("not GGUF of version 2 or 3");
        }
        let (n_tensors, n_keys) = (reader.u64()?, reader.u64()?);
        let mut keys = HashMap::new();
        for _ in 0..n_keys {
            let key = reader.text()?;
            let kind = reader.u32()?;
            let value = reader.value(kind)?;
            keys.insert(key, value);
        }
        let mut tensors = Vec::new();
        for _ in 0..n_tensors {
            tensors.push(reader.tensor()?);
        }
        let align = match keys.get("general.alignment") {
            Some(Value::Number(n)) => u64::try_from(*n).unwrap_or(0).max(1),
            _ => 32,
        };
        let begin = reader.at.checked_next_multiple_of(align);
        let ends = tensors
            .iter()
            .map(|t| begin?.checked_add(t.offset)?.checked_add(t.size()?));
        let end = ends.collect::<Option<Vec<u64>>>();
        let end = end.map(|ends| ends.into_iter().max().unwrap_or(0));
        Ok(Self {
            keys,
            tensors,
            begin,
            end,
            bytes,
        })
    }

    /// The text of a key.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.keys.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The whole number of a key.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        match self.keys.get(key) {
            Some(Value::Number(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The values of a tensor of `path`, the file that this is the header of; `None` where they
    /// are not F32.
    ///
    /// # Errors
    /// For a file that cannot be read so far.
    pub(super) fn floats(&self, path: &Path, tensor: &Tensor) -> io::Result<Option<Vec<f32>>> {
        let begin = self
            .begin
            .and_then(|begin| begin.checked_add(tensor.offset));
        let (Some(begin), Some(bytes)) = (begin, tensor.size()) else {
            return malformed("a tensor lies nowhere");
        };
        if tensor.kind() != Some(sys::GGML_TYPE_F32) {
            return Ok(None);
        }
        if begin.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return malformed("a tensor is longer than the file");
        }
        let mut file = File::open(path)?;
        file.seek(io::SeekFrom::Start(begin))?;
        let mut read = Vec::new();
        file.take(bytes).read_to_end(&mut read)?;
        let values = read.as_chunks::<4>().0.iter();
        Ok(Some(
            values.map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        ))
    }

    /// Whether the file is long enough for all of its tensors.
    pub(super) fn is_whole(&self) -> bool {
        self.end.is_some_and(|end| end <= self.bytes)
    }
}

impl Tensor {
    fn kind(&self) -> Option<sys::ggml_type> {
        let kind = self.kind as sys::ggml_type;
        let known = kind < sys::GGML_TYPE_COUNT;
        // SAFETY: a type below the number of types; those that are gone have blocks of no size.
        (known && unsafe { sys::ggml_blck_size(kind) } > 0).then_some(kind)
    }

    /// What ggml calls its type, in capitals.
    pub(super) fn type_name(&self) -> Option<String> {
        // SAFETY: ggml knows the type.
        let name = unsafe { sys::ggml_type_name(self.kind()?) };
        // SAFETY: a static string, as for every type that ggml knows.
        let name = unsafe { CStr::from_ptr(name) };
        Some(name.to_string_lossy().to_uppercase())
    }

    /// Bytes of its data.
    fn size(&self) -> Option<u64> {
        let kind = self.kind()?;
        // SAFETY: ggml knows the type.
        let block = unsafe { sys::ggml_blck_size(kind) } as u64;
        // SAFETY: ggml knows the type.
        let bytes = unsafe { sys::ggml_type_size(kind) } as u64;
        self.elements.div_ceil(block).checked_mul(bytes)
    }
}

fn malformed<T>(reason: &'static str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

/// Longer names and texts than these are passed over.
const LONGEST: u64 = 1 << 16;

struct Reader {
    from: BufReader<File>,
    at: u64,
    bytes: u64,
}

impl Reader {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn skip(&mut self, n: u64) -> io::Result<()> {
        match self.at.checked_add(n) {
            Some(at) if at <= self.bytes => self.at = at,
            _ => return malformed("something is longer than the file"),
        }
        self.from.seek_relative(n as i64)
    }

    /// A text; empty if it is long.
    fn text(&mut self) -> io::Result<String> {
        let n = self.u64()?;
        if n > LONGEST || n > self.bytes {
            self.skip(n)?;
            return Ok(String::new());
        }
        let mut bytes = vec![0; n as usize];
        self.from.read_exact(&mut bytes)?;
        self.at += n;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn value(&mut self, kind: u32) -> io::Result<Value> {
        Ok(match kind {
            TEXT => Value::Text(self.text()?),
            ARRAY => {
                let kind = self.u32()?;
                let n = self.u64()?;
                match width(kind) {
                    Some(width) => self.skip(n.saturating_mul(width))?,
                    None if kind == TEXT => {
                        for _ in 0..n {
                            let n = self.u64()?;
                            self.skip(n)?;
                        }
                    }
                    None => return malformed("a list of something unknown"),
                }
                Value::Other
            }
            0 => Value::Number(i128::from(self.take::<1>()?[0])),
            1 => Value::Number(i128::from(i8::from_le_bytes(self.take()?))),
            2 => Value::Number(i128::from(u16::from_le_bytes(self.take()?))),
            3 => Value::Number(i128::from(i16::from_le_bytes(self.take()?))),
            4 => Value::Number(i128::from(self.u32()?)),
            5 => Value::Number(i128::from(i32::from_le_bytes(self.take()?))),
            10 => Value::Number(i128::from(self.u64()?)),
            11 => Value::Number(i128::from(i64::from_le_bytes(self.take()?))),
            kind => match width(kind) {
                Some(width) => {
                    self.skip(width)?;
                    Value::Other
                }
                None => return malformed("a key of an unknown type"),
            },
        })
    }

    fn tensor(&mut self) -> io::Result<Tensor> {
        let name = self.text()?;
        let n = self.u32()?;
        if n > 4 {
            return malformed("a tensor of more than four dimensions");
        }
        let mut shape = Vec::new();
        for _ in 0..n {
            shape.push(self.u64()?);
        }
        let elements = shape.iter().try_fold(1u64, |all, n| all.checked_mul(*n));
        let (kind, offset) = (self.u32()?, self.u64()?);
        match elements {
            Some(elements) => Ok(Tensor {
                name,
                width: shape.first().copied().unwrap_or(1),
                elements,
                kind,
                offset,
            }),
            None => malformed("a tensor larger than memory"),
        }
    }
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of a value of a type that has as many always.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
