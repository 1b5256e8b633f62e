//! Printing: data on stdout, progress and notes on stderr.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Prints to stdout; a reader that went away is an error like any other, see
/// [`is_broken_pipe`].
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Whether an error only means that nobody reads stdout any more (`midlayer ... | head`).
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// A line on stderr for the user.
pub fn say(text: &str) {
    eprintln!("midlayer: {text}");
}

/// A bar with the time left, on stderr, only on a terminal.
pub fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template(
        "{bar:32} {pos}/{len} cells, {elapsed} gone, {eta} left {msg}",
    );
    bar.set_style(style.expect("a valid template"));
    bar.enable_steady_tick(Duration::from_millis(500));
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

/// A spinner on stderr, only on a terminal.
pub fn spinner(message: String) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.set_message(message);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
