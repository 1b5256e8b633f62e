//! `midlayer attach`: a plan in a program that brings its own llama.cpp.

mod obstacle;

use std::env;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::Usage;
use super::args::AttachArgs;
use super::output::print;
use midlayer::plan::Plan;
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
    command.args(arguments).env(PRELOAD, preload(&library));
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
    let name = format!("{DLL_PREFIX}midlayer_plugin{DLL_SUFFIX}");
    let named = named.or_else(|| env::var_os("MIDLAYER_LIBRARY").map(PathBuf::from));
    let own = env::current_exe()?;
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
fn preload(library: &Path) -> OsString {
    let mut all = library.as_os_str().to_owned();
    if let Some(others) = env::var_os(PRELOAD).filter(|others| !others.is_empty()) {
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
