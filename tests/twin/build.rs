//! Compiles llama.cpp's own Metal scheduling and its BLAS backend, as the registry delivered them,
//! around the twins.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The folder of ggml's sources in the pinned crate.
fn ggml() -> PathBuf {
    let output = Command::new(env::var_os("CARGO").unwrap())
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .expect("cargo metadata");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|p| p["name"] == "llama-cpp-sys-2");
    let manifest = package.expect("llama-cpp-sys-2")["manifest_path"].as_str();
    let folder = Path::new(manifest.unwrap()).parent().unwrap();
    folder.join("llama.cpp/ggml")
}

/// What Metal says it can compute is plain C in an Objective-C file: its two functions alone.
fn supported(source: &str) -> &str {
    let from = source
        .find("static bool ggml_metal_supports_mul_mat_op(")
        .expect("what matrix products Metal supports");
    let start = source[from..]
        .find("bool ggml_metal_device_supports_op(")
        .expect("what operations Metal supports");
    let end = source[from + start..].find("\n}\n").expect("its end");
    &source[from..from + start + end + 3]
}

fn main() {
    // Elsewhere there is a Metal, or no test for its twin.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let ggml = ggml();
    let metal = ggml.join("src/ggml-metal");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    let source = fs::read_to_string(metal.join("ggml-metal-device.m")).unwrap();
    fs::write(out.join("supported.inc"), supported(&source)).unwrap();

    let mut build = cc::Build::new();
    build.warnings(false).include(&out).include("src");
    for folder in [ggml.join("include"), ggml.join("src"), metal.clone()] {
        build.include(folder);
    }
    build
        .clone()
        .file("src/supported.c")
        .compile("twin_supported");
    build
        .clone()
        .cpp(true)
        .std("c++17")
        .define("GGML_BLAS_USE_OPENBLAS", None)
        .include(ggml.join("src/ggml-blas"))
        .file("src/blas.cpp")
        .compile("twin_blas");
    build
        .cpp(true)
        .std("c++17")
        .file(metal.join("ggml-metal-common.cpp"))
        .file("src/twin.cpp")
        .compile("twin");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src");
}
