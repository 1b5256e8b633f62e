//! Tensors may lie where the host cannot look: nothing reads or writes them but through their
//! backend.

use std::path::Path;

/// ggml's field and functions that give a tensor's address.
const ADDRESSES: [&str; 2] = [".data", "ggml_get_data"];
/// Deal with tensors that they made themselves: in memory of the host, and without memory.
const OWN: [&str; 2] = ["plugin/src/layout.rs", "src/hook/fake.rs"];
/// Tells whether two tensors have one memory.
const COMPARED: &str = "here.buffer == there.buffer && here.data == there.data";

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path.display().to_string(), text));
        }
    }
}

/// Whether the text uses a name: of a field, not that of a longer one or of a method.
fn uses(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let after = text[at + name.len()..].chars().next();
        let longer = after.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '(');
        !name.starts_with('.') || !longer
    })
}

#[test]
fn no_tensor_is_read_by_its_address() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src/hook", "src/runtime", "plugin/src"] {
        sources(&root.join(folder), &mut files);
    }
    assert!(files.len() > 20);
    let others = |path: &str| !OWN.iter().any(|own| path.ends_with(own));
    for (path, text) in files.iter().filter(|(path, _)| others(path)) {
        let lines = text.lines().filter(|line| line.trim() != COMPARED);
        let text = lines.collect::<Vec<_>>().join("\n");
        for name in ADDRESSES {
            assert!(!uses(&text, name), "{path} uses {name}");
        }
    }
    // The transfers that it goes through instead, and that the test can fail.
    let tensor = files
        .iter()
        .find(|(path, _)| path.ends_with("hook/tensor.rs"));
    assert!(tensor.unwrap().1.contains("ggml_backend_tensor_get"));
    assert!(uses("let x = t.data;", ".data") && !uses("t.data_type", ".data"));
}
