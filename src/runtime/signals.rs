//! What the process was told to do about signals when it was started.

use std::mem::MaybeUninit;

/// Whether a signal is ignored, as `nohup` and shells have it for what is to outlive them. Such
/// a signal should stay ignored.
pub fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action sigaction changes nothing, and writes the present one to where
    // it is told, which has room for it.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    if asked != 0 {
        return false;
    }
    // SAFETY: sigaction has succeeded, so it has written all of it.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == libc::SIG_IGN
}
