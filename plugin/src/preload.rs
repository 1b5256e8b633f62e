//! Preloaded (LD_PRELOAD, DYLD_INSERT_LIBRARIES) with MIDLAYER_PLAN set, midlayer stands between
//! llama.cpp and the function by which it registers an eval callback. Its signature has not changed since it
//! exists, and llama.cpp calls it for every graph that it builds.

use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::api::midlayer_eval_callback;
use crate::error::SessionError;
use crate::host::Host;
use crate::objects::{Object, loaded};
use crate::session::{Callback, Session, say};
use crate::source::Source;

type SetEvalCallback = unsafe extern "C" fn(*mut c_void, Option<Callback>, *mut c_void);

const NAME: &CStr = c"ggml_backend_sched_set_eval_callback";

/// The sessions by scheduler: each context has one of its own. `None` where none is to be.
static SESSIONS: Mutex<Option<HashMap<usize, Option<&'static Session>>>> = Mutex::new(None);

/// The host's function, by the object that called ours.
#[cfg(target_os = "linux")]
static REAL: Mutex<Vec<(usize, SetEvalCallback)>> = Mutex::new(Vec::new());

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
        let real = real(caller.as_ref());
        let session = session(sched, caller.as_ref());
        (real, session)
    }));
    let (real, session) = found.unwrap_or((None, None));
    let Some(real) = real else {
        say("the llama.cpp that called has no function ggml_backend_sched_set_eval_callback");
        return;
    };
    let ours = midlayer_eval_callback as Callback;
    let already = callback.is_some_and(|callback| std::ptr::fn_addr_eq(callback, ours));
    match session {
        Some(session) if !already => {
            session.chain(callback, user_data);
            let session = std::ptr::from_ref(session).cast_mut().cast();
            // SAFETY: the host's function with the caller's scheduler; sessions are never freed.
            unsafe { real(sched, Some(ours), session) };
        }
        // SAFETY: the host's function with the caller's arguments.
        _ => unsafe { real(sched, callback, user_data) },
    }
}

/// The object that the function above was called from.
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
        if base(address) == base(NAME.as_ptr().cast()) {
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
fn real(_: Option<&Object>) -> Option<SetEvalCallback> {
    unsafe extern "C" {
        /// Of interpose.c.
        fn midlayer_replaced() -> Option<SetEvalCallback>;
    }
    // SAFETY: takes nothing and gives the address of a function, or null.
    unsafe { midlayer_replaced() }
}

/// The host's own function: the one that the caller would have reached, or else the only one.
#[cfg(target_os = "linux")]
fn real(caller: Option<&Object>) -> Option<SetEvalCallback> {
    let ours = ggml_backend_sched_set_eval_callback as SetEvalCallback as usize;
    let find = |object: &Object| {
        let address = object.find(NAME)?.as_ptr();
        (address as usize != ours).then_some(address)
    };
    let mut known = REAL.lock().unwrap_or_else(PoisonError::into_inner);
    let address = caller
        .and_then(find)
        .or_else(|| loaded().iter().find_map(find))?;
    if let Some((_, real)) = known.iter().find(|(at, _)| *at == address as usize) {
        return Some(*real);
    }
    // SAFETY: a function of this name has this signature.
    let real = unsafe { std::mem::transmute::<*mut c_void, SetEvalCallback>(address) };
    known.push((address as usize, real));
    Some(real)
}

/// The session of a scheduler, made when it is first seen.
fn session(sched: *mut c_void, caller: Option<&Object>) -> Option<&'static Session> {
    let plan = std::env::var_os("MIDLAYER_PLAN");
    let verdict = std::env::var_os("MIDLAYER_CHECK");
    if plan.is_none() && verdict.is_none() {
        return None;
    }
    let host = match caller.map(Host::seen_from) {
        Some(Ok(host)) => Ok(host),
        // The caller is not the one who knows: look everywhere.
        _ => Host::in_process(),
    };
    if let Some(file) = verdict {
        tell(Path::new(&file), &host);
    }
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let sessions = sessions.get_or_insert_default();
    if let Some(session) = sessions.get(&(sched as usize)) {
        return *session;
    }
    let plan = plan?;
    let opened: Result<Session, SessionError> = host.map_err(SessionError::from).and_then(|host| {
        let source = Source::watched(Path::new(&plan))?;
        Ok(Session::new(host, source))
    });
    let session = match opened {
        Ok(session) => Some(&*Box::leak(Box::new(session))),
        Err(error) => {
            say(&format!("{error}; the model is left alone"));
            None
        }
    };
    sessions.insert(sched as usize, session);
    session
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
