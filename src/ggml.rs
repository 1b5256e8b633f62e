//! What `hook/` needs of ggml, and nothing else. Here it is the llama.cpp that midlayer is built
//! with. The plugin compiles `hook/` too, with a module of this name that finds the same things
//! in the process that loaded it, so numbers of operations and types come from here alone.

pub(crate) use llama_cpp_sys_2::{
    GGML_OP_ADD, GGML_OP_CONT, GGML_OP_FLASH_ATTN_EXT, GGML_OP_GET_ROWS, GGML_OP_GLU, GGML_OP_MUL,
    GGML_OP_MUL_MAT, GGML_OP_MUL_MAT_ID, GGML_OP_NONE, GGML_OP_NORM, GGML_OP_PAD, GGML_OP_PERMUTE,
    GGML_OP_RESHAPE, GGML_OP_RMS_NORM, GGML_OP_ROPE, GGML_OP_SCALE, GGML_OP_SET_ROWS,
    GGML_OP_SOFT_MAX, GGML_OP_TOP_K, GGML_OP_TRANSPOSE, GGML_OP_UNARY, GGML_OP_VIEW, GGML_TYPE_F16,
    GGML_TYPE_F32, GGML_TYPE_I32, ggml_backend_buffer, ggml_backend_tensor_get,
    ggml_backend_tensor_set, ggml_op, ggml_tensor, ggml_type,
};

/// The operation that a tensor's field `op` stands for.
pub(crate) fn operation(raw: ggml_op) -> ggml_op {
    raw
}

/// The element type that a tensor's field `type` stands for.
pub(crate) fn element_type(raw: ggml_type) -> ggml_type {
    raw
}
