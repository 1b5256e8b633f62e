//! The part of ggml's interface that is read as memory: tensors, and operations by number.
//!
//! Operations and types have numbers of our own here: their numbers in ggml change between
//! versions, their names do not.
#![allow(non_camel_case_types)]

use std::ffi::{c_char, c_void};

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
    GGML_OP_FLASH_ATTN_EXT = 13 "FLASH_ATTN_EXT",
    GGML_OP_SOFT_MAX = 14 "SOFT_MAX",
    GGML_OP_MUL = 15 "MUL",
    GGML_OP_SCALE = 16 "SCALE",
    GGML_OP_NORM = 17 "NORM",
    GGML_OP_RMS_NORM = 18 "RMS_NORM",
    GGML_OP_UNARY = 19 "UNARY",
    GGML_OP_GLU = 20 "GLU",
    GGML_OP_TOP_K = 21 "TOP_K",
}

/// Operations without a number of our own are the host's number and this.
pub const OTHERS: u32 = 1000;

pub const GGML_TYPE_F32: ggml_type = 0;
pub const GGML_TYPE_I32: ggml_type = 1;
pub const GGML_TYPE_F16: ggml_type = 2;

/// Our number of an operation, by the name that the host gives it.
pub fn number_of(name: &str) -> Option<ggml_op> {
    let known = OPERATIONS.iter().find(|(known, _)| *known == name);
    known.map(|(_, number)| *number)
}
