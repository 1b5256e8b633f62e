//! Functions of the ggml of the process that we are in.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::abi::{ggml_backend_buffer, ggml_tensor};
use crate::objects::Object;

/// `struct ggml_init_params`.
#[repr(C)]
pub struct InitParams {
    pub mem_size: usize,
    pub mem_buffer: *mut c_void,
    pub no_alloc: bool,
}

type Context = *mut c_void;
type BufferType = *mut c_void;

macro_rules! functions {
    ($($field:ident $name:literal: $type:ty,)*) => {
        /// Functions of the host's ggml.
        pub struct Functions {
            $(pub $field: $type,)*
        }

        impl Functions {
            /// Those that an object holds or has loaded.
            ///
            /// # Errors
            /// The name of one that is missing.
            pub fn of(object: &Object) -> Result<Self, String> {
                let find = |name: &CStr| {
                    object.find(name).ok_or_else(|| name.to_string_lossy().into_owned())
                };
                Ok(Self {
                    $($field: {
                        let address = find($name)?.as_ptr();
                        // SAFETY: a function of this name has this signature in every ggml.h
                        // and ggml-backend.h since eval callbacks exist.
                        unsafe { std::mem::transmute::<*mut c_void, $type>(address) }
                    },)*
                })
            }
        }
    };
}

functions! {
    tensor_get c"ggml_backend_tensor_get":
        unsafe extern "C" fn(*const ggml_tensor, *mut c_void, usize, usize),
    tensor_set c"ggml_backend_tensor_set":
        unsafe extern "C" fn(*mut ggml_tensor, *const c_void, usize, usize),
    buffer_is_host c"ggml_backend_buffer_is_host":
        unsafe extern "C" fn(*mut ggml_backend_buffer) -> bool,
    buffer_free c"ggml_backend_buffer_free": unsafe extern "C" fn(*mut ggml_backend_buffer),
    cpu_buffer_type c"ggml_backend_cpu_buffer_type": unsafe extern "C" fn() -> BufferType,
    allocate c"ggml_backend_alloc_ctx_tensors_from_buft":
        unsafe extern "C" fn(Context, BufferType) -> *mut ggml_backend_buffer,
    op_name c"ggml_op_name": unsafe extern "C" fn(u32) -> *const c_char,
    type_name c"ggml_type_name": unsafe extern "C" fn(u32) -> *const c_char,
    init c"ggml_init": unsafe extern "C" fn(InitParams) -> Context,
    free c"ggml_free": unsafe extern "C" fn(Context),
    tensor_overhead c"ggml_tensor_overhead": unsafe extern "C" fn() -> usize,
    new_tensor_1d c"ggml_new_tensor_1d": unsafe extern "C" fn(Context, c_int, i64) -> *mut ggml_tensor,
    new_tensor_2d c"ggml_new_tensor_2d":
        unsafe extern "C" fn(Context, c_int, i64, i64) -> *mut ggml_tensor,
    get_rows c"ggml_get_rows":
        unsafe extern "C" fn(Context, *mut ggml_tensor, *mut ggml_tensor) -> *mut ggml_tensor,
    view_1d c"ggml_view_1d":
        unsafe extern "C" fn(Context, *mut ggml_tensor, i64, usize) -> *mut ggml_tensor,
    set_name c"ggml_set_name":
        unsafe extern "C" fn(*mut ggml_tensor, *const c_char) -> *mut ggml_tensor,
    set_input c"ggml_set_input": unsafe extern "C" fn(*mut ggml_tensor),
    next_tensor c"ggml_get_next_tensor":
        unsafe extern "C" fn(Context, *mut ggml_tensor) -> *mut ggml_tensor,
}

impl Functions {
    /// The name of an operation that a tensor of the host has.
    pub fn operation_name(&self, raw: u32) -> String {
        // SAFETY: operations of the host's own tensors are within its table.
        text(unsafe { (self.op_name)(raw) })
    }
}

/// A static string of the host's.
pub fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: ggml's names are static and NUL-terminated.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_string_lossy().into_owned()
}
