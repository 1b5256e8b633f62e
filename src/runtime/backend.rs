//! The llama.cpp library as a whole: start, version, devices, log.

use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_sys_2 as sys;

use super::RuntimeError;

static VERBOSE: AtomicBool = AtomicBool::new(false);
static RECENT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
/// Bytes of buffers, from the log since it was last forgotten.
static BUFFERS: AtomicU64 = AtomicU64::new(0);
/// Tensors quantized and tensors in all, from the log.
static QUANTIZED: Mutex<(u32, u32)> = Mutex::new((0, 0));
const KEPT_LINES: usize = 40;

/// Whether llama.cpp's own log goes to stderr.
pub fn set_verbose(on: bool) {
    VERBOSE.store(on, Ordering::Relaxed);
}

unsafe extern "C" fn log(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: ggml passes a NUL-terminated line that lives for the call (ggml_log_callback).
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    if VERBOSE.load(Ordering::Relaxed) {
        eprint!("{text}");
    }
    if let Some(mebibytes) = buffer_size(&text) {
        let bytes = (mebibytes * f64::from(1 << 20)) as u64;
        BUFFERS.fetch_add(bytes, Ordering::Relaxed);
    }
    if let Some(progress) = tensor_number(&text) {
        *QUANTIZED.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
    if level == sys::GGML_LOG_LEVEL_ERROR || level == sys::GGML_LOG_LEVEL_WARN {
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == KEPT_LINES {
            recent.pop_front();
        }
        recent.push_back(text.trim().to_string());
    }
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

/// Bytes of the buffers that llama.cpp has reported since the log was last forgotten.
pub(super) fn reported_buffers() -> u64 {
    BUFFERS.load(Ordering::Relaxed)
}

/// Forgets earlier log lines, so that [`reason`] speaks of what follows.
pub(super) fn forget_log() {
    BUFFERS.store(0, Ordering::Relaxed);
    *QUANTIZED.lock().unwrap_or_else(PoisonError::into_inner) = (0, 0);
    RECENT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
}

/// The most telling recent line of llama.cpp's log: the first error, without its function name.
/// It may quote a file, so what would not be seen or would break the line is left out.
pub(super) fn reason() -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    telling().chars().map(plain).take(300).collect()
}

fn telling() -> String {
    let recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
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

/// The one backend of the process, started on first use.
pub(super) fn backend() -> Result<&'static LlamaBackend, RuntimeError> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    BACKEND
        .get_or_init(|| {
            // SAFETY: `log` is a plain function that never unwinds and needs no user data.
            unsafe { sys::llama_log_set(Some(log), std::ptr::null_mut()) };
            load_modules();
            LlamaBackend::init().map_err(|e| e.to_string())
        })
        .as_ref()
        .map_err(|e| RuntimeError::Backend(e.clone()))
}

/// Loads the backends that are modules: those beside the program, or else those of the build.
fn load_modules() {
    #[cfg(feature = "dynamic-backends")]
    {
        let is_module = |name: &std::ffi::OsStr| {
            let name = name.to_string_lossy();
            name.starts_with("libggml-cpu-") || name.starts_with("ggml-cpu-")
        };
        let beside = std::env::current_exe().ok().and_then(|exe| {
            let folder = exe.parent()?.to_path_buf();
            let mut files = folder.read_dir().ok()?.flatten();
            files
                .any(|file| is_module(&file.file_name()))
                .then_some(folder)
        });
        match beside {
            Some(folder) => llama_cpp_2::llama_backend::load_backends_from_path(&folder),
            None => llama_cpp_2::llama_backend::load_backends(),
        }
    }
}

/// llama.cpp's version, with ggml's.
pub fn llama_cpp_version() -> String {
    // SAFETY: both return static strings.
    let version = unsafe { sys::llama_version() };
    // SAFETY: as above.
    let ggml = unsafe { sys::ggml_version() };
    format!("{} (ggml {})", text(version), text(ggml))
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: callers pass NUL-terminated strings that live for the program.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

/// A device that the compiled-in backends found.
#[derive(Clone, Debug)]
pub struct Device {
    /// Short name, as `CUDA0`.
    pub name: String,
    /// What the driver calls it.
    pub description: String,
    /// The backend it belongs to.
    pub backend: String,
    /// Total memory in bytes, as far as the driver tells.
    pub memory: usize,
}

/// The devices found.
///
/// # Errors
/// [`RuntimeError::Backend`] when llama.cpp could not start.
pub fn devices() -> Result<Vec<Device>, RuntimeError> {
    backend()?;
    Ok(llama_cpp_2::list_llama_ggml_backend_devices()
        .into_iter()
        .map(|d| Device {
            name: d.name,
            description: d.description,
            backend: d.backend,
            memory: d.memory_total,
        })
        .collect())
}

/// The instruction sets that the compiled CPU kernels use, as ggml names them.
///
/// # Errors
/// [`RuntimeError::Backend`] when llama.cpp could not start.
pub fn cpu_features() -> Result<Vec<String>, RuntimeError> {
    backend()?;
    // SAFETY: returns a string in static storage, rewritten only by another call of the same.
    let info = text(unsafe { sys::llama_print_system_info() });
    Ok(features_of("CPU", &info))
}

/// What is on in a back end's part of `CUDA : ARCHS = 900 | CPU : SSE3 = 1 | AVX = 0 | `.
fn features_of(backend: &str, info: &str) -> Vec<String> {
    let mut here = false;
    let mut features = Vec::new();
    for part in info.split('|') {
        let part = part.split_once(" : ").map_or(part, |(name, rest)| {
            here = name.trim() == backend;
            rest
        });
        if let Some((name, value)) = part.split_once(" = ")
            && here
            && value.trim() != "0"
        {
            features.push(name.trim().to_string());
        }
    }
    features
}

#[cfg(test)]
mod tests {
    use super::{buffer_size, features_of, tensor_number};

    #[test]
    fn a_processor_s_features_are_told_from_a_graphics_device_s() {
        let info = "CUDA : ARCHS = 900 | USE_GRAPHS = 1 | CPU : SSE3 = 1 | AVX = 0 | REPACK = 1 | ";
        assert_eq!(features_of("CPU", info), ["SSE3", "REPACK"]);
        assert_eq!(features_of("CUDA", info), ["ARCHS", "USE_GRAPHS"]);
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
