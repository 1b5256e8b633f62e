//! What `hook/` needs of ggml, found in the host process (the library has a module of this name
//! for the llama.cpp that it is built with).

use std::cell::Cell;
use std::ffi::c_void;

use crate::host::Host;

pub use crate::abi::*;

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
        raw if raw == host.types.f32 => GGML_TYPE_F32,
        raw if raw == host.types.i32 => GGML_TYPE_I32,
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
