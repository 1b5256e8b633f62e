//! What must be known at compile time: the revision that results are stored with.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

/// llama.cpp's backend for other machines, as the registry delivered it.
#[cfg(feature = "rpc")]
fn compile_rpc() {
    let cargo = std::env::var_os("CARGO").expect("cargo sets it");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .expect("cargo metadata");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let package = packages.find(|package| package["name"] == "llama-cpp-sys-2");
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let folder = std::path::Path::new(manifest.expect("a dependency")).parent();
    let ggml = folder.expect("a folder").join("llama.cpp/ggml");
    let rpc = ggml.join("src/ggml-rpc");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(ggml.join("include"))
        .include(ggml.join("src"))
        .file(rpc.join("ggml-rpc.cpp"))
        .file(rpc.join("transport.cpp"))
        .compile("ggml_rpc");
}

#[cfg(not(feature = "rpc"))]
fn compile_rpc() {}

fn main() {
    compile_rpc();
    let revision = match git(&["rev-parse", "--short=12", "HEAD"]) {
        None => "unknown".to_string(),
        Some(commit) => {
            let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
            let dirty = changed.is_none_or(|files| !files.is_empty());
            format!("{commit}{}", if dirty { "+changes" } else { "" })
        }
    };
    println!("cargo:rustc-env=MIDLAYER_REVISION={revision}");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=Cargo.lock");
    if let Some(head) = git(&["rev-parse", "--git-path", "HEAD"]) {
        println!("cargo:rerun-if-changed={head}");
    }
    if let Some(reference) = git(&["symbolic-ref", "-q", "HEAD"])
        && let Some(path) = git(&["rev-parse", "--git-path", &reference])
    {
        println!("cargo:rerun-if-changed={path}");
    }
}
