//! A model's engine lives on a thread of its own. Python's threads hand it jobs and wait without
//! the GIL; a Ctrl-C meanwhile stops the job before its next decode.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use midlayer::engine::{Engine, Planned, Straightforward};
use midlayer::hook::Anatomy;
use midlayer::runtime::{ContextOptions, Model, RuntimeError, Stop};
use pyo3::prelude::*;

use crate::errors::EngineError;

/// The engine of a model.
pub enum Engines {
    Planned(Box<Planned>),
    Straightforward(Box<Straightforward>),
}

impl Engines {
    pub fn get(&mut self) -> &mut dyn Engine {
        match self {
            Self::Planned(engine) => &mut **engine,
            Self::Straightforward(engine) => &mut **engine,
        }
    }

    /// The planned engine, which alone computes parts of a model.
    pub fn planned(&mut self) -> PyResult<&mut Planned> {
        match self {
            Self::Planned(engine) => Ok(engine),
            Self::Straightforward(_) => Err(EngineError::new_err(
                "the logit lens computes the head alone, which the planned engine does; load the model with engine=\"planned\"",
            )),
        }
    }
}

/// What jobs work on.
pub struct Bench {
    pub engine: Engines,
    pub model: Arc<Model>,
    pub anatomy: Anatomy,
}

type Job = Box<dyn FnOnce(&mut Bench) + Send>;

/// How far a job is.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Waiting,
    Running,
    Over,
}

/// The thread of an engine.
pub struct Worker {
    jobs: Mutex<Sender<Job>>,
    thread: ThreadId,
    stop: Stop,
}

/// Sequences at once: a small wave and what follows its texts, as in `midlayer try`.
const PARALLEL: u32 = 16;
/// How often a waiting thread looks whether somebody pressed Ctrl-C.
const LOOK: Duration = Duration::from_millis(50);

/// The process that uses llama.cpp: its threads and locks do not come along in a fork.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Refuses a process that was forked from one that had a model.
pub fn check_process() -> PyResult<()> {
    let own = std::process::id();
    match PROCESS.compare_exchange(0, own, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => Ok(()),
        Err(first) if first == own => Ok(()),
        Err(first) => Err(EngineError::new_err(format!(
            "midlayer was used in process {first}, of which this one ({own}) is a fork: llama.cpp's threads do not come along; start processes with multiprocessing's \"spawn\" (multiprocessing.get_context(\"spawn\"))"
        ))),
    }
}

impl Worker {
    /// Starts the thread and makes the engine on it.
    pub fn start(
        model: Arc<Model>,
        mut options: ContextOptions,
        planned: bool,
    ) -> Result<Self, RuntimeError> {
        let stop = Stop::default();
        options.stop = stop.clone();
        let (jobs, waiting) = channel::<Job>();
        let (told, made) = channel();
        let thread = thread::Builder::new().name("midlayer".into());
        let thread = thread.spawn(move || {
            let bench = match bench(model, &options, planned) {
                Ok(bench) => bench,
                Err(error) => return drop(told.send(Err(error))),
            };
            let mut bench = bench;
            let _ = told.send(Ok(()));
            for job in waiting {
                job(&mut bench);
            }
        });
        let thread = thread.map_err(|error| RuntimeError::Backend(error.to_string()))?;
        match made.recv() {
            Ok(made) => made?,
            Err(_) => return Err(RuntimeError::Backend("the engine's thread ended".into())),
        }
        Ok(Self {
            jobs: Mutex::new(jobs),
            thread: thread.thread().id(),
            stop,
        })
    }

    /// Does a job on the engine's thread, after those that came before.
    pub fn ask<T: Send + 'static>(
        &self,
        py: Python<'_>,
        job: impl FnOnce(&mut Bench) -> PyResult<T> + Send + 'static,
    ) -> PyResult<T> {
        check_process()?;
        if thread::current().id() == self.thread {
            return Err(EngineError::new_err(
                "a hook runs while its model computes, so it cannot ask the same model; compute what it needs before, or load the model a second time",
            ));
        }
        let phase = Arc::new(Mutex::new(Phase::Waiting));
        let (done, answer) = channel();
        let answer = Mutex::new(answer);
        let (of_job, stop) = (phase.clone(), self.stop.clone());
        let job: Job = Box::new(move |bench| {
            if !begins(&of_job) {
                return;
            }
            let result = catch_unwind(AssertUnwindSafe(|| job(bench)));
            let mut phase = locked(&of_job);
            *phase = Phase::Over;
            stop.withdraw();
            let _ = done.send(result);
        });
        let sent = locked(&self.jobs).send(job);
        let gone = || EngineError::new_err("the engine's thread has ended; load the model again");
        sent.map_err(|_| gone())?;
        let result = loop {
            match py.detach(|| locked(&answer).recv_timeout(LOOK)) {
                Ok(result) => break result,
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(signal) = py.check_signals() {
                self.break_off(&phase);
                // The job must be over before anything that it uses is.
                let _ = py.detach(|| locked(&answer).recv());
                return Err(signal);
            }
        };
        result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("no reason");
            Err(EngineError::new_err(format!(
                "midlayer failed at what it takes for granted ({text}); load the model again"
            )))
        })
    }

    fn break_off(&self, phase: &Mutex<Phase>) {
        let mut phase = locked(phase);
        match *phase {
            Phase::Waiting => *phase = Phase::Over,
            Phase::Running => drop(self.stop.ask()),
            Phase::Over => {}
        }
    }
}

/// Whether a job that was waiting is still wanted.
fn begins(phase: &Mutex<Phase>) -> bool {
    let mut phase = locked(phase);
    let wanted = *phase == Phase::Waiting;
    if wanted {
        *phase = Phase::Running;
    }
    wanted
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bench(
    model: Arc<Model>,
    options: &ContextOptions,
    planned: bool,
) -> Result<Bench, RuntimeError> {
    let (engine, anatomy) = if planned {
        let engine = Planned::new(model.clone(), options, PARALLEL)?.eager();
        let anatomy = engine.inspect().anatomy().cloned();
        (Engines::Planned(Box::new(engine)), anatomy)
    } else {
        let engine = Straightforward::new(model.clone(), options)?;
        let anatomy = engine.context().anatomy().cloned();
        (Engines::Straightforward(Box::new(engine)), anatomy)
    };
    Ok(Bench {
        engine,
        model,
        anatomy: anatomy.expect("engines have a callback"),
    })
}
