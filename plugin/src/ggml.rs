//! What `hook/` needs of ggml, found in the host process (the library has a module of this name
//! for the llama.cpp that it is built with).
//!
//! Operations and types have numbers of our own here: their numbers in ggml change between
//! versions, their names do not.
#![allow(non_camel_case_types)]

use std::cell::Cell;
use std::ffi::{c_char, c_void};

use crate::host::Host;

/// `enum ggml_op`.
pub type ggml_op = u32;
/// `enum ggml_type`.
pub type ggml_type = u32;

/// A `ggml_backend_buffer`, opaque.
#[repr(C)]
pub struct ggml_backend_buffer {
    _opaque: [u8; 0],
}

/// A tensor of ggml. `layout.rs` proves that the host's is laid out like this.
#[repr(C)]
pub struct ggml_tensor {
    pub type_: ggml_type,
    pub buffer: *mut ggml_backend_buffer,
    pub ne: [i64; 4],
    pub nb: [usize; 4],
    pub op: ggml_op,
    pub op_params: [i32; 16],
    pub flags: i32,
    pub src: [*mut ggml_tensor; 10],
    pub view_src: *mut ggml_tensor,
    pub view_offs: usize,
    pub data: *mut c_void,
    pub name: [c_char; 64],
    pub extra: *mut c_void,
    pub padding: [c_char; 8],
}

macro_rules! operations {
    ($($constant:ident = $number:literal $name:literal,)*) => {
        $(pub const $constant: ggml_op = $number;)*
        const OPERATIONS: &[(&str, ggml_op)] = &[$(($name, $constant),)*];
    };
}

operations! {
    GGML_OP_NONE = 0 "NONE",
    GGML_OP_ADD = 1 "ADD",
    GGML_OP_CONT = 2 "CONT",
    GGML_OP_GET_ROWS = 3 "GET_ROWS",
    GGML_OP_MUL_MAT = 4 "MUL_MAT",
    GGML_OP_MUL_MAT_ID = 5 "MUL_MAT_ID",
    GGML_OP_PAD = 6 "PAD",
    GGML_OP_PERMUTE = 7 "PERMUTE",
    GGML_OP_RESHAPE = 8 "RESHAPE",
    GGML_OP_ROPE = 9 "ROPE",
    GGML_OP_SET_ROWS = 10 "SET_ROWS",
    GGML_OP_TRANSPOSE = 11 "TRANSPOSE",
    GGML_OP_VIEW = 12 "VIEW",
}

/// Operations without a number of our own are the host's number and this.
const OTHERS: u32 = 1000;

pub const GGML_TYPE_F32: ggml_type = 0;
pub const GGML_TYPE_I32: ggml_type = 1;

/// Our number of an operation, by the name that the host gives it.
pub fn number_of(name: &str) -> Option<ggml_op> {
    let known = OPERATIONS.iter().find(|(known, _)| *known == name);
    known.map(|(_, number)| *number)
}

thread_local! {
    static CURRENT: Cell<Option<&'static Host>> = const { Cell::new(None) };
}

/// Runs `f` with the functions of `host`.
pub fn with<R>(host: &'static Host, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<&'static Host>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(Some(host)));
    f()
}

fn current() -> &'static Host {
    CURRENT
        .get()
        .expect("tensors are only looked at within `with`")
}

/// The operation that a tensor's field `op` stands for.
pub fn operation(raw: ggml_op) -> ggml_op {
    let host = current();
    host.operation(raw).unwrap_or(raw.saturating_add(OTHERS))
}

/// The element type that a tensor's field `type` stands for.
pub fn element_type(raw: ggml_type) -> ggml_type {
    let host = current();
    match raw {
        raw if raw == host.f32_type => GGML_TYPE_F32,
        raw if raw == host.i32_type => GGML_TYPE_I32,
        _ => raw.saturating_add(OTHERS),
    }
}

/// `ggml_backend_tensor_get` of the host.
///
/// # Safety
/// As in ggml-backend.h: the range lies within the tensor, which has a buffer, and `data` is as
/// long.
pub unsafe fn ggml_backend_tensor_get(
    tensor: *const ggml_tensor,
    data: *mut c_void,
    offset: usize,
    size: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { (current().tensor_get)(tensor, data, offset, size) }
}

/// `ggml_backend_tensor_set` of the host.
///
/// # Safety
/// As in ggml-backend.h: the range lies within the tensor, which has a writable buffer, and
/// `data` is as long.
pub unsafe fn ggml_backend_tensor_set(
    tensor: *mut ggml_tensor,
    data: *const c_void,
    offset: usize,
    size: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { (current().tensor_set)(tensor, data, offset, size) }
}
