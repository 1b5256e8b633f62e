//! `midlayer attach`: a plan in a program that brings its own llama.cpp.

mod check;
mod obstacle;

use std::env;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{Access, access};

use super::Usage;
use super::args::AttachArgs;
use super::output::print;
use crate::plan::Plan;
use obstacle::obstacle;

/// What the system's loader loads before a program's own libraries.
const PRELOAD: &str = match cfg!(target_os = "macos") {
    true => "DYLD_INSERT_LIBRARIES",
    false => "LD_PRELOAD",
};

pub fn run(args: AttachArgs) -> anyhow::Result<()> {
    if !cfg!(any(target_os = "linux", target_os = "macos")) {
        let text = "attach preloads a library, on Linux and macOS only; elsewhere use the C interface (docs/plugin.md)";
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
    command.args(arguments).env(PRELOAD, preload(&library)?);
    // What was set for this program alone (main.rs).
    if env::var_os(crate::cli::SPIN_SET).is_some() {
        command
            .env_remove(crate::cli::SPIN)
            .env_remove(crate::SPIN_SET);
    }
    if args.check {
        return check::run(command, &program, Duration::from_secs(args.seconds));
    }
    let path = args.plan.expect("clap asks for it");
    let plan = Plan::read(&path)?;
    plan.interventions(path.parent().unwrap_or(Path::new(".")))?;
    let named = |error| anyhow::anyhow!("{} cannot be read: {error} (--plan)", path.display());
    command.env("MIDLAYER_PLAN", fs::canonicalize(&path).map_err(named)?);
    // Comes back only if it fails.
    Err(not_started(&program, &command.exec()))
}

fn not_started(program: &Path, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!("{} cannot be started: {error}", program.display())
}

/// The plugin: where it is said to be, or beside this program.
fn library(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let name = format!("{DLL_PREFIX}midlayer_plugin{DLL_SUFFIX}");
    let named = named.or_else(|| env::var_os("MIDLAYER_LIBRARY").map(PathBuf::from));
    let own = crate::own::file()?;
    let folder = own.parent().unwrap_or(Path::new("."));
    let places = match named {
        Some(named) => vec![named],
        None => vec![folder.join(&name), folder.join("../lib").join(&name)],
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
fn preload(library: &Path) -> anyhow::Result<OsString> {
    let separators: &[u8] = match cfg!(target_os = "macos") {
        true => b":",
        false => b": \t\n",
    };
    let mut bytes = library.as_os_str().as_bytes().iter();
    if bytes.any(|byte| separators.contains(byte)) {
        let text = format!(
            "{} holds a space or a colon, which {PRELOAD} takes for its end, so the system would not load it: copy or link it to another path and name that (--library)",
            library.display()
        );
        return Err(Usage(text).into());
    }
    let mut all = library.as_os_str().to_owned();
    if let Some(others) = env::var_os(PRELOAD).filter(|others| !others.is_empty()) {
        all.push(":");
        all.push(others);
    }
    Ok(all)
}

/// The program's file, looked for as a shell does.
fn find(name: &OsString) -> anyhow::Result<PathBuf> {
    let path = Path::new(name);
    let may_run = |path: &Path| access(path, Access::EXEC_OK).is_ok();
    let (found, is_path) = match path.components().count() > 1 {
        true => (Some(path.to_path_buf()), true),
        false => {
            let folders = env::var_os("PATH").unwrap_or_default();
            let files = env::split_paths(&folders).map(|folder| folder.join(path));
            let files: Vec<PathBuf> = files.filter(|file| file.is_file()).collect();
            let found = files.iter().find(|file| may_run(file)).or(files.first());
            (found.cloned(), false)
        }
    };
    let wrong = match found {
        Some(found) if found.is_file() && may_run(&found) => return Ok(found),
        Some(found) if found.is_file() => {
            format!("{} may not be executed (chmod +x)", found.display())
        }
        _ if is_path => format!("{} is not a file", path.display()),
        _ => format!("{} is not on the path", path.display()),
    };
    Err(Usage(wrong).into())
}
