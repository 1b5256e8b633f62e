//! `midlayer attach --check`: the program is run until the plugin has said what it found.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::not_started;
use crate::cli::output::print;

/// Runs the program for so long at most, and ends it and what it has started.
pub fn run(mut command: Command, program: &Path, limit: Duration) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("verdict");
    command.env("MIDLAYER_CHECK", &file).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.process_group(0).spawn();
    let mut child = Group(child.map_err(|error| not_started(program, &error))?);
    let begun = Instant::now();
    let mut ended = false;
    while !file.exists() && !ended && begun.elapsed() < limit {
        sleep(Duration::from_millis(50));
        ended = child.0.try_wait()?.is_some();
    }
    drop(child);
    let name = program.display();
    let text = match fs::read_to_string(&file) {
        Ok(verdict) => match verdict.split_once(' ') {
            Some(("ok", text)) => format!("yes: ggml {text}"),
            Some((_, text)) => format!("no: {text}"),
            None => format!("no: {verdict}"),
        },
        Err(_) if ended => format!(
            "no: {name} ended without llama.cpp computing anything that could be seen (give it the arguments with which it does)\n"
        ),
        Err(_) => format!(
            "no: in {} s llama.cpp computed nothing in {name} that could be seen (a longer time: --seconds)\n",
            limit.as_secs()
        ),
    };
    print(&text)
}

/// A program and what it has started; they end with this.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // It may have ended by itself.
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}
