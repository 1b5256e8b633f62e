//! GGUF metadata of a model that exists only in memory.

use std::ffi::CString;

use llama_cpp_sys_2 as sys;

/// Width of the residual stream.
pub(super) const WIDTH: u32 = 64;

/// The value of a key.
#[derive(Clone, Copy)]
pub(super) enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    /// A truth for each layer: this for odd numbers, the opposite for even ones.
    Odd(bool),
    /// A number for each layer.
    Each(fn(u32) -> u32),
    /// Two numbers, however many layers there are.
    Two([u32; 2]),
    /// Four of them.
    Four([u32; 4]),
    /// So many fewer than there are layers.
    LayersBut(u32),
}

/// GGUF metadata under construction. Keys without a known prefix are the architecture's.
pub(super) struct Metadata {
    pub(super) raw: *mut sys::gguf_context,
    architecture: &'static str,
}

impl Metadata {
    pub(super) fn new(architecture: &'static str) -> Self {
        Self {
            // SAFETY: no arguments; freed in `drop`.
            raw: unsafe { sys::gguf_init_empty() },
            architecture,
        }
    }

    fn key(&self, key: &str) -> CString {
        let whole = ["general.", "tokenizer.", "xielu."];
        let full = match whole.iter().any(|prefix| key.starts_with(prefix)) {
            true => key.to_string(),
            false => format!("{}.{key}", self.architecture),
        };
        CString::new(full).expect("keys hold no NUL")
    }

    pub(super) fn string(&self, key: &str, value: &str) {
        let value = CString::new(value).expect("values hold no NUL");
        // SAFETY: both strings are NUL-terminated; gguf copies them.
        unsafe { sys::gguf_set_val_str(self.raw, self.key(key).as_ptr(), value.as_ptr()) };
    }

    pub(super) fn u32(&self, key: &str, value: u32) {
        // SAFETY: the key is NUL-terminated; gguf copies it.
        unsafe { sys::gguf_set_val_u32(self.raw, self.key(key).as_ptr(), value) };
    }

    pub(super) fn bool(&self, key: &str, value: bool) {
        // SAFETY: the key is NUL-terminated; gguf copies it.
        unsafe { sys::gguf_set_val_bool(self.raw, self.key(key).as_ptr(), value) };
    }

    pub(super) fn f32(&self, key: &str, value: f32) {
        // SAFETY: the key is NUL-terminated; gguf copies it.
        unsafe { sys::gguf_set_val_f32(self.raw, self.key(key).as_ptr(), value) };
    }

    /// Numbers, as many as there are layers where a key has one for each.
    pub(super) fn numbers(&self, key: &str, values: &[u32]) {
        // SAFETY: the key is NUL-terminated, the array has the length given, of u32; gguf copies.
        unsafe {
            sys::gguf_set_arr_data(
                self.raw,
                self.key(key).as_ptr(),
                sys::GGUF_TYPE_UINT32,
                values.as_ptr().cast(),
                values.len(),
            );
        }
    }

    fn truth_by_layer(&self, key: &str, values: &[bool]) {
        // SAFETY: the key is NUL-terminated, the array has the length given, of one byte each,
        // 0 or 1, as gguf's truth values are; gguf copies.
        unsafe {
            sys::gguf_set_arr_data(
                self.raw,
                self.key(key).as_ptr(),
                sys::GGUF_TYPE_BOOL,
                values.as_ptr().cast(),
                values.len(),
            );
        }
    }

    /// A key of a model with `n_layer` layers.
    pub(super) fn set(&self, key: &str, value: Value, n_layer: u32) {
        match value {
            Value::U32(value) => self.u32(key, value),
            Value::F32(value) => self.f32(key, value),
            Value::Bool(value) => self.bool(key, value),
            Value::Each(of) => self.numbers(key, &(0..n_layer).map(of).collect::<Vec<_>>()),
            Value::Two(values) => self.numbers(key, &values),
            Value::Four(values) => self.numbers(key, &values),
            Value::LayersBut(n) => self.u32(key, n_layer.saturating_sub(n)),
            Value::Odd(value) => {
                let values: Vec<bool> = (0..n_layer).map(|l| (l % 2 == 1) == value).collect();
                self.truth_by_layer(key, &values);
            }
        }
    }

    /// Bytes, and if wished pairs of small letters.
    pub(super) fn byte_vocabulary(&self, pairs: bool) {
        let mut tokens = vec!["<unk>".to_string(), "<s>".into(), "</s>".into()];
        tokens.extend((0..256).map(|b| format!("<0x{b:02X}>")));
        tokens.push("\u{2581}".into());
        if pairs {
            let letters = || 'a'..='z';
            tokens.extend(letters().flat_map(|a| letters().map(move |b| format!("{a}{b}"))));
            tokens.extend(["\u{1f999}", "\u{301}"].map(String::from));
        }
        // 2 unknown, 3 control, 6 byte, 1 normal (llama_token_type).
        let mut types = vec![2i32, 3, 3];
        types.extend([6; 256]);
        types.resize(tokens.len(), 1);
        let scores = vec![0f32; tokens.len()];
        let tokens: Vec<CString> = tokens
            .into_iter()
            .map(|t| CString::new(t).expect("no NUL"))
            .collect();
        let mut pointers: Vec<*const std::ffi::c_char> =
            tokens.iter().map(|t| t.as_ptr()).collect();
        self.string("tokenizer.ggml.model", "llama");
        let key = self.key("tokenizer.ggml.tokens");
        // SAFETY: the pointers are NUL-terminated strings that live for the call; gguf copies.
        unsafe {
            sys::gguf_set_arr_str(
                self.raw,
                key.as_ptr(),
                pointers.as_mut_ptr().cast(),
                tokens.len(),
            );
        }
        let key = self.key("tokenizer.ggml.token_type");
        // SAFETY: the array has the length given, of i32; gguf copies.
        unsafe {
            sys::gguf_set_arr_data(
                self.raw,
                key.as_ptr(),
                sys::GGUF_TYPE_INT32,
                types.as_ptr().cast(),
                types.len(),
            );
        }
        let key = self.key("tokenizer.ggml.scores");
        // SAFETY: the array has the length given, of f32; gguf copies.
        unsafe {
            sys::gguf_set_arr_data(
                self.raw,
                key.as_ptr(),
                sys::GGUF_TYPE_FLOAT32,
                scores.as_ptr().cast(),
                scores.len(),
            );
        }
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        // SAFETY: made by gguf_init_empty, freed once; llama.cpp does not keep it.
        unsafe { sys::gguf_free(self.raw) };
    }
}
