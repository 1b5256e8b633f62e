//! macOS alone: the table by which dyld puts one function in another's place (interpose.c).

fn main() {
    println!("cargo:rerun-if-changed=src/interpose.c");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("macos") {
        cc::Build::new()
            .file("src/interpose.c")
            .warnings_into_errors(true)
            .compile("interpose");
        // They may be missing: then the entries are null.
        for name in ["sched_set_eval_callback", "sched_free", "free"] {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-U,_ggml_backend_{name}");
        }
    }
}
