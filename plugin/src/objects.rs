//! The shared objects of this process, and the functions in them.
//!
//! Node and ctypes load llama.cpp privately, so a plain look-up by name finds nothing: each
//! loaded object is opened again (which loads nothing) and asked.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{NonNull, null};

/// An object of this process, with what it depends on.
pub struct Object {
    handle: NonNull<c_void>,
    /// Its file; empty for the program itself.
    pub path: String,
}

impl Object {
    /// The loaded object of this file, the program itself for none.
    pub fn open(path: &CStr) -> Option<Self> {
        let file = if path.is_empty() {
            null()
        } else {
            path.as_ptr()
        };
        // SAFETY: NUL-terminated or null; RTLD_NOLOAD runs no code of the object.
        let handle = unsafe { libc::dlopen(file, libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        // The reference that this adds is kept: functions found are used until the process ends.
        Some(Self {
            handle: NonNull::new(handle)?,
            path: path.to_string_lossy().into_owned(),
        })
    }

    /// The object whose code or data `address` lies in.
    pub fn of(address: *const c_void) -> Option<Self> {
        let mut info = libc::Dl_info {
            dli_fname: null(),
            dli_fbase: std::ptr::null_mut(),
            dli_sname: null(),
            dli_saddr: std::ptr::null_mut(),
        };
        // SAFETY: dladdr takes any address and fills the structure.
        let found = unsafe { libc::dladdr(address, &raw mut info) };
        if found == 0 || info.dli_fname.is_null() {
            return None;
        }
        // SAFETY: dladdr's name is NUL-terminated and lives as long as the object.
        let path = unsafe { CStr::from_ptr(info.dli_fname) };
        // The program's own name is not that of a loaded object.
        Self::open(path).or_else(|| Self::open(c""))
    }

    /// The address of a function in it or in what it depends on.
    pub fn find(&self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: the handle is open, the name NUL-terminated.
        NonNull::new(unsafe { libc::dlsym(self.handle.as_ptr(), name.as_ptr()) })
    }
}

/// All objects of the process, the program first.
#[cfg(target_os = "linux")]
pub fn loaded() -> Vec<Object> {
    unsafe extern "C" fn note(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        names: *mut c_void,
    ) -> c_int {
        // SAFETY: dl_iterate_phdr passes a live structure.
        let name: *const c_char = unsafe { (*info).dlpi_name };
        // SAFETY: `names` is the pointer given below, borrowed by nothing else meanwhile.
        let names = unsafe { &mut *names.cast::<Vec<CString>>() };
        if !name.is_null() {
            // SAFETY: the loader's names are NUL-terminated.
            names.push(unsafe { CStr::from_ptr(name) }.to_owned());
        }
        0
    }
    let mut names: Vec<CString> = Vec::new();
    // SAFETY: `note` has the signature that is asked for, and `names` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut names).cast()) };
    names.iter().filter_map(|name| Object::open(name)).collect()
}

/// All objects of the process, the program first.
#[cfg(target_os = "macos")]
pub fn loaded() -> Vec<Object> {
    // SAFETY: takes no arguments.
    let n = unsafe { libc::_dyld_image_count() };
    let names = (0..n).filter_map(|index| {
        // SAFETY: an index that has gone out of range gives null.
        let name = unsafe { libc::_dyld_get_image_name(index) };
        // SAFETY: not null, NUL-terminated, alive while the image is.
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_owned())
    });
    let names: Vec<CString> = names.collect();
    names.iter().filter_map(|name| Object::open(name)).collect()
}
