//! What happens where the program was built for another processor.

/// What the program says when it meets an instruction that the processor lacks.
pub(crate) const ILLEGAL: &str = "midlayer: this program was built for another processor and cannot run here; build it on this machine (make build)\n";

/// From now on an instruction that this processor does not have ends the program with a message
/// and exit code 1, instead of a bare signal. `make` builds for the processor at hand, and home
/// folders are shared between machines.
pub fn explain_illegal_instructions() {
    #[cfg(unix)]
    {
        // SAFETY: all zeros are a valid `sigaction`: no flags, no mask, the default action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_illegal_instruction as extern "C" fn(libc::c_int) as usize;
        // SAFETY: `action` is complete, and its handler does only what signal-safety(7) allows.
        unsafe { libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut()) };
    }
}

#[cfg(unix)]
extern "C" fn on_illegal_instruction(_: libc::c_int) {
    // SAFETY: write(2) is async-signal-safe, and the buffer is a constant of that length.
    unsafe { libc::write(libc::STDERR_FILENO, ILLEGAL.as_ptr().cast(), ILLEGAL.len()) };
    // SAFETY: _exit(2) is async-signal-safe and does not return.
    unsafe { libc::_exit(1) };
}
