//! The llama.cpp library as a whole: start, version, devices.

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

use llama_cpp_2::LlamaBackendDeviceType;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_sys_2 as sys;

use super::RuntimeError;
use super::log::log;

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
        let beside = crate::own::file().ok().and_then(|exe| {
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
    /// Whether it is the processor, or a library that computes on it.
    pub is_processor: bool,
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
            is_processor: matches!(
                d.device_type,
                LlamaBackendDeviceType::Cpu | LlamaBackendDeviceType::Accelerator
            ),
            memory: d.memory_total,
        })
        .collect())
}

/// The devices that a model's layers may be put on, as their numbers in [`devices`]: those with
/// these names (`none` alone: not any), or all that are not the processor.
///
/// # Errors
/// [`RuntimeError::NoDevice`] for a name that no device has.
pub fn chosen(names: Option<&[String]>) -> Result<Vec<usize>, RuntimeError> {
    let all = devices()?;
    let apart = |n: &usize| !all[*n].is_processor;
    let Some(names) = names else {
        return Ok((0..all.len()).filter(apart).collect());
    };
    if names == [NO_DEVICE] {
        return Ok(Vec::new());
    }
    let numbers = names.iter().map(|name| {
        let mut numbers = (0..all.len()).filter(apart);
        numbers
            .find(|n| all[*n].name == *name)
            .ok_or_else(|| RuntimeError::NoDevice {
                name: name.clone(),
                there: (0..all.len())
                    .filter(apart)
                    .map(|n| all[n].name.clone())
                    .chain([NO_DEVICE.to_string()])
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    });
    numbers.collect()
}

/// The name that stands for no device but the processor.
const NO_DEVICE: &str = "none";

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
    use super::features_of;

    #[test]
    fn a_processor_s_features_are_told_from_a_graphics_device_s() {
        let info = "CUDA : ARCHS = 900 | USE_GRAPHS = 1 | CPU : SSE3 = 1 | AVX = 0 | REPACK = 1 | ";
        assert_eq!(features_of("CPU", info), ["SSE3", "REPACK"]);
        assert_eq!(features_of("CUDA", info), ["ARCHS", "USE_GRAPHS"]);
    }
}
