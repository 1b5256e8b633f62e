//! `scripts/cpu-flags`: for which processors the build is made for the machine at hand. Asked with
//! a compiler and a `uname` that say what is to be tried.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What the script prints on a processor with these of the compiler's features.
fn flags(machine: &str, features: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let lines = features
        .iter()
        .map(|name| format!("echo 'target_feature=\"{name}\"'\n"));
    let machine = format!("case \"$*\" in -m) echo {machine} ;; *) echo Linux ;; esac\n");
    for (name, script) in [("rustc", lines.collect()), ("uname", machine)] {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cpu-flags");
    let output = Command::new(script)
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_the_default_build_leaves_unused_makes_a_build_for_the_machine() {
    const NATIVE: &str = "-C target-cpu=native --cfg midlayer_cpu=";
    for (machine, features) in [
        ("x86_64", &["avx2", "avx512f"][..]),
        ("x86_64", &["avx2", "avxvnni"]),
        ("amd64", &["avx2", "avx512f", "avx512vnni", "amx-int8"]),
        // The default build would not start there.
        ("x86_64", &["sse4.2"]),
        ("aarch64", &["neon", "dotprod"]),
        ("arm64", &["neon", "i8mm"]),
    ] {
        let found = flags(machine, features);
        assert!(found.starts_with(NATIVE), "{machine} {features:?}: {found}");
    }
    for (machine, features) in [
        ("x86_64", &["avx", "avx2", "fma"][..]),
        ("aarch64", &["neon"]),
        ("riscv64", &["v"]),
        // No compiler.
        ("x86_64", &[]),
    ] {
        assert_eq!(flags(machine, features), "", "{machine} {features:?}");
    }
    // Machines that share a target folder keep a build for each set of instructions.
    let one = flags("x86_64", &["avx2", "avx512f"]);
    assert_ne!(one, flags("x86_64", &["avx2", "avx512f", "avx512vnni"]));
    assert_eq!(one, flags("x86_64", &["avx512f", "avx2"]));
}
