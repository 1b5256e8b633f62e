//! ggml's BLAS backend, which on a Mac computes by Accelerate, over the OpenBLAS of this machine.
//!
//! It takes products of 32 rows and more out of graphs whose other nodes the CPU computes, so
//! that a graph is cut at each of them.

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

/// What the backend did so far in this process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Parts of graphs that it computed.
    pub parts: u64,
    /// Nodes in them that multiply matrices.
    pub products: u64,
    /// Rows of their results.
    pub rows: u64,
}

unsafe extern "C" {
    fn midlayer_twin_blas_register() -> *const c_char;
    fn midlayer_twin_blas_wanted(yes: bool);
    fn midlayer_twin_blas_counts(to: *mut Counts);
}

/// Makes the device one of this process; contexts have it only where [`wanted`] says so.
///
/// # Errors
/// What is missing, in the words of the loader of libraries.
pub fn register() -> Result<(), String> {
    static ONCE: OnceLock<Result<(), String>> = OnceLock::new();
    ONCE.get_or_init(|| {
        // SAFETY: takes nothing; the device it registers is a static.
        let missing = unsafe { midlayer_twin_blas_register() };
        if missing.is_null() {
            return Ok(());
        }
        // SAFETY: not null, and terminated; it is copied before the loader is called again.
        Err(unsafe { CStr::from_ptr(missing) }.to_string_lossy().into())
    })
    .clone()
}

/// Whether contexts made on this thread from now on have the device.
pub fn wanted(yes: bool) {
    // SAFETY: sets a variable of this thread.
    unsafe { midlayer_twin_blas_wanted(yes) };
}

/// What the backend did so far.
pub fn counts() -> Counts {
    let mut counts = Counts::default();
    // SAFETY: three numbers of this size in this order are written.
    unsafe { midlayer_twin_blas_counts(&mut counts) };
    counts
}
