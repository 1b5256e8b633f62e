//! Damage to GGUF files, drawn from a seeded generator: every field of a file is known by where
//! it stands, so that lengths, counts, types and offsets are hit as often as weights.

use std::ops::Range;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

/// What a field of a file means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Magic and version.
    Magic,
    /// How many tensors, keys, or elements follow, or bytes of a text.
    Count,
    /// Bytes of a text.
    Text,
    /// A type of a value or a tensor.
    Type,
    /// The value of a key.
    Value,
    /// An element of a list, if it is a text with its length.
    Element,
    /// Number of dimensions, or the length of one.
    Shape,
    /// Where a tensor's data begin.
    Offset,
    /// The data of all tensors.
    Data,
}

pub const FIELDS: [Field; 9] = [
    Field::Magic,
    Field::Count,
    Field::Text,
    Field::Type,
    Field::Value,
    Field::Element,
    Field::Shape,
    Field::Offset,
    Field::Data,
];

/// The fields of a well-formed file, in order.
pub fn fields(file: &[u8]) -> Vec<(Field, Range<usize>)> {
    let mut at = Reader {
        file,
        at: 0,
        fields: Vec::new(),
    };
    at.take(Field::Magic, 8);
    let (tensors, keys) = (at.number(Field::Count, 8), at.number(Field::Count, 8));
    for _ in 0..keys {
        at.text();
        match at.number(Field::Type, 4) {
            ARRAY => {
                let kind = at.number(Field::Type, 4);
                for _ in 0..at.number(Field::Count, 8) {
                    let first = at.fields.len();
                    at.value(kind);
                    for (field, _) in &mut at.fields[first..] {
                        *field = Field::Element;
                    }
                }
            }
            kind => at.value(kind),
        }
    }
    for _ in 0..tensors {
        at.text();
        for _ in 0..at.number(Field::Shape, 4) {
            at.take(Field::Shape, 8);
        }
        at.take(Field::Type, 4);
        at.take(Field::Offset, 8);
    }
    at.take(Field::Data, file.len() - at.at);
    at.fields
}

/// Where a tensor's data begin in a well-formed file.
pub fn data_of(file: &[u8], tensor: &str) -> usize {
    let fields = fields(file);
    let named = |(field, range): &(Field, Range<usize>)| {
        *field == Field::Text && file[range.clone()] == *tensor.as_bytes()
    };
    let name = fields.iter().position(named).expect("the tensor's name");
    let mut after = fields[name..].iter();
    let (_, offset) = after.find(|(field, _)| *field == Field::Offset).unwrap();
    let offset = u64::from_le_bytes(file[offset.clone()].try_into().unwrap());
    let (_, data) = fields.last().unwrap();
    // Tensors begin at multiples of 32 unless the file says otherwise.
    data.start.next_multiple_of(32) + offset as usize
}

const ARRAY: u64 = 9;
const STRING: u64 = 8;

struct Reader<'f> {
    file: &'f [u8],
    at: usize,
    fields: Vec<(Field, Range<usize>)>,
}

impl Reader<'_> {
    fn take(&mut self, field: Field, n: usize) -> Range<usize> {
        let range = self.at..self.at + n;
        self.at = range.end;
        self.fields.push((field, range.clone()));
        range
    }

    fn number(&mut self, field: Field, n: usize) -> u64 {
        let range = self.take(field, n);
        let mut bytes = [0; 8];
        bytes[..n].copy_from_slice(&self.file[range]);
        u64::from_le_bytes(bytes)
    }

    fn text(&mut self) {
        let n = self.number(Field::Count, 8) as usize;
        self.take(Field::Text, n);
    }

    fn value(&mut self, kind: u64) {
        match kind {
            STRING => self.text(),
            0 | 1 | 7 => drop(self.take(Field::Value, 1)),
            2 | 3 => drop(self.take(Field::Value, 2)),
            10..=12 => drop(self.take(Field::Value, 8)),
            _ => drop(self.take(Field::Value, 4)),
        }
    }
}

/// The file with one piece of damage, or a few, and what it was. `kind` chooses the field and
/// what happens to it, the generator all else.
pub fn damaged(file: &[u8], kind: usize, rng: &mut ChaCha8Rng) -> (Vec<u8>, String) {
    let fields = fields(file);
    let field = FIELDS[kind % FIELDS.len()];
    let of_field: Vec<&Range<usize>> = fields
        .iter()
        .filter(|(of, range)| *of == field && !range.is_empty())
        .map(|(_, range)| range)
        .collect();
    let mut bytes = file.to_vec();
    let pick = |rng: &mut ChaCha8Rng| of_field[rng.random_range(0..of_field.len())].clone();
    let what = match kind / FIELDS.len() % 5 {
        0 => {
            let range = pick(rng);
            let end = rng.random_range(range);
            bytes.truncate(end);
            format!("cut to {end} bytes within {field:?}")
        }
        1 => {
            let n = rng.random_range(1..=8);
            for _ in 0..n {
                let range = pick(rng);
                let at = rng.random_range(range);
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
            format!("{n} bits of {field:?} flipped")
        }
        2 | 3 => {
            let range = pick(rng);
            let value = telling(rng).to_le_bytes();
            let width = range.len().min(8);
            bytes[range.start..range.start + width].copy_from_slice(&value[..width]);
            format!("{field:?} at {} becomes {value:02x?}", range.start)
        }
        _ => {
            let (from, to) = (pick(rng), pick(rng));
            let n = from.len().min(to.len()).min(64);
            let moved = bytes[from.start..from.start + n].to_vec();
            match rng.random_range(0..3) {
                0 => bytes[to.start..to.start + n].copy_from_slice(&moved),
                1 => drop(bytes.splice(to.start..to.start, moved)),
                _ => drop(bytes.drain(to.start..to.start + n)),
            }
            format!(
                "{field:?} at {} mixed with that at {}",
                to.start, from.start
            )
        }
    };
    (bytes, what)
}

/// Numbers at which things break: nothing, the ends of types, a little beyond.
fn telling(rng: &mut ChaCha8Rng) -> u64 {
    const ENDS: [u64; 14] = [
        0,
        1,
        2,
        3,
        31,
        0xff,
        0x7fff,
        0xffff,
        1 << 20,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        i64::MAX as u64,
        u64::MAX,
    ];
    match rng.random_range(0..=ENDS.len()) {
        n if n < ENDS.len() => ENDS[n].wrapping_sub(rng.random_range(0..2)),
        // Not a number, infinities, as F32 and as two F16.
        _ => [
            0x7fc0_0000_7fc0_0000,
            0xff80_0000_7f80_0000,
            0x7c00_7e00_fc00_7e00,
        ][rng.random_range(0..3)],
    }
}

/// A file of random bytes behind a good beginning.
pub fn noise(file: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let keep = rng.random_range(4..200.min(file.len()));
    let mut bytes = file[..keep].to_vec();
    let mut rest = vec![0; rng.random_range(0..4096)];
    rng.fill_bytes(&mut rest);
    bytes.extend(rest);
    bytes
}
