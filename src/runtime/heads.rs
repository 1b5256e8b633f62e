//! How many heads of queries, keys and values layers have and how wide these are, as a model's metadata
//! state it: nothing here has seen a graph.

use std::ffi::CString;
use std::path::Path;

use llama_cpp_sys_2 as sys;

/// The heads that the metadata state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// By layer, how many.
    counts: Vec<usize>,
    /// By layer, how many heads of queries there are.
    queries: Vec<usize>,
    /// The widths that a head of keys may have: with and without a sliding window.
    keys: Vec<usize>,
    /// The widths that a head of values may have.
    values: Vec<usize>,
}

impl Heads {
    /// Reads a file's header; without heads where it cannot be read.
    pub(super) fn of_file(path: &Path, architecture: &str, n_layer: u32) -> Self {
        let Ok(name) = CString::new(path.as_os_str().as_encoded_bytes()) else {
            return Self::default();
        };
        let params = sys::gguf_init_params {
            no_alloc: true,
            ctx: std::ptr::null_mut(),
        };
        // SAFETY: the path is NUL-terminated; no tensor data is read without a ggml context.
        let raw = unsafe { sys::gguf_init_from_file(name.as_ptr(), params) };
        if raw.is_null() {
            return Self::default();
        }
        // SAFETY: just opened, and freed below.
        let heads = unsafe { Self::of(raw, architecture, n_layer) };
        // SAFETY: opened above, freed once.
        unsafe { sys::gguf_free(raw) };
        heads
    }

    /// # Safety
    /// The metadata are live.
    pub(super) unsafe fn of(
        metadata: *const sys::gguf_context,
        architecture: &str,
        n_layer: u32,
    ) -> Self {
        let numbers = |key: &str| {
            // SAFETY: the caller's promise.
            unsafe { numbers(metadata, &format!("{architecture}.{key}")) }
        };
        let by_layer = |key: &str| {
            let found = numbers(key)?;
            let of = |layer: usize| found.get(layer).or(found.last()).copied();
            (0..n_layer as usize).map(of).collect::<Option<Vec<_>>>()
        };
        let own = by_layer("attention.head_count").unwrap_or_default();
        let counts = by_layer("attention.head_count_kv").unwrap_or_else(|| own.clone());
        // As llama.cpp does it: the first layer's heads share the width of the residual stream.
        let width = numbers("embedding_length").and_then(|n| n.first().copied());
        let even = width
            .zip(own.first())
            .and_then(|(width, n)| width.checked_div(*n));
        let widths = |key: &str| {
            let usual = numbers(&format!("attention.{key}_length"));
            let usual = usual.unwrap_or_else(|| even.into_iter().collect());
            let windowed = numbers(&format!("attention.{key}_length_swa"));
            let mut widths = [usual, windowed.unwrap_or_default()].concat();
            widths.sort_unstable();
            widths.dedup();
            widths.retain(|w| *w > 0);
            widths
        };
        Self {
            counts,
            queries: own,
            keys: widths("key"),
            values: widths("value"),
        }
    }

    /// How many heads of queries a layer has, each of which gathers values of its own. `None` where
    /// the metadata do not tell, or say that there are none.
    pub fn of_queries(&self, layer: u32) -> Option<usize> {
        let n = self.queries.get(layer as usize).copied();
        n.filter(|n| *n > 0)
    }

    /// The width of a head of a layer's keys, in rows of `row` values. `None` where the metadata
    /// do not tell.
    pub fn of_keys(&self, layer: u32, row: usize) -> Option<usize> {
        let n = *self.counts.get(layer as usize)?;
        self.keys.iter().copied().find(|width| width * n == row)
    }

    /// The width of a head of a layer's values, and how many of a row of `row` values are the
    /// layer's own: where layers differ and values are kept by column, llama.cpp pads all rows
    /// to the widest layer's. `None` where the metadata do not tell.
    pub fn of_values(&self, layer: u32, row: usize) -> Option<(usize, usize)> {
        let n = *self.counts.get(layer as usize)?;
        let fitting = |width: &usize| width * n == row;
        let exact = self.values.iter().copied().find(fitting);
        let padded = match self.values[..] {
            [width] if width * n < row => Some(width),
            _ => None,
        };
        let width = exact.or(padded).filter(|_| n > 0)?;
        Some((width, width * n))
    }
}

/// A key's whole numbers: one, or a list. `None` for a key that is missing or of another type.
///
/// # Safety
/// The metadata are live.
unsafe fn numbers(metadata: *const sys::gguf_context, key: &str) -> Option<Vec<usize>> {
    let key = CString::new(key).ok()?;
    // SAFETY: the caller's promise; the key is NUL-terminated.
    let id = unsafe { sys::gguf_find_key(metadata, key.as_ptr()) };
    if id < 0 {
        return None;
    }
    // SAFETY: the id was just found, as in the calls below.
    let kind = unsafe { sys::gguf_get_kv_type(metadata, id) };
    let is_number = |kind| [sys::GGUF_TYPE_UINT32, sys::GGUF_TYPE_INT32].contains(&kind);
    if is_number(kind) {
        // SAFETY: a value of four bytes, as just asked; gguf checks the type that is asked for.
        let value = match kind == sys::GGUF_TYPE_UINT32 {
            // SAFETY: as above.
            true => unsafe { sys::gguf_get_val_u32(metadata, id) },
            // SAFETY: as above.
            false => unsafe { sys::gguf_get_val_i32(metadata, id) }.unsigned_abs(),
        };
        return Some(vec![value as usize]);
    }
    if kind != sys::GGUF_TYPE_ARRAY {
        return None;
    }
    // SAFETY: the value is an array, as just asked.
    let kind = unsafe { sys::gguf_get_arr_type(metadata, id) };
    if !is_number(kind) {
        return None;
    }
    // SAFETY: as above.
    let n = unsafe { sys::gguf_get_arr_n(metadata, id) };
    // SAFETY: an array of numbers, as just asked.
    let data = unsafe { sys::gguf_get_arr_data(metadata, id) }.cast::<u32>();
    let at = |i| {
        let value = data.wrapping_add(i);
        // SAFETY: `i` is below the array's length, and its values have four bytes. (The array
        // may lie at any address.)
        unsafe { value.read_unaligned() }
    };
    Some((0..n).map(|i| at(i) as usize).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{Architecture, Synthetic};

    #[test]
    fn heads_are_what_the_metadata_say() {
        let of = |architecture| {
            Synthetic::new(architecture)
                .build()
                .unwrap()
                .heads()
                .clone()
        };
        let even = of(Architecture::Llama);
        assert_eq!(even.of_keys(0, 32), Some(16));
        assert_eq!(even.of_values(3, 32), Some((16, 32)));
        assert_eq!(even.of_keys(0, 48), None);
        assert_eq!(even.of_keys(4, 32), None);
        assert_eq!([0, 4].map(|l| even.of_queries(l)), [Some(4), None]);
        // Layers differ, and rows of values are as wide as the widest layer's.
        let odd = of(Architecture::Openelm);
        assert_eq!([1, 2].map(|l| odd.of_queries(l)), [Some(4), Some(8)]);
        assert_eq!(odd.of_keys(1, 16), Some(16));
        assert_eq!(odd.of_keys(2, 32), Some(16));
        assert_eq!(odd.of_values(1, 32), Some((16, 16)));
        assert_eq!(odd.of_values(2, 32), Some((16, 32)));
        assert_eq!(of(Architecture::Deci).of_values(1, 32), None);
        assert_eq!(of(Architecture::Mamba).of_values(0, 32), None);
    }
}
