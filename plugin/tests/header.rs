//! `include/midlayer.h` is what cbindgen makes of `src/api.rs`. `MIDLAYER_WRITE_HEADER=1` writes it.

use std::path::Path;

const HEAD: &str = "\
/* midlayer inside a llama.cpp that is already there. Made from plugin/src/api.rs; see
   docs/plugin.md. */";

#[test]
fn the_header_is_that_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        style: cbindgen::Style::Both,
        cpp_compat: true,
        pragma_once: true,
        header: Some(HEAD.into()),
        no_includes: true,
        usize_is_size_t: true,
        sys_includes: ["stdbool.h", "stddef.h", "stdint.h"]
            .map(String::from)
            .into(),
        after_includes: Some("\n/* Of ggml.h. */\nstruct ggml_tensor;".into()),
        documentation_style: cbindgen::DocumentationStyle::C99,
        ..cbindgen::Config::default()
    };
    let rename = ("ggml_tensor".to_string(), "struct ggml_tensor".to_string());
    config.export.rename.extend([rename]);
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/api.rs"))
        .generate()
        .unwrap();
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = root.join("include/midlayer.h");
    if std::env::var_os("MIDLAYER_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "write it again: MIDLAYER_WRITE_HEADER=1 cargo test --release -p midlayer-plugin --test header\n{made}"
    );
}
