//! Long texts within the page, deflated, in base64. page.js unpacks them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libdeflater::{CompressionLvl, Compressor};
use maud::{Markup, PreEscaped, html};

/// How long packing may take.
#[derive(Clone, Copy)]
pub(super) enum Effort {
    /// Megabytes of results in a moment.
    Quick,
    /// As small as it gets.
    Most,
}

/// A text for a `script` element that no script runs.
pub(super) struct Packed(String);

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
        Packed(STANDARD.encode(bytes))
    }

    pub(super) fn element(&self, id: &str) -> Markup {
        html! {
            script id=(id) type="text/plain" { (PreEscaped(&self.0)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_the_text() {
        let text = "layer \u{e9}<script>\r\n".repeat(100);
        for effort in [Effort::Quick, Effort::Most] {
            let packed = Packed::new(&text, effort);
            let deflated = STANDARD.decode(packed.0).unwrap();
            let mut unpacked = vec![0; text.len()];
            let mut inflater = libdeflater::Decompressor::new();
            let n = inflater.zlib_decompress(&deflated, &mut unpacked).unwrap();
            assert_eq!(&unpacked[..n], text.as_bytes());
        }
    }
}
