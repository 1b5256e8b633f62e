//! Follows an examination on stderr: as a bar on a terminal, as a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output::say_progress;
use crate::selftest::Watch;

/// Lines on what is no terminal are at least so far apart.
const APART: Duration = Duration::from_secs(5);

/// Shows how far an examination has come.
pub struct Follow {
    name: String,
    bar: Option<ProgressBar>,
    begun: Instant,
    last_line: Option<Instant>,
    /// Runs in all, done, and of the comparison at hand.
    runs: (usize, usize, usize),
}

impl Follow {
    /// Follows what `name` says.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_string(),
            bar: std::io::stderr().is_terminal().then(bar),
            begun: Instant::now(),
            last_line: None,
            runs: (0, 0, 0),
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style =
        ProgressStyle::with_template("{bar:24} {percent}%, {elapsed} gone, {eta} left {msg}");
    bar.set_style(style.expect("a valid template"));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

impl Drop for Follow {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Follow {
    fn begin(&mut self, runs: usize) {
        self.runs = (runs, 0, 0);
        self.begun = Instant::now();
        if let Some(bar) = &self.bar {
            bar.set_length(runs as u64);
        }
    }

    fn check(&mut self, what: &str, runs: usize) {
        let (all, done, at_hand) = &mut self.runs;
        *done = (*done + *at_hand).min(*all);
        *at_hand = runs;
        let (all, done) = (*all, *done);
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(format!("{}: {what}", self.name));
            return;
        }
        if self.last_line.is_some_and(|last| last.elapsed() < APART) {
            return;
        }
        self.last_line = Some(Instant::now());
        let mut line = format!("{}: {what}, {}% done", self.name, 100 * done / all.max(1));
        if done > 0 {
            let gone = self.begun.elapsed().as_secs_f64();
            let left = gone * (all - done) as f64 / done as f64;
            line.push_str(&format!(", about {left:.0} s left"));
        }
        say_progress(&line);
    }
}
