//! The C interface. `include/midlayer.h` is made from this file (`tests/header.rs`).

use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr::{null, null_mut};

use crate::ggml::ggml_tensor;
use crate::host::Host;
use crate::session::{Callback, Session};
use crate::source::Source;

/// A plan for one llama_context. It must outlive the context.
#[allow(non_camel_case_types)]
pub struct midlayer_session(Session);

thread_local! {
    /// The last error of a call without a session.
    static ERROR: RefCell<Option<CString>> = const { RefCell::new(None) };
}

fn fail(error: impl ToString) {
    let text = error.to_string().replace('\0', " ");
    ERROR.set(CString::new(text).ok());
}

/// Runs `f`; a panic becomes an error and `otherwise`.
fn guarded<R>(otherwise: R, f: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| {
        fail("midlayer failed");
        otherwise
    })
}

/// # Safety
/// `text` is null or a NUL-terminated string that outlives the result.
unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        fail("a string is NULL");
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// # Safety
/// As [`bytes`].
unsafe fn string<'a>(text: *const c_char) -> Option<&'a str> {
    // SAFETY: the caller's promise.
    let text = unsafe { bytes(text) }?;
    std::str::from_utf8(text)
        .map_err(|_| fail("a string is not UTF-8"))
        .ok()
}

/// # Safety
/// `session` is null or comes from `midlayer_open`, and is not closed while the result is used.
unsafe fn session<'a>(session: *const midlayer_session) -> Option<&'a Session> {
    // SAFETY: the caller's promise.
    unsafe { session.as_ref() }.map(|session| &session.0)
}

fn open(source: Result<Source, crate::source::SourceError>) -> *mut midlayer_session {
    let source = match source {
        Ok(source) => source,
        Err(error) => {
            fail(error);
            return null_mut();
        }
    };
    match Host::in_process() {
        Ok(host) => Box::into_raw(Box::new(midlayer_session(Session::new(host, source)))),
        Err(error) => {
            fail(error);
            null_mut()
        }
    }
}

/// This library's version, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn midlayer_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Whether the llama.cpp in this process can be used: one is found, and its tensors are laid out
/// as expected. midlayer_last_error(NULL) says why not.
#[unsafe(no_mangle)]
pub extern "C" fn midlayer_check() -> bool {
    guarded(false, || Host::in_process().map_err(fail).is_ok())
}

/// Opens a session for a plan (JSON, as `midlayer try --save-plan` writes it). llama.cpp must be
/// loaded. NULL on failure, and midlayer_last_error(NULL) says why.
///
/// # Safety
/// `plan` is a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midlayer_open(plan: *const c_char) -> *mut midlayer_session {
    guarded(null_mut(), || {
        // SAFETY: the caller's promise.
        match unsafe { string(plan) } {
            Some(json) => open(Source::fixed(json)),
            None => null_mut(),
        }
    })
}

/// Opens a session for the plan in a file. When the file changes, the next text is under the new
/// plan.
///
/// # Safety
/// `path` is a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midlayer_open_file(path: *const c_char) -> *mut midlayer_session {
    guarded(null_mut(), || {
        // SAFETY: the caller's promise.
        match unsafe { bytes(path) } {
            Some(path) => open(Source::watched(Path::new(OsStr::from_bytes(path)))),
            None => null_mut(),
        }
    })
}

/// The callback: llama_context_params.cb_eval, with the session as cb_eval_user_data. One
/// session serves one context.
///
/// # Safety
/// Called by ggml, with a session that is open (or NULL).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midlayer_eval_callback(
    tensor: *mut ggml_tensor,
    ask: bool,
    session: *mut c_void,
) -> bool {
    // SAFETY: the caller's promise.
    let Some(session) = (unsafe { self::session(session.cast()) }) else {
        return !ask;
    };
    // SAFETY: ggml passes a live node.
    guarded(!ask, || unsafe { session.call(tensor, ask) })
}

/// A callback of the host's own, called for the same nodes after midlayer. NULL for none.
///
/// # Safety
/// `session` is open or NULL; `callback` may be called with `user_data` until it is replaced.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midlayer_chain(
    session: *mut midlayer_session,
    callback: Option<
        unsafe extern "C" fn(tensor: *mut ggml_tensor, ask: bool, user_data: *mut c_void) -> bool,
    >,
    user_data: *mut c_void,
) {
    // SAFETY: the caller's promise.
    if let Some(session) = unsafe { self::session(session) } {
        session.chain(callback as Option<Callback>, user_data);
    }
}

/// Rows rewritten so far: one for each token and layer.
///
/// # Safety
/// `session` is open or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midlayer_hits(session: *const midlayer_session) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { self::session(session) }.map_or(0, |session| session.counts().0)
}

/// Texts that have begun so far. Warm-ups are not counted.
///
/// # Safety
/// `session` is open or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midlayer_texts(session: *const midlayer_session) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { self::session(session) }.map_or(0, |session| session.counts().1)
}

/// Of these, texts that the plan's `requests` chose.
///
/// # Safety
/// `session` is open or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midlayer_texts_chosen(session: *const midlayer_session) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { self::session(session) }.map_or(0, |session| session.counts().2)
}

/// Writes the states that the plan's `capture` kept of the latest text to a safetensors file:
/// layer.N with a row for each of positions.N.
///
/// # Safety
/// `session` is open or NULL; `path` is a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midlayer_save_states(
    session: *mut midlayer_session,
    path: *const c_char,
) -> bool {
    guarded(false, || {
        // SAFETY: the caller's promise.
        let session = unsafe { self::session(session) };
        // SAFETY: the caller's promise.
        let path = unsafe { bytes(path) };
        match (session, path) {
            (Some(session), Some(path)) => session.save(Path::new(OsStr::from_bytes(path))).is_ok(),
            _ => false,
        }
    })
}

/// The last error of a session, or of this thread's calls without one (NULL). NULL if there was
/// none. A session's text is valid until the session is closed, whatever other threads do; a
/// text without one until the next failure of a call without one on this thread.
///
/// # Safety
/// `session` is open or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midlayer_last_error(session: *const midlayer_session) -> *const c_char {
    // SAFETY: the caller's promise.
    match unsafe { self::session(session) } {
        Some(session) => session.error().unwrap_or(null()),
        None => ERROR.with_borrow(|error| error.as_ref().map_or(null(), |error| error.as_ptr())),
    }
}

/// Copies the last error, as midlayer_last_error gives it, into `buffer`: what fits into `size`
/// bytes, the closing NUL included. Returns the length of the whole text without the NUL, 0 if
/// there was no error; a result of `size` or more says that the text was cut.
///
/// # Safety
/// `session` is open or NULL; `buffer` has room for `size` bytes, or is NULL and `size` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midlayer_copy_error(
    session: *const midlayer_session,
    buffer: *mut c_char,
    size: usize,
) -> usize {
    // SAFETY: the caller's promise.
    let error = match unsafe { self::session(session) } {
        Some(session) => session.error_text(),
        None => ERROR.with_borrow(Clone::clone),
    };
    let text = error.unwrap_or_default();
    let bytes = text.to_bytes();
    if size > 0 && !buffer.is_null() {
        let fits = bytes.len().min(size - 1);
        // SAFETY: the caller's promise; `fits` is less than `size`, and the text is not the buffer.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), buffer, fits) };
        // SAFETY: within `size`.
        let end = unsafe { buffer.add(fits) };
        // SAFETY: within `size`.
        unsafe { end.write(0) };
    }
    bytes.len()
}

/// Closes a session, after its context has been freed.
///
/// # Safety
/// `session` comes from `midlayer_open` and was not closed, or is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midlayer_close(session: *mut midlayer_session) {
    if !session.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(session) });
    }
}
