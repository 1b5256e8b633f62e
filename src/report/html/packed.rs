//! Long texts within the page, deflated. page.js unpacks them.
//!
//! Deflated bytes are written seven bits a character, which takes an eighth more than the bytes;
//! base64 takes a third. Three of the 128 characters would not come through a `script` element:
//! NUL, a carriage return and `<`. Each of them goes, with the seven bits behind it, into one
//! character of two bytes.

use libdeflater::{CompressionLvl, Compressor};
use maud::{Markup, PreEscaped, html};

/// What stands for itself nowhere.
const NOT_AS_IT_IS: [u8; 3] = [0, b'\r', b'<'];

/// The first of the characters that stand for two groups.
const PAIRS: u32 = 0x100;

/// How long packing may take.
#[derive(Clone, Copy)]
pub(super) enum Effort {
    /// Megabytes of results in a moment.
    Quick,
    /// As small as it gets.
    Most,
}

/// A text for a `script` element that no script runs, and the number of its deflated bytes.
pub(super) struct Packed {
    text: String,
    bytes: usize,
}

impl Packed {
    pub(super) fn new(text: &str, effort: Effort) -> Self {
        let level = match effort {
            Effort::Quick => 6,
            Effort::Most => 12,
        };
        let level = CompressionLvl::new(level).expect("a level that there is");
        let mut compressor = Compressor::new(level);
        let mut bytes = vec![0; compressor.zlib_compress_bound(text.len())];
        let written = compressor.zlib_compress(text.as_bytes(), &mut bytes);
        bytes.truncate(written.expect("as much room as it can take"));
        Packed {
            text: sevens(&bytes),
            bytes: bytes.len(),
        }
    }

    pub(super) fn element(&self, id: &str) -> Markup {
        html! {
            script id=(id) type="text/plain" data-bytes=(self.bytes) { (PreEscaped(&self.text)) }
        }
    }
}

/// Bytes as characters of seven bits, the highest first; zeros follow the last.
fn sevens(bytes: &[u8]) -> String {
    let mut groups = Vec::with_capacity(bytes.len() * 8 / 7 + 2);
    let (mut held, mut bits) = (0u32, 0);
    for &byte in bytes {
        (held, bits) = (held << 8 | u32::from(byte), bits + 8);
        while bits >= 7 {
            bits -= 7;
            groups.push((held >> bits) as u8 & 0x7f);
        }
        held &= (1 << bits) - 1;
    }
    groups.push((held << (7 - bits)) as u8 & 0x7f);
    let mut text = String::with_capacity(groups.len());
    let mut groups = groups.into_iter();
    while let Some(group) = groups.next() {
        let place = NOT_AS_IT_IS.iter().position(|&byte| byte == group);
        match place {
            None => text.push(char::from(group)),
            Some(n) => {
                let next = u32::from(groups.next().unwrap_or(0));
                let code = PAIRS + 128 * n as u32 + next;
                text.push(char::from_u32(code).expect("a letter of Latin or IPA"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As page.js does it.
    fn bytes(text: &str, length: usize) -> Vec<u8> {
        let mut groups = Vec::new();
        for c in text.chars() {
            match u32::from(c).checked_sub(PAIRS) {
                None => groups.push(c as u8),
                Some(pair) => {
                    groups.push(NOT_AS_IT_IS[(pair / 128) as usize]);
                    groups.push((pair % 128) as u8);
                }
            }
        }
        let bits: Vec<u8> = groups
            .iter()
            .flat_map(|group| (0..7).rev().map(move |n| group >> n & 1))
            .collect();
        let bytes = bits.chunks_exact(8);
        let bytes = bytes.map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit));
        bytes.take(length).collect()
    }

    #[test]
    fn all_bytes_come_through() {
        let all: Vec<u8> = (0..=255u8).chain((0..=255).rev()).collect();
        for some in (0..40).map(|n| &all[n..all.len() - 2 * n]) {
            let text = sevens(some);
            assert_eq!(bytes(&text, some.len()), some);
            assert!(!text.contains(['\0', '\r', '<']));
            assert!(text.len() <= some.len() * 8 / 7 + 2);
        }
        assert_eq!(sevens(&[]).len(), 2, "a group of nothing");
        for ends in [&[0u8, 0][..], b"<", b"\r\r\r", &[0xff; 7]] {
            assert_eq!(bytes(&sevens(ends), ends.len()), ends);
        }
    }

    #[test]
    fn what_is_packed_is_the_text() {
        let text = "layer \u{e9}<script>\r\n".repeat(100);
        for effort in [Effort::Quick, Effort::Most] {
            let packed = Packed::new(&text, effort);
            let deflated = bytes(&packed.text, packed.bytes);
            let mut unpacked = vec![0; text.len()];
            let mut inflater = libdeflater::Decompressor::new();
            let n = inflater.zlib_decompress(&deflated, &mut unpacked).unwrap();
            assert_eq!(&unpacked[..n], text.as_bytes());
        }
    }
}
