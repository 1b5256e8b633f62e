//! GGUF metadata of a model that exists only in memory.

use std::ffi::{CStr, CString};
use std::path::Path;

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

/// A number that a list can have.
pub(super) trait Number: Copy {
    /// gguf's name of it.
    const TYPE: sys::gguf_type;
}

impl Number for i32 {
    const TYPE: sys::gguf_type = sys::GGUF_TYPE_INT32;
}

impl Number for u32 {
    const TYPE: sys::gguf_type = sys::GGUF_TYPE_UINT32;
}

/// One byte, 0 or 1, as gguf's truth values are.
impl Number for bool {
    const TYPE: sys::gguf_type = sys::GGUF_TYPE_BOOL;
}

impl Number for f32 {
    const TYPE: sys::gguf_type = sys::GGUF_TYPE_FLOAT32;
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

    /// The metadata of a file; `None` where it is no GGUF that can be read.
    pub(super) fn of_file(path: &Path, architecture: &'static str) -> Option<Self> {
        let name = CString::new(path.as_os_str().as_encoded_bytes()).ok()?;
        let params = sys::gguf_init_params {
            no_alloc: true,
            ctx: std::ptr::null_mut(),
        };
        // SAFETY: the path is NUL-terminated; no tensor data is read without a ggml context; freed
        // in `drop`.
        let raw = unsafe { sys::gguf_init_from_file(name.as_ptr(), params) };
        (!raw.is_null()).then_some(Self { raw, architecture })
    }

    /// Takes over all keys of others that begin with `prefix`, and loses all own ones that do not.
    pub(super) fn copy(&self, from: &Metadata, prefix: &str) {
        // SAFETY: both are live; gguf copies, and has arrays of no arrays.
        unsafe { sys::gguf_set_kv(self.raw, from.raw) };
        // SAFETY: the metadata are live.
        let all = unsafe { sys::gguf_get_n_kv(self.raw) };
        let key = |n| {
            // SAFETY: the key exists.
            let name = unsafe { sys::gguf_get_key(self.raw, n) };
            // SAFETY: gguf's names are NUL-terminated, and copied here.
            unsafe { CStr::from_ptr(name) }.to_owned()
        };
        let keys: Vec<CString> = (0..all).map(key).collect();
        let others = |key: &&CString| !key.to_bytes().starts_with(prefix.as_bytes());
        for key in keys.iter().filter(others) {
            // SAFETY: the metadata are live and the key is NUL-terminated.
            unsafe { sys::gguf_remove_key(self.raw, key.as_ptr()) };
        }
    }

    /// The number of a key that is a list of this type.
    fn list(&self, key: &str, kind: sys::gguf_type) -> Option<i64> {
        // SAFETY: the metadata are live and the key is NUL-terminated.
        let n = unsafe { sys::gguf_find_key(self.raw, self.key(key).as_ptr()) };
        // SAFETY: the key exists.
        let is_list =
            n >= 0 && unsafe { sys::gguf_get_kv_type(self.raw, n) } == sys::GGUF_TYPE_ARRAY;
        // SAFETY: the key exists and is a list.
        (is_list && unsafe { sys::gguf_get_arr_type(self.raw, n) } == kind).then_some(n)
    }

    /// The texts of a list.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<CString>> {
        let key = self.list(key, sys::GGUF_TYPE_STRING)?;
        // SAFETY: the key exists and is a list.
        let n = unsafe { sys::gguf_get_arr_n(self.raw, key) };
        let text = |i| {
            // SAFETY: the key is a list of texts that has the element.
            let text = unsafe { sys::gguf_get_arr_str(self.raw, key, i) };
            // SAFETY: gguf's texts are NUL-terminated, and copied here.
            unsafe { CStr::from_ptr(text) }.to_owned()
        };
        Some((0..n).map(text).collect())
    }

    /// A list of texts.
    pub(super) fn set_texts(&self, key: &str, texts: &[CString]) {
        let mut pointers: Vec<_> = texts.iter().map(|t| t.as_ptr()).collect();
        // SAFETY: the pointers are NUL-terminated strings that live for the call; gguf copies.
        unsafe {
            sys::gguf_set_arr_str(
                self.raw,
                self.key(key).as_ptr(),
                pointers.as_mut_ptr(),
                pointers.len(),
            );
        }
    }

    /// Puts `more` of the same number behind those of a list, if there is one of that type.
    pub(super) fn lengthen<N: Number>(&self, key: &str, more: usize, number: N) {
        let Some(n) = self.list(key, N::TYPE) else {
            return;
        };
        // SAFETY: the key exists and is a list.
        let old = unsafe { sys::gguf_get_arr_n(self.raw, n) };
        // SAFETY: a list of numbers of this type, not empty, at an address aligned for any number.
        let data = unsafe { sys::gguf_get_arr_data(self.raw, n) }.cast::<N>();
        let mut numbers = vec![number; old + more];
        if old > 0 {
            // SAFETY: gguf has `old` numbers there, and `numbers` has room for more.
            unsafe { std::ptr::copy_nonoverlapping(data, numbers.as_mut_ptr(), old) };
        }
        self.set_list(key, &numbers);
    }

    /// A list of numbers.
    fn set_list<N: Number>(&self, key: &str, numbers: &[N]) {
        // SAFETY: the key is NUL-terminated, the array has the length given, of this type; gguf
        // copies.
        unsafe {
            sys::gguf_set_arr_data(
                self.raw,
                self.key(key).as_ptr(),
                N::TYPE,
                numbers.as_ptr().cast(),
                numbers.len(),
            );
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
        self.set_list(key, values);
    }

    fn truth_by_layer(&self, key: &str, values: &[bool]) {
        self.set_list(key, values);
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
        self.string("tokenizer.ggml.model", "llama");
        self.set_texts("tokenizer.ggml.tokens", &tokens);
        self.set_list("tokenizer.ggml.token_type", &types);
        self.set_list("tokenizer.ggml.scores", &scores);
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        // SAFETY: made by gguf_init_empty, freed once; llama.cpp does not keep it.
        unsafe { sys::gguf_free(self.raw) };
    }
}
