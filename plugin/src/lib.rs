//! midlayer inside a llama.cpp that is already there.
//!
//! The same hook and the same manipulations as the library's, compiled for a host process: no
//! llama.cpp is linked, its functions are found in the process, and the layout of its tensors is
//! proved before one is touched. `docs/plugin.md` says how to use it.

mod abi;
mod api;
mod chain;
mod error;
mod functions;
mod ggml;
mod graph;
mod host;
mod layout;
mod objects;
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod preload;
mod requests;
mod running;
mod session;
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod sessions;
mod source;

// The library's own sources. Not all of them is used here.
#[allow(dead_code, unused_imports)]
#[path = "../../src/hook/mod.rs"]
mod hook;
#[allow(dead_code, unused_imports)]
#[path = "../../src/intervention/mod.rs"]
mod intervention;
#[allow(dead_code, unused_imports)]
#[path = "../../src/plan/mod.rs"]
mod plan;
