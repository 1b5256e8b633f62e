//! The ggml of the process that we are in.

use std::ffi::{CStr, c_char, c_void};
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::abi;
use crate::functions::{Functions, text};
use crate::layout::{self, Types};
use crate::objects::{Object, loaded};

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

/// The host's ggml: its functions, and what its numbers mean.
pub struct Host {
    functions: Functions,
    /// Where they were found.
    pub path: String,
    /// What ggml says of itself.
    pub version: String,
    /// What stands for types.
    pub types: Types,
    /// Our number of each operation and 1, 0 where it was not looked up yet.
    operations: [AtomicU32; 256],
}

impl Deref for Host {
    type Target = Functions;

    fn deref(&self) -> &Functions {
        &self.functions
    }
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
        let verdict =
            Host::of(own.as_ref().unwrap_or(object)).map(|host| &*Box::leak(Box::new(host)));
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

    fn of(object: &Object) -> Result<Self, HostError> {
        let path = object.path.clone();
        let functions = Functions::of(object).map_err(|function| HostError::NoFunction {
            function,
            path: path.clone(),
        })?;
        let itself = Object::open(&std::ffi::CString::new(&*path).unwrap_or_default());
        let version = match itself.and_then(|object| object.find(c"ggml_version")) {
            Some(address) => text_of(address),
            None => "of unknown version".into(),
        };
        let types = layout::prove(&functions).map_err(|what| HostError::Layout {
            version: version.clone(),
            what,
        })?;
        Ok(Self {
            functions,
            path,
            version,
            types,
            operations: [const { AtomicU32::new(0) }; 256],
        })
    }

    /// Our number of an operation that a tensor of the host has.
    pub fn operation(&self, raw: u32) -> Option<u32> {
        let known = self.operations.get(raw as usize)?;
        let stored = match known.load(Ordering::Relaxed) {
            0 => {
                let number = abi::number_of(&self.operation_name(raw));
                let stored = number.map_or(u32::MAX, |number| number + 1);
                known.store(stored, Ordering::Relaxed);
                stored
            }
            stored => stored,
        };
        (stored != u32::MAX).then(|| stored - 1)
    }
}

fn text_of(function: NonNull<c_void>) -> String {
    type Version = unsafe extern "C" fn() -> *const c_char;
    // SAFETY: ggml_version and ggml_commit have this signature.
    let function = unsafe { std::mem::transmute::<*mut c_void, Version>(function.as_ptr()) };
    // SAFETY: takes no arguments, returns a static string.
    text(unsafe { function() })
}
