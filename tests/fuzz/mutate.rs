//! Damage to bytes of any kind.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

/// What parsers stumble over, of text and of lengths.
const TELLING: [&[u8]; 24] = [
    b"",
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff\x0f",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"{",
    b"[",
    b"}",
    b"]",
    b",",
    b"\r\n",
    b"\n",
    b"null",
    b"1e999",
    "\u{feff}".as_bytes(),
    "\u{1f600}".as_bytes(),
];

/// One piece of damage, or two, four or eight.
pub fn bytes(seed: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 << rng.random_range(0..4) {
        once(&mut bytes, rng);
    }
    bytes
}

fn once(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let n = bytes.len();
    let at = rng.random_range(0..=n);
    let end = (at + rng.random_range(0..32)).min(n);
    match rng.random_range(0..12) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let piece = TELLING[rng.random_range(0..TELLING.len())];
            drop(bytes.splice(at..at, piece.iter().copied()));
        }
        3 => {
            let piece = TELLING[rng.random_range(0..TELLING.len())];
            let end = (at + piece.len()).min(n);
            drop(bytes.splice(at..end, piece.iter().copied()));
        }
        4 => {
            let copy = bytes[at..end].to_vec();
            let to = rng.random_range(0..=n);
            drop(bytes.splice(to..to, copy));
        }
        5 => {
            // Deep nesting.
            let deep = [b'[', b'{', b'"'][rng.random_range(0..3)];
            let many = rng.random_range(1..3000);
            drop(bytes.splice(at..at, std::iter::repeat_n(deep, many)));
        }
        6 => rng.fill_bytes(&mut bytes[at..end]),
        7 if at < n => bytes[at] = bytes[at].wrapping_add(1),
        8 if at < n => bytes[at] = bytes[at].wrapping_sub(1),
        _ if at < n => bytes[at] ^= 1 << rng.random_range(0..8),
        _ => {}
    }
}

/// Damage to a file of pages whose length stays: bytes here and there, a page torn or gone.
pub fn pages(seed: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut bytes = seed.to_vec();
    let n_pages = bytes.len() / PAGE;
    for _ in 0..rng.random_range(1..=4) {
        let page = PAGE * rng.random_range(0..n_pages);
        // The beginning of a page is its header and its list of cells.
        let within = if rng.random_bool(0.5) { 128 } else { PAGE };
        let at = page + rng.random_range(0..within);
        match rng.random_range(0..8) {
            0 => bytes[at..page + PAGE].fill(0),
            1 => {
                let other = PAGE * rng.random_range(0..n_pages);
                bytes.copy_within(other..other + PAGE, page);
            }
            2 => rng.fill_bytes(&mut bytes[at..(at + 8).min(page + PAGE)]),
            _ => bytes[at] ^= 1 << rng.random_range(0..8),
        }
    }
    if rng.random_bool(0.05) {
        bytes.truncate(rng.random_range(0..seed.len()));
    }
    bytes
}
