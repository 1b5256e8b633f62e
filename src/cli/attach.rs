//! `midlayer attach`: a plan in a program that brings its own llama.cpp.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::Usage;
use super::args::AttachArgs;
use super::output::print;
use midlayer::plan::Plan;

/// What stands in the way of preloading into a program.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum Obstacle {
    #[error("is not a program for this system (no ELF file and no script)")]
    NotAProgram,
    #[error("is linked statically, so nothing can be preloaded into it")]
    Static,
    #[error("runs with another user's rights (setuid), so the system preloads nothing into it")]
    Privileged,
    #[error(
        "has llama.cpp linked into itself, so its calls cannot be stepped between; a build with shared libraries (BUILD_SHARED_LIBS) works, or the C interface"
    )]
    OwnLlama,
}

pub fn run(args: AttachArgs) -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        let text = "attach preloads a library, which is there for Linux only so far; elsewhere use the C interface (docs/plugin.md)";
        return Err(Usage(text.into()).into());
    }
    let library = library(args.library)?;
    let (name, arguments) = args.program.split_first().expect("clap asks for one");
    let program = find(name)?;
    if let Some(obstacle) = obstacle(&program)? {
        let text = format!("{} {obstacle}", program.display());
        return match args.check {
            true => print(&format!("no: {text}\n")),
            false => Err(anyhow::anyhow!(text)),
        };
    }
    let mut command = Command::new(&program);
    command.args(arguments).env("LD_PRELOAD", preload(&library));
    if args.check {
        return check(command, &program);
    }
    let path = args.plan.expect("clap asks for it");
    let plan = Plan::read(&path)?;
    plan.interventions(path.parent().unwrap_or(Path::new(".")))?;
    command.env("MIDLAYER_PLAN", fs::canonicalize(&path)?);
    // Comes back only if it fails.
    Err(command.exec().into())
}

/// The plugin: where it is said to be, or beside this program.
fn library(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    const NAME: &str = "libmidlayer_plugin.so";
    let named = named.or_else(|| env::var_os("MIDLAYER_LIBRARY").map(PathBuf::from));
    let own = env::current_exe()?;
    let folder = own.parent().unwrap_or(Path::new("."));
    let places = match named {
        Some(named) => vec![named],
        None => vec![folder.join(NAME), folder.join("../lib").join(NAME)],
    };
    let found = places.iter().find(|place| place.is_file());
    let found = found.ok_or_else(|| {
        let text = format!(
            "{} is not there; build it with cargo build --release -p midlayer-plugin, or say where it is (--library)",
            places[0].display()
        );
        Usage(text)
    })?;
    Ok(fs::canonicalize(found)?)
}

/// The library before what is preloaded already.
fn preload(library: &Path) -> OsString {
    let mut all = library.as_os_str().to_owned();
    if let Some(others) = env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        all.push(":");
        all.push(others);
    }
    all
}

/// The program's file, looked for as a shell does.
fn find(name: &OsString) -> anyhow::Result<PathBuf> {
    let path = Path::new(name);
    if path.components().count() > 1 {
        return match path.is_file() {
            true => Ok(path.into()),
            false => Err(Usage(format!("{} is not a file", path.display())).into()),
        };
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders)
        .map(|folder| folder.join(path))
        .find(|file| file.is_file());
    found.ok_or_else(|| Usage(format!("{} is not on the path", path.display())).into())
}

fn obstacle(program: &Path) -> anyhow::Result<Option<Obstacle>> {
    let bytes = fs::read(program)?;
    let mode = fs::metadata(program)?.permissions().mode();
    Ok(obstacle_of(&bytes, mode))
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

/// Whether a 64-bit ELF file asks for a loader (PT_INTERP); `None` for anything else.
fn is_dynamic(bytes: &[u8]) -> Option<bool> {
    let number = |at: usize, n: usize| -> Option<usize> {
        let field = bytes.get(at..at.checked_add(n)?)?;
        let digits = field.iter().rev();
        Some(digits.fold(0, |value, byte| value << 8 | usize::from(*byte)))
    };
    // Magic, 64 bits, little-endian.
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
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

/// Runs the program until the plugin has said what it found.
fn check(mut command: Command, program: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("verdict");
    command.env("MIDLAYER_CHECK", &file).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let ended = loop {
        if file.exists() {
            break false;
        }
        if child.try_wait()?.is_some() {
            break true;
        }
        sleep(Duration::from_millis(50));
    };
    if ended && !file.exists() {
        let name = program.display();
        return print(&format!(
            "no: {name} ended without llama.cpp computing anything that could be seen (give it the arguments with which it does)\n"
        ));
    }
    // It may have ended by itself meanwhile.
    let _ = child.kill();
    child.wait()?;
    let verdict = fs::read_to_string(&file)?;
    let text = match verdict.split_once(' ') {
        Some(("ok", text)) => format!("yes: ggml {text}"),
        Some((_, text)) => format!("no: {text}"),
        None => format!("no: {verdict}"),
    };
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = kind;
        bytes
    }

    #[test]
    fn obstacles() {
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
}
