//! Preloaded (LD_PRELOAD, DYLD_INSERT_LIBRARIES) with MIDLAYER_PLAN set, midlayer stands between
//! llama.cpp and the function by which it registers an eval callback. Its signature has not changed since it
//! exists, and llama.cpp calls it for every graph that it builds.
//!
//! It also stands before the functions that free schedulers and backends, which is how the end of
//! a context is seen (`sessions.rs`).

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use crate::api::midlayer_eval_callback;
use crate::error::SessionError;
use crate::host::Host;
use crate::objects::Object;
#[cfg(target_os = "linux")]
use crate::objects::loaded;
use crate::session::{Callback, Session, say};
use crate::sessions;
use crate::source::Source;

type SetEvalCallback = unsafe extern "C" fn(*mut c_void, Option<Callback>, *mut c_void);
type Free = unsafe extern "C" fn(*mut c_void);

/// A function of the host's that one here stands before. The numbers are those of interpose.c.
#[derive(Clone, Copy)]
enum Replaced {
    SetEvalCallback = 0,
    FreeScheduler = 1,
    FreeBackend = 2,
}

impl Replaced {
    fn name(self) -> &'static CStr {
        match self {
            Replaced::SetEvalCallback => c"ggml_backend_sched_set_eval_callback",
            Replaced::FreeScheduler => c"ggml_backend_sched_free",
            Replaced::FreeBackend => c"ggml_backend_free",
        }
    }

    #[cfg(target_os = "linux")]
    fn ours(self) -> usize {
        match self {
            Replaced::SetEvalCallback => {
                ggml_backend_sched_set_eval_callback as SetEvalCallback as usize
            }
            Replaced::FreeScheduler => ggml_backend_sched_free as Free as usize,
            Replaced::FreeBackend => ggml_backend_free as Free as usize,
        }
    }
}

/// Registers an eval callback: the host's own, wrapped in ours.
///
/// # Safety
/// As in ggml-backend.h: `sched` is a live scheduler.
#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
// There two functions of one name cannot be told apart: interpose.c names this one.
#[cfg_attr(
    target_os = "macos",
    unsafe(export_name = "midlayer_set_eval_callback")
)]
pub unsafe extern "C" fn ggml_backend_sched_set_eval_callback(
    sched: *mut c_void,
    callback: Option<Callback>,
    user_data: *mut c_void,
) {
    let found = catch_unwind(AssertUnwindSafe(|| {
        let caller = caller();
        let real = real(Replaced::SetEvalCallback, caller.as_ref());
        (real, session(sched, caller.as_ref()))
    }));
    let (real, session) = found.unwrap_or((None, None));
    let Some(real) = real else {
        say("the llama.cpp that called has no function ggml_backend_sched_set_eval_callback");
        return;
    };
    // SAFETY: a function of this name has this signature.
    let real = unsafe { std::mem::transmute::<*mut c_void, SetEvalCallback>(real) };
    let ours = midlayer_eval_callback as Callback;
    let already = callback.is_some_and(|callback| std::ptr::fn_addr_eq(callback, ours));
    match session {
        Some(session) if !already => {
            session.chain(callback, user_data);
            let session = Arc::as_ptr(&session).cast_mut().cast();
            // SAFETY: the host's function with the caller's scheduler; a session lives until its
            // scheduler is freed.
            unsafe { real(sched, Some(ours), session) };
        }
        // SAFETY: the host's function with the caller's arguments.
        _ => unsafe { real(sched, callback, user_data) },
    }
}

/// Frees a scheduler.
///
/// # Safety
/// As in ggml-backend.h.
#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
#[cfg_attr(target_os = "macos", unsafe(export_name = "midlayer_free_scheduler"))]
pub unsafe extern "C" fn ggml_backend_sched_free(sched: *mut c_void) {
    // SAFETY: the caller's promise; the session goes once nothing calls it any more.
    unsafe { pass_on(Replaced::FreeScheduler, sched) };
    let _ = catch_unwind(|| sessions::scheduler_freed(sched as usize));
}

/// Frees a backend.
///
/// # Safety
/// As in ggml-backend.h.
#[cfg_attr(target_os = "linux", unsafe(no_mangle))]
#[cfg_attr(target_os = "macos", unsafe(export_name = "midlayer_free_backend"))]
pub unsafe extern "C" fn ggml_backend_free(backend: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { pass_on(Replaced::FreeBackend, backend) };
    let _ = catch_unwind(sessions::backend_freed);
}

/// Calls the host's function with what ours was called with.
///
/// # Safety
/// `what` may be freed by it.
unsafe fn pass_on(function: Replaced, what: *mut c_void) {
    let found = catch_unwind(|| real(function, caller().as_ref()));
    match found.ok().flatten() {
        Some(real) => {
            // SAFETY: a function of this name has this signature.
            let real = unsafe { std::mem::transmute::<*mut c_void, Free>(real) };
            // SAFETY: the caller's promise.
            unsafe { real(what) };
        }
        None => say(&format!(
            "the llama.cpp that called has no function {}",
            function.name().to_string_lossy()
        )),
    }
}

/// Something of this library's.
static HERE: [u8; 1] = [0];

/// The object that a function above was called from.
fn caller() -> Option<Object> {
    unsafe extern "C" {
        fn _Unwind_Backtrace(
            each: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
            data: *mut c_void,
        ) -> c_int;
        fn _Unwind_GetIP(context: *mut c_void) -> usize;
    }
    fn base(address: *const c_void) -> usize {
        // SAFETY: all zeros is a valid value of a structure of pointers.
        let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
        // SAFETY: dladdr takes any address.
        unsafe { libc::dladdr(address, &raw mut info) };
        info.dli_fbase as usize
    }
    /// Stops at the first frame outside of this library.
    unsafe extern "C" fn each(context: *mut c_void, found: *mut c_void) -> c_int {
        // SAFETY: the unwinder's own context.
        let address = unsafe { _Unwind_GetIP(context) } as *const c_void;
        if base(address) == base(HERE.as_ptr().cast()) {
            return 0;
        }
        // SAFETY: the variable below, which nothing else borrows meanwhile.
        unsafe { found.cast::<*const c_void>().write(address) };
        // Any other value than 0 ends the walk.
        4
    }
    let mut found: *const c_void = std::ptr::null();
    // SAFETY: `each` has the signature asked for, and `found` outlives the walk.
    unsafe { _Unwind_Backtrace(each, (&raw mut found).cast()) };
    Object::of(found)
}

/// The host's own function. There is one only: that of the libraries that the program begins with.
#[cfg(target_os = "macos")]
fn real(function: Replaced, _: Option<&Object>) -> Option<*mut c_void> {
    unsafe extern "C" {
        /// Of interpose.c.
        fn midlayer_replaced(which: c_int) -> *mut c_void;
    }
    // SAFETY: takes a number and gives the address of a function, or null.
    let found = unsafe { midlayer_replaced(function as c_int) };
    (!found.is_null()).then_some(found)
}

/// The host's own function: the one that the caller would have reached, or else the only one.
#[cfg(target_os = "linux")]
fn real(function: Replaced, caller: Option<&Object>) -> Option<*mut c_void> {
    let find = |object: &Object| {
        let address = object.find(function.name())?.as_ptr();
        (address as usize != function.ours()).then_some(address)
    };
    caller
        .and_then(find)
        .or_else(|| loaded().iter().find_map(find))
}

/// The session of a scheduler, made when it is first seen.
fn session(sched: *mut c_void, caller: Option<&Object>) -> Option<Arc<Session>> {
    let plan = std::env::var_os("MIDLAYER_PLAN");
    let verdict = std::env::var_os("MIDLAYER_CHECK");
    if plan.is_none() && verdict.is_none() {
        return None;
    }
    let host = || match caller.map(Host::seen_from) {
        Some(Ok(host)) => Ok(host),
        // The caller is not the one who knows: look everywhere.
        _ => Host::in_process(),
    };
    if let Some(file) = verdict {
        tell(Path::new(&file), &host());
    }
    let plan = plan?;
    sessions::of(sched as usize, || {
        let opened: Result<Session, SessionError> =
            host().map_err(SessionError::from).and_then(|host| {
                let source = Source::watched(Path::new(&plan))?;
                Ok(Session::new(host, source))
            });
        opened
            .inspect_err(|error| say(&format!("{error}; the model is left alone")))
            .ok()
    })
}

/// `midlayer attach --check`: says what was found, and that is all that the program was run for.
fn tell(file: &Path, host: &Result<&'static Host, crate::host::HostError>) {
    let text = match host {
        Ok(host) => format!("ok {} in {}\n", host.version, host.path),
        Err(error) => format!("no {error}\n"),
    };
    let part = file.with_extension("part");
    let _ = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, file));
}
