//! Printing: data on stdout, progress and notes on stderr.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::Duration;

use crate::cli::spelled::spelled;
use crate::report::{Column, fit};
use crate::shown::visible;
use indicatif::{ProgressBar, ProgressStyle};

/// Nobody reads stdout any more (`midlayer ... | head`): a reason to stop, and to say nothing.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct Closed;

/// Prints text to stdout, with what a terminal would obey made visible.
///
/// # Errors
/// [`Closed`], or why stdout cannot be written to.
pub fn print(text: &str) -> anyhow::Result<()> {
    print_by(|out| out.write_all(visible(text).as_bytes()))
}

/// Prints text that colours itself: what it holds of data is visible already.
///
/// # Errors
/// [`Closed`], or why stdout cannot be written to.
pub fn print_painted(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        written => Ok(written?),
    }
}

/// Prints data for other programs to stdout, as it is unless a terminal shows it.
///
/// # Errors
/// [`Closed`], or why stdout cannot be written to.
pub fn print_by(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(Stdout::default());
    let written = write(&mut out).and_then(|()| out.flush());
    match out.get_ref().closed {
        true => {
            // What is in the buffer has nowhere to go.
            drop(out.into_parts());
            Err(Closed.into())
        }
        false => Ok(written?),
    }
}

/// How many columns what goes to stdout may have: those of the terminal, or what COLUMNS says;
/// any number where stdout is neither.
pub fn width() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|n| n.parse().ok());
    let said = said.filter(|columns: &usize| *columns > 0);
    let of_terminal = || {
        let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
        Some(usize::from(width.0)).filter(|columns| *columns > 0)
    };
    said.or_else(of_terminal)
}

/// A table for stdout. `columns` says what each column holds, the last entry what all further
/// ones do.
pub fn table(head: &[&str], rows: &[Vec<String>], columns: &[Column]) -> String {
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    fit(&head, rows, columns, width())
}

/// Stdout, which remembers that its reader has gone.
#[derive(Default)]
struct Stdout {
    closed: bool,
    /// The beginning of a character whose rest is still to come, on a terminal.
    cut: Vec<u8>,
}

impl Stdout {
    /// Bytes as a terminal may be given them.
    fn shown(&mut self, bytes: &[u8]) -> Vec<u8> {
        let bytes = [std::mem::take(&mut self.cut), bytes.to_vec()].concat();
        let whole = match std::str::from_utf8(&bytes) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => bytes.len(),
        };
        self.cut = bytes[whole..].to_vec();
        let text = String::from_utf8_lossy(&bytes[..whole]);
        visible(&text).into_owned().into_bytes()
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = io::stdout().lock();
        let written = match out.is_terminal() {
            true => {
                let shown = self.shown(bytes);
                out.write_all(&shown).and(out.flush())
            }
            false => out.write_all(bytes).and_then(|()| out.flush()),
        };
        self.closed |= written
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        written.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line on stderr for the user. Whether anybody reads it changes nothing.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "midlayer: {}", visible(&spelled(text)));
}

/// A line on stderr on how far something has come. Whether anybody reads it changes nothing.
pub fn say_progress(text: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(text));
}

/// A bar of runs shown and the time left, on stderr, only on a terminal.
pub fn run_bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{pos} of {len} runs, {eta} left");
    bar.set_style(style.expect("a valid template"));
    bar
}

/// A bar of runs with what is known so far above it as its message, on stderr, only on a terminal.
pub fn picture_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg}{pos} of {len} runs, {eta} left");
    bar.set_style(style.expect("a valid template"));
    bar
}

/// A bar of items mapped and the time left, on stderr, only on a terminal.
pub fn item_bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{pos} of {len} items, {eta} left");
    bar.set_style(style.expect("a valid template"));
    bar
}

/// A bar of layers looked at, on stderr, only on a terminal.
pub fn layer_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{pos} of {len} layers, {eta} left");
    bar.set_style(style.expect("a valid template"));
    bar
}

/// A bar of tensors done, on stderr, only on a terminal.
pub fn tensor_bar(message: String) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len} tensors");
    bar.set_style(style.expect("a valid template"));
    bar.set_message(message);
    bar
}

/// A bar of bytes done and the time left, on stderr, only on a terminal.
pub fn byte_bar(message: String) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{msg} {bar:24} {decimal_bytes} of {decimal_total_bytes}, {eta} left";
    bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
    bar.set_message(message);
    bar
}

/// A spinner on stderr, only on a terminal.
pub fn spinner(message: String) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.set_message(message);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
