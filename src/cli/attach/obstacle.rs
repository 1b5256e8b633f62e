//! What stands in the way of preloading into a program, told from its file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Why nothing can be preloaded, or would be of use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Obstacle {
    #[error("is not a program for this system (no ELF or Mach-O file and no script)")]
    NotAProgram,
    #[error("is linked statically, so nothing can be preloaded into it")]
    Static,
    #[error("runs with another user's rights (setuid), so the system preloads nothing into it")]
    Privileged,
    #[error(
        "has llama.cpp linked into itself, so its calls cannot be stepped between; a build with shared libraries (BUILD_SHARED_LIBS) works, or the C interface"
    )]
    OwnLlama,
    #[error(
        "is a part of macOS, which preloads nothing into such programs; name the interpreter or program itself, one of your own"
    )]
    System,
    #[error(
        "is signed with a hardened runtime, so macOS preloads nothing into it; sign a copy anew (codesign --force --sign - PROGRAM), or use the C interface"
    )]
    Hardened,
}

/// The first obstacle found in a program's file, if any.
pub fn obstacle(program: &Path) -> anyhow::Result<Option<Obstacle>> {
    let bytes = fs::read(program)?;
    let mode = fs::metadata(program)?.permissions().mode();
    let found = obstacle_of(&bytes, mode);
    if found.is_some() || !cfg!(target_os = "macos") {
        return Ok(found);
    }
    let interpreter = interpreter(&bytes);
    let program = interpreter.as_deref().map_or(program, Path::new);
    if is_of_macos(program) {
        return Ok(Some(Obstacle::System));
    }
    // What a signature allows is told on stderr: "flags=0x10000(runtime)". No signature, no output.
    let told = Command::new("/usr/bin/codesign")
        .args(["--display", "--verbose=2", "--entitlements", "-"])
        .arg(program)
        .output()?;
    let told = [told.stdout, told.stderr].concat();
    Ok(is_hardened(&String::from_utf8_lossy(&told)).then_some(Obstacle::Hardened))
}

fn obstacle_of(bytes: &[u8], mode: u32) -> Option<Obstacle> {
    // A script: its interpreter is what is preloaded into, and interpreters are dynamic.
    if bytes.starts_with(b"#!") {
        return None;
    }
    if mode & 0o6000 != 0 {
        return Some(Obstacle::Privileged);
    }
    let Some(dynamic) = is_dynamic(bytes) else {
        return Some(Obstacle::NotAProgram);
    };
    // A name of ggml's table of operations, which is in its base library and nowhere else.
    let table = b"\0CROSS_ENTROPY_LOSS_BACK\0";
    if bytes.windows(table.len()).any(|window| window == table) {
        return Some(Obstacle::OwnLlama);
    }
    (!dynamic).then_some(Obstacle::Static)
}

/// Whether a 64-bit ELF file asks for a loader (PT_INTERP), or a file is Mach-O (macOS has no
/// static programs); `None` for anything else.
fn is_dynamic(bytes: &[u8]) -> Option<bool> {
    let number = |at: usize, n: usize| -> Option<usize> {
        let field = bytes.get(at..at.checked_add(n)?)?;
        let digits = field.iter().rev();
        Some(digits.fold(0, |value, byte| value << 8 | usize::from(*byte)))
    };
    // One architecture, or several.
    if bytes.starts_with(b"\xcf\xfa\xed\xfe") || bytes.starts_with(b"\xca\xfe\xba\xbe") {
        return cfg!(target_os = "macos").then_some(true);
    }
    // Magic, 64 bits, little-endian.
    if !bytes.starts_with(b"\x7fELF\x02\x01") || cfg!(target_os = "macos") {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for n in 0..count {
        let entry = table.checked_add(n.checked_mul(size)?)?;
        if number(entry, 4)? == 3 {
            return Some(true);
        }
    }
    Some(false)
}

/// The program that a script is run by.
fn interpreter(bytes: &[u8]) -> Option<String> {
    let line = bytes
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    line.split_whitespace().next().map(String::from)
}

/// Folders of programs that macOS protects (System Integrity Protection).
fn is_of_macos(program: &Path) -> bool {
    let folders = [
        "/System",
        "/bin",
        "/sbin",
        "/usr/bin",
        "/usr/sbin",
        "/usr/libexec",
    ];
    folders.iter().any(|folder| program.starts_with(folder))
}

/// Whether what `codesign` tells of a program rules preloading out.
fn is_hardened(told: &str) -> bool {
    let flags = told.lines().find_map(|line| line.split_once("flags="));
    let runtime = flags.is_some_and(|(_, flags)| flags.contains("runtime"));
    runtime && !told.contains("com.apple.security.cs.allow-dyld-environment-variables")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn obstacles() {
        fn elf(kind: u8) -> Vec<u8> {
            let mut bytes = vec![0; 64 + 56];
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            bytes[32] = 64;
            bytes[54] = 56;
            bytes[56] = 1;
            bytes[64] = kind;
            bytes
        }
        assert_eq!(obstacle_of(&elf(3), 0o755), None);
        assert_eq!(obstacle_of(&elf(1), 0o755), Some(Obstacle::Static));
        assert_eq!(obstacle_of(&elf(3), 0o4755), Some(Obstacle::Privileged));
        assert_eq!(obstacle_of(b"#!/bin/sh\n", 0o755), None);
        assert_eq!(obstacle_of(b"MZ", 0o755), Some(Obstacle::NotAProgram));
        let cut = &elf(3)[..66];
        assert_eq!(obstacle_of(cut, 0o755), Some(Obstacle::NotAProgram));
        let own = [elf(3), b"\0CROSS_ENTROPY_LOSS_BACK\0".to_vec()].concat();
        assert_eq!(obstacle_of(&own, 0o755), Some(Obstacle::OwnLlama));
    }

    #[test]
    fn signatures_that_rule_preloading_out() {
        let hardened =
            "Executable=/x\nCodeDirectory v=20500 size=1 flags=0x10000(runtime) hashes=1";
        assert!(is_hardened(hardened));
        assert!(!is_hardened(
            "CodeDirectory v=20400 flags=0x20002(adhoc,linker-signed)"
        ));
        assert!(!is_hardened("/x: code object is not signed at all"));
        let allowed = format!("{hardened}\ncom.apple.security.cs.allow-dyld-environment-variables");
        assert!(!is_hardened(&allowed));
    }

    #[test]
    fn what_macos_protects() {
        let of_script = |text: &str| interpreter(text.as_bytes());
        assert_eq!(
            of_script("#!/usr/bin/env python3\n").as_deref(),
            Some("/usr/bin/env")
        );
        assert_eq!(of_script("\x7fELF"), None);
        assert!(is_of_macos(Path::new("/usr/bin/env")));
        assert!(!is_of_macos(Path::new("/usr/local/bin/llama-server")));
        assert!(!is_of_macos(Path::new("/opt/homebrew/bin/llama-server")));
    }
}
