//! Follows a sweep on stderr, as a bar on a terminal and as a line now and then elsewhere, and
//! stops it on a signal: the first one once the unit at hand is stored, the second one at once.

mod state;

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::style::ProgressTracker;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::output::{say, say_progress};
use crate::experiment::Amount;
use crate::models::{HeldError, ModelFiles};
use crate::runtime::is_ignored;
use crate::shown::visible;
use crate::sweep::Progress;
use crate::tasks::TaskName;
use state::{Phase, State};

/// The program was told to stop.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Stopped {
    text: String,
    /// What the program ends with.
    pub code: u8,
}

impl Stopped {
    /// By a signal, with what there is to say of it.
    pub fn by(signal: i32, text: String) -> Self {
        let code = match signal {
            SIGTERM => AGAIN,
            _ => INTERRUPTED,
        };
        Self { text, code }
    }
}

/// What a program that the user stops ends with.
const INTERRUPTED: u8 = 130;
/// What one ends with that was told to end by TERM, as schedulers do: the work is to be queued
/// again. (`EX_TEMPFAIL` of sysexits.h.)
const AGAIN: u8 = 75;

/// Lines on what is no terminal are at least so far apart.
const APART: Duration = Duration::from_secs(10);

/// A sweep of one variant after another.
pub struct Follow {
    state: Arc<Mutex<State>>,
    terminal: bool,
    /// The files of the model that runs.
    pub model: Option<Arc<ModelFiles>>,
    /// When the time that the sweep may take is over.
    until: Option<Instant>,
}

impl Follow {
    /// Begins to follow, and to wait for signals. Those that are ignored stay so. The sweep may
    /// take as long as `budget`.
    ///
    /// # Errors
    /// The system's, when a signal cannot be waited for.
    pub fn new(budget: Option<Duration>) -> anyhow::Result<Self> {
        let until = budget.and_then(|budget| Instant::now().checked_add(budget));
        let state = Arc::new(Mutex::new(State::default()));
        let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter();
        let mut signals = Signals::new(heeded.filter(|signal| !is_ignored(*signal)))?;
        let shared = state.clone();
        thread::spawn(move || {
            for signal in signals.forever() {
                on_signal(&shared, signal);
            }
        });
        Ok(Self {
            state,
            terminal: std::io::stderr().is_terminal(),
            model: None,
            until,
        })
    }

    /// A line for what is no terminal; on one, spinners and bars say it.
    pub fn step(&self, text: &str) {
        if !self.terminal {
            say_progress(text);
        }
    }

    /// The run is open: it has so many results in all, where that is known, and so many are stored.
    pub fn opened(&self, all: Option<usize>, stored: usize) {
        self.state().run = Some((all, stored));
    }

    /// Results are stored elsewhere than in the run's folder until they are published.
    pub fn elsewhere(&self) {
        self.state().elsewhere = true;
    }

    /// The run's folder has all that is stored.
    pub fn published(&self) {
        self.state().unpublished = false;
    }

    /// The `n`-th of `of` models begins, counted from 1; `later` is the work that is left of those
    /// after it, where it is known.
    pub fn of_models(&self, n: usize, of: usize, later: Option<f64>) {
        let mut state = self.state();
        state.model = (of > 1).then_some((n, of));
        state.later = later;
        state.step = None;
    }

    /// The work of the model that has run.
    pub fn work(&self) -> f64 {
        self.state().all.work
    }

    /// Everything is stored, and the report is being written.
    pub fn reports(&self) {
        self.state().phase = Phase::Report;
    }

    /// Nothing would be lost from here on; the bar goes.
    pub fn rest(&self) {
        self.state().phase = Phase::Idle;
        let bar = self.state().bar.take();
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }

    /// The error of a sweep that was told to stop.
    pub fn stopped_error(&self) -> Stopped {
        let state = self.state();
        Stopped {
            text: state.leaves(),
            code: state.stopping.unwrap_or(INTERRUPTED),
        }
    }

    fn bar(&self, work: f64) -> ProgressBar {
        let bar = ProgressBar::new(work as u64);
        let style = ProgressStyle::with_template("{bar:24} {line} {msg}");
        let style = style.expect("a valid template");
        bar.set_style(style.with_key("line", line_of(self.state.clone())));
        bar.enable_steady_tick(Duration::from_millis(500));
        bar
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn show(&self, item: String) {
        let mut state = self.state();
        if let Some(bar) = state.bar.clone() {
            let stored = state.stored.work as u64;
            // The bar asks for the state when it is drawn.
            drop(state);
            bar.set_position(stored);
            bar.set_message(visible(&item).into_owned());
        } else if state.last_line.is_none_or(|last| last.elapsed() >= APART) {
            state.last_line = Some(Instant::now());
            say_progress(&state.line());
        }
    }
}

/// A text that is asked for each time the bar is drawn.
fn line_of(shared: Arc<Mutex<State>>) -> impl ProgressTracker {
    move |_: &ProgressState, out: &mut dyn Write| {
        // A line that cannot be written is not shown.
        let _ = out.write_str(&lock(&shared).line());
    }
}

/// What is counted stays true whoever panicked.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn on_signal(shared: &Mutex<State>, signal: i32) {
    let mut state = lock(shared);
    let waits = state.waits().filter(|_| state.stopping.is_none());
    let text = waits.clone().unwrap_or_else(|| state.leaves());
    let Stopped { text, code } = Stopped::by(signal, text);
    let code = *state.stopping.get_or_insert(code);
    let bar = state.bar.clone();
    drop(state);
    match bar {
        Some(bar) => bar.suspend(|| say(&text)),
        None => say(&text),
    }
    if waits.is_none() {
        // Not through the handlers at exit: llama.cpp's threads are still computing.
        signal_hook::low_level::exit(i32::from(code));
    }
}

impl Progress for Follow {
    fn begin(&mut self, all: Amount, stored: Amount) {
        let mut state = self.state();
        (state.all, state.stored) = (all, stored);
        state.speed.since = Some((Instant::now(), stored.work));
        state.last_line = None;
        if self.terminal {
            state.bar = Some(self.bar(all.work));
        }
        drop(state);
        // A sweep that stops when it knows says at its first step what there is to do.
        if all.results > 0 {
            self.show(String::new());
        }
    }

    fn step(&mut self, all: Amount, stored: Amount, told: &str) {
        let mut state = self.state();
        // What the speed is measured by goes on.
        (state.all, state.stored) = (all, stored);
        state.step = Some(told.into());
        let bar = state.bar.clone();
        drop(state);
        if let Some(bar) = bar {
            bar.set_length(all.work as u64);
        }
        self.show(String::new());
    }

    fn measured(&mut self, work: f64, time: Duration) {
        let seconds = time.as_secs_f64();
        self.state().speed.before = (work > 0.0 && seconds > 0.0).then(|| work / seconds);
    }

    fn unit(&mut self, amount: Amount) {
        self.state().phase = Phase::Unit(amount, 0);
    }

    fn result(&mut self, task: TaskName, item: &str) {
        if let Phase::Unit(_, done) = &mut self.state().phase {
            *done += 1;
        }
        self.show(format!("{task} {}", task.title(item, "")));
    }

    fn stored(&mut self) {
        let mut state = self.state();
        if let Phase::Unit(amount, _) = state.phase {
            state.stored += amount;
            if let Some((_, stored)) = &mut state.run {
                *stored += amount.results;
            }
        }
        state.phase = Phase::Idle;
        state.unpublished = state.elsewhere;
        drop(state);
        self.show(String::new());
    }

    fn note(&mut self, text: &str) {
        let bar = self.state().bar.clone();
        match bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    fn check(&self) -> Result<(), HeldError> {
        let model = self.model.as_ref();
        model.map_or(Ok(()), |files| files.check_contents())
    }

    fn spent(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn stopped(&self) -> bool {
        self.state().stopping.is_some()
    }
}
