//! The process that loads a file first: how long it gets, and what its end means.

use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::check::CheckError;
use crate::runtime::ILLEGAL;

/// What the process says when the file loads; what else it says is an error's text.
pub(super) const LOADS: &str = "loads";

/// Whether the process says that the file loads; `false` where it could not be asked.
pub(super) fn loads(
    path: &Path,
    command: &mut Command,
    limit: Duration,
    say: &mut dyn FnMut(&str),
) -> Result<bool, CheckError> {
    command
        // The process ends itself when this pipe closes: also if this program is killed.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            say(&format!("loading is not tried first: {error}"));
            return Ok(false);
        }
    };
    let _alive = child.stdin.take();
    let said = child.stdout.take().map(read);
    let errors = child.stderr.take().map(read);
    // Both end when the process does.
    let mut limits = 1;
    let mut ended = |pipe: Option<Receiver<String>>| {
        let Some(pipe) = pipe else {
            return Some(String::new());
        };
        loop {
            match pipe.recv_timeout(limit) {
                Ok(text) => return Some(text),
                Err(RecvTimeoutError::Disconnected) => return Some(String::new()),
                // What waits for its disk or for the processor is not hanging.
                Err(RecvTimeoutError::Timeout) if limits < LIMITS && waits(child.id(), limit) => {
                    limits += 1;
                    say(&format!(
                        "{} is still loading: its disk is slow, or the processor busy",
                        path.display()
                    ));
                }
                Err(RecvTimeoutError::Timeout) => return None,
            }
        }
    };
    let (Some(said), Some(errors)) = (ended(said), ended(errors)) else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(CheckError::Hang {
            path: path.into(),
            seconds: limits * limit.as_secs(),
        });
    };
    let Ok(status) = child.wait() else {
        return Ok(false);
    };
    match said.trim() {
        LOADS if status.success() => Ok(true),
        reason if status.success() && !reason.is_empty() => {
            let plain = |c: char| if c.is_control() { ' ' } else { c };
            Err(CheckError::Refused(reason.chars().map(plain).collect()))
        }
        _ if signal(status) == Some(9) => Err(CheckError::Killed { path: path.into() }),
        _ if signal(status) == Some(4) || errors.contains(ILLEGAL) => {
            Err(CheckError::Processor { path: path.into() })
        }
        _ => Err(CheckError::Crash {
            path: path.into(),
            how: how(status, &errors),
        }),
    }
}

/// How many times the limit a process gets that has had little of the processor.
const LIMITS: u64 = 5;

/// Whether a process has spent less than a quarter of this time on the processor, where /proc
/// tells.
fn waits(process: u32, time: Duration) -> bool {
    // In ticks of a hundredth of a second, after the name, which may have spaces in it.
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let times = fields.split_whitespace().skip(11).take(2);
        times
            .map(|ticks| ticks.parse::<u64>().ok())
            .sum::<Option<u64>>()
    };
    ticks().is_some_and(|ticks| Duration::from_millis(10 * ticks) < time / 4)
}

/// What comes out of a pipe until it closes, or its beginning.
fn read(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (done, waiting) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could not be read was not said.
        let _ = pipe.take(1 << 16).read_to_end(&mut bytes);
        let _ = done.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    waiting
}

/// What ended a process, with what it said last if that is telling.
fn how(status: ExitStatus, errors: &str) -> String {
    let mut text = match signal(status) {
        Some(signal) => format!("signal {signal}"),
        None => format!("exit code {}", status.code().unwrap_or(-1)),
    };
    let telling = |line: &str| {
        let marks = ["GGML_ASSERT", "what():"];
        let at = marks.iter().find_map(|mark| line.find(mark))?;
        let told = line[at..].trim().trim_start_matches("what():").trim();
        Some(told.chars().take(100).collect::<String>())
    };
    if let Some(told) = errors.lines().find_map(telling) {
        text.push_str(", ");
        text.push_str(&told);
    }
    text
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Instant;

    use super::*;

    fn told(script: &str, limit: Duration) -> Result<bool, String> {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        loads(Path::new("x.gguf"), &mut shell, limit, &mut |_| {})
            .map_err(|error| error.to_string())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_the_process_says_counts_only_if_it_ends_well() {
        assert_eq!(told("echo loads", LONG), Ok(true));
        assert_eq!(told("echo no", LONG), Err("no".into()));
        for (script, how) in [
            (
                "echo loads; kill -ABRT $$",
                "x.gguf crashes llama.cpp (signal 6)",
            ),
            (
                "echo loads; exit 3",
                "x.gguf crashes llama.cpp (exit code 3)",
            ),
            ("exit 0", "x.gguf crashes llama.cpp (exit code 0)"),
            ("kill -KILL $$", "x.gguf needs more memory"),
            (
                "echo 'a.c:7: GGML_ASSERT(n > 0) failed' >&2; kill -ABRT $$",
                "(signal 6, GGML_ASSERT(n > 0) failed)",
            ),
        ] {
            let error = told(script, LONG).unwrap_err();
            assert!(error.contains(how) && error.contains("(`model`"), "{error}");
        }
        // Not the file's fault.
        for script in ["kill -ILL $$", &format!("printf '{ILLEGAL}' >&2; exit 1")] {
            let error = told(script, LONG).unwrap_err();
            assert!(error.contains("built for another processor"), "{error}");
            assert!(!error.contains("damaged"), "{error}");
        }
    }

    #[test]
    fn a_process_that_does_not_end_is_killed() {
        // Its stdin stays open as long as it is waited for.
        let error = told("exec cat", Duration::from_millis(50)).unwrap_err();
        assert!(error.contains("was not loaded within"), "{error}");
        // One that is asleep gets more time, where it can be told from one that computes.
        let began = Instant::now();
        let loads = told("sleep 0.5; echo loads", Duration::from_millis(200));
        if cfg!(target_os = "linux") {
            assert_eq!(loads, Ok(true));
            assert!(began.elapsed() > Duration::from_millis(400));
            let error = told("while :; do :; done", Duration::from_millis(400)).unwrap_err();
            assert!(error.contains("was not loaded within 0 seconds"), "{error}");
        }
        // One that talks without end is not listened to for ever.
        let error = told("exec yes", Duration::from_millis(200)).unwrap_err();
        assert!(error.contains("crashes llama.cpp"), "{error}");
    }
}
