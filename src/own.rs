//! How this program is started again, and which file it is in: a program of its own, or a module
//! that another program (Python) has loaded.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

static OWN: OnceLock<Own> = OnceLock::new();

/// The program as a part of another one.
#[derive(Debug)]
pub struct Own {
    /// What starts it, before its arguments: `python -m midlayer`.
    pub command: Vec<OsString>,
    /// The file that it is in.
    pub file: PathBuf,
}

/// Says that the process is not the program itself, but has it in a module. Only the first call
/// counts; without one the process's own file is the program.
pub fn is_part(own: Own) {
    let _ = OWN.set(own);
}

/// A command that starts the program again, without arguments.
///
/// # Errors
/// The system's, where it does not know the process's file.
pub(crate) fn command() -> io::Result<Command> {
    match OWN.get().map(|own| &own.command[..]) {
        Some([program, arguments @ ..]) => {
            let mut command = Command::new(program);
            command.args(arguments);
            Ok(command)
        }
        _ => Ok(Command::new(std::env::current_exe()?)),
    }
}

/// The file that the program is in.
///
/// # Errors
/// The system's, where it does not know the process's file.
pub(crate) fn file() -> io::Result<PathBuf> {
    match OWN.get() {
        Some(own) => Ok(own.file.clone()),
        None => std::env::current_exe(),
    }
}
