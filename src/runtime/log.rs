//! llama.cpp's log: what it says to the user, and what is learnt from it.
//!
//! llama.cpp has one log for the process. What a call logs is kept for the thread that makes it,
//! so that two contexts on two threads do not take each other's reasons.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_void};
use std::io::Write;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use llama_cpp_sys_2 as sys;

static VERBOSE: AtomicBool = AtomicBool::new(false);
/// Tensors quantized and tensors in all, from the log: asked for by other threads.
static QUANTIZED: Mutex<(u32, u32)> = Mutex::new((0, 0));
const KEPT_LINES: usize = 40;

/// What this thread's calls have logged since [`forget_log`].
#[derive(Default)]
struct Kept {
    /// Errors and warnings, the latest last.
    recent: VecDeque<String>,
    /// Bytes of buffers.
    buffers: u64,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Whether llama.cpp's own log goes to stderr.
pub fn set_verbose(on: bool) {
    VERBOSE.store(on, Ordering::Relaxed);
}

/// Takes a line of the log. Never unwinds, whatever becomes of stderr.
pub(super) unsafe extern "C" fn log(
    level: sys::ggml_log_level,
    text: *const c_char,
    _: *mut c_void,
) {
    if text.is_null() {
        return;
    }
    // SAFETY: ggml passes a NUL-terminated line that lives for the call (ggml_log_callback).
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    // A panic must not leave a function that C++ calls. There is nobody to tell.
    let _ = catch_unwind(|| keep(level, &text));
}

fn keep(level: sys::ggml_log_level, text: &str) {
    if VERBOSE.load(Ordering::Relaxed) {
        // A closed stderr is no reason to stop (`eprint!` would panic).
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    if let Some(progress) = tensor_number(text) {
        *QUANTIZED.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
    // A thread that is ending keeps nothing any more.
    let _ = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if let Some(mebibytes) = buffer_size(text) {
            kept.buffers += (mebibytes * f64::from(1 << 20)) as u64;
        }
        if level == sys::GGML_LOG_LEVEL_ERROR || level == sys::GGML_LOG_LEVEL_WARN {
            if kept.recent.len() == KEPT_LINES {
                kept.recent.pop_front();
            }
            kept.recent.push_back(text.trim().to_string());
        }
    });
}

/// The size in `...: CPU compute buffer size = 104.77 MiB`.
fn buffer_size(line: &str) -> Option<f64> {
    let (_, size) = line.split_once("buffer size =")?;
    size.trim().strip_suffix("MiB")?.trim().parse().ok()
}

/// The numbers in `[  12/ 272] blk.1.attn_k.weight - ...`, which the quantizer logs.
fn tensor_number(line: &str) -> Option<(u32, u32)> {
    let (numbers, _) = line.strip_prefix('[')?.split_once(']')?;
    let (done, total) = numbers.split_once('/')?;
    Some((done.trim().parse().ok()?, total.trim().parse().ok()?))
}

/// Tensors that the running [`quantize`](super::quantize()) has come to, and tensors in all;
/// zero before the first. To be asked from another thread.
pub fn quantize_progress() -> (u32, u32) {
    *QUANTIZED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Before the first tensor of a quantization.
pub(super) fn forget_progress() {
    *QUANTIZED.lock().unwrap_or_else(PoisonError::into_inner) = (0, 0);
}

/// Bytes of the buffers that llama.cpp has reported to this thread since [`forget_log`].
pub(super) fn reported_buffers() -> u64 {
    KEPT.with_borrow(|kept| kept.buffers)
}

/// Forgets this thread's earlier lines, so that [`reason`] speaks of what follows.
pub(super) fn forget_log() {
    KEPT.take();
}

/// The most telling recent line of this thread's log: the first error, without its function name.
/// It may quote a file, so what would not be seen or would break the line is left out.
pub(super) fn reason() -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    telling().chars().map(plain).take(300).collect()
}

fn telling() -> String {
    let recent = KEPT.with_borrow(|kept| kept.recent.clone());
    let line = recent
        .iter()
        .find(|line| line.contains("error") || line.contains("failed") || line.contains("invalid"))
        .or(recent.back());
    match line {
        None => "llama.cpp gave no reason".to_string(),
        Some(line) => match line.split_once(": ") {
            Some((function, rest)) if !function.contains(' ') => rest.to_string(),
            _ => line.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(text: &str) {
        let text = std::ffi::CString::new(text).unwrap();
        // SAFETY: a NUL-terminated line that lives for the call.
        unsafe {
            log(
                sys::GGML_LOG_LEVEL_ERROR,
                text.as_ptr(),
                std::ptr::null_mut(),
            )
        };
    }

    #[test]
    fn what_one_thread_logs_is_no_reason_of_another() {
        forget_log();
        logged("llama_decode: failed here\n");
        logged("sched_reserve: CPU compute buffer size = 1.00 MiB\n");
        let there = std::thread::spawn(|| {
            assert_eq!(reason(), "llama.cpp gave no reason");
            logged("llama_decode: failed there\n");
            let buffers = reported_buffers();
            let reason = reason();
            forget_log();
            (reason, buffers)
        });
        assert_eq!(there.join().unwrap(), ("failed there".to_string(), 0));
        assert_eq!(reason(), "failed here");
        assert_eq!(reported_buffers(), 1 << 20);
        forget_log();
        assert_eq!(reason(), "llama.cpp gave no reason");
        assert_eq!(reported_buffers(), 0);
    }

    #[test]
    fn the_number_of_a_tensor_is_read_from_the_log() {
        let line = "[   7/ 272]  blk.0.attn_q.weight - [576, 576, 1, 1], type = q4_1, ";
        assert_eq!(tensor_number(line), Some((7, 272)));
        assert_eq!(tensor_number("[576, 576, 1, 1]"), None);
    }

    #[test]
    fn buffer_sizes_are_read_from_the_log() {
        let line = "sched_reserve:        CPU compute buffer size =   104.77 MiB\n";
        assert_eq!(buffer_size(line), Some(104.77));
        let end = "~llama_context:        CPU compute buffer size is 104.7695 MiB, matches";
        assert_eq!(buffer_size(end), None);
    }
}
