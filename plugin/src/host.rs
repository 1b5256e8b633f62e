//! The ggml of the process that we are in.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::ggml::{self, ggml_backend_buffer, ggml_tensor};
use crate::layout;
use crate::objects::{Object, loaded};

/// `struct ggml_init_params`.
#[repr(C)]
pub struct InitParams {
    pub mem_size: usize,
    pub mem_buffer: *mut c_void,
    pub no_alloc: bool,
}

type Context = *mut c_void;
type BufferType = *mut c_void;

/// Why the host's ggml is not touched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HostError {
    /// No ggml.
    #[error(
        "no llama.cpp was found in this process: none is loaded, or it is linked statically and keeps its symbols to itself"
    )]
    Missing,
    /// A ggml without something that is needed.
    #[error("the llama.cpp in this process ({path}) has no function {function}")]
    NoFunction {
        /// The function.
        function: String,
        /// Where it was looked for.
        path: String,
    },
    /// Tensors of another layout.
    #[error(
        "the llama.cpp in this process (ggml {version}) lays its tensors out in a way that is not known here: {what}"
    )]
    Layout {
        /// What ggml says of itself.
        version: String,
        /// What does not fit.
        what: String,
    },
}

macro_rules! functions {
    ($($field:ident $name:literal: $type:ty,)*) => {
        /// Functions of the host's ggml, and what its numbers mean.
        pub struct Host {
            $(pub $field: $type,)*
            /// Where they were found.
            pub path: String,
            /// What ggml says of itself.
            pub version: String,
            /// The number of `GGML_TYPE_F32`.
            pub f32_type: u32,
            /// The number of `GGML_TYPE_I32`.
            pub i32_type: u32,
            /// Our number of each operation and 1, 0 where it was not looked up yet.
            operations: [AtomicU32; 256],
        }

        impl Host {
            fn of(object: &Object) -> Result<Self, HostError> {
                let find = |name: &CStr| {
                    object.find(name).ok_or_else(|| HostError::NoFunction {
                        function: name.to_string_lossy().into_owned(),
                        path: object.path.clone(),
                    })
                };
                Ok(Self {
                    $($field: {
                        let address = find($name)?.as_ptr();
                        // SAFETY: a function of this name has this signature in every ggml.h
                        // and ggml-backend.h since eval callbacks exist.
                        unsafe { std::mem::transmute::<*mut c_void, $type>(address) }
                    },)*
                    path: object.path.clone(),
                    version: String::new(),
                    f32_type: 0,
                    i32_type: 0,
                    operations: [const { AtomicU32::new(0) }; 256],
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

/// Every ggml that was looked at: the address of its `ggml_backend_tensor_get` and the verdict.
static KNOWN: Mutex<Vec<(usize, Result<&'static Host, HostError>)>> = Mutex::new(Vec::new());

/// A function that every ggml with backends has.
const LANDMARK: &CStr = c"ggml_backend_tensor_get";

impl Host {
    /// The ggml that `object` uses, checked.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn seen_from(object: &Object) -> Result<&'static Host, HostError> {
        let landmark = object.find(LANDMARK).ok_or(HostError::Missing)?;
        let address = landmark.as_ptr() as usize;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, verdict)) = known.iter().find(|(at, _)| *at == address) {
            return verdict.clone();
        }
        let own = Object::of(landmark.as_ptr());
        let verdict = Host::of(own.as_ref().unwrap_or(object))
            .and_then(Host::checked)
            .map(|host| &*Box::leak(Box::new(host)));
        known.push((address, verdict.clone()));
        verdict
    }

    /// The first ggml of the process.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn in_process() -> Result<&'static Host, HostError> {
        let objects = loaded();
        let object = objects
            .iter()
            .find(|object| object.find(LANDMARK).is_some());
        Host::seen_from(object.ok_or(HostError::Missing)?)
    }

    fn checked(mut self) -> Result<Self, HostError> {
        let object = Object::open(&std::ffi::CString::new(&*self.path).unwrap_or_default());
        let version = object.and_then(|object| object.find(c"ggml_version"));
        self.version = match version {
            Some(address) => text_of(address),
            None => "of unknown version".into(),
        };
        layout::prove(&mut self).map_err(|what| HostError::Layout {
            version: self.version.clone(),
            what,
        })?;
        Ok(self)
    }

    /// The name of an operation that a tensor of the host has.
    pub fn operation_name(&self, raw: u32) -> String {
        // SAFETY: operations of the host's own tensors are within its table.
        text(unsafe { (self.op_name)(raw) })
    }

    /// Our number of an operation that a tensor of the host has.
    pub fn operation(&self, raw: u32) -> Option<u32> {
        let known = self.operations.get(raw as usize)?;
        let stored = match known.load(Ordering::Relaxed) {
            0 => {
                let number = ggml::number_of(&self.operation_name(raw));
                let stored = number.map_or(u32::MAX, |number| number + 1);
                known.store(stored, Ordering::Relaxed);
                stored
            }
            stored => stored,
        };
        (stored != u32::MAX).then(|| stored - 1)
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

fn text_of(function: NonNull<c_void>) -> String {
    type Version = unsafe extern "C" fn() -> *const c_char;
    // SAFETY: ggml_version and ggml_commit have this signature.
    let function = unsafe { std::mem::transmute::<*mut c_void, Version>(function.as_ptr()) };
    // SAFETY: takes no arguments, returns a static string.
    text(unsafe { function() })
}
