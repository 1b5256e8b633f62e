//! Requests on their way to the thread that computes.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::{Ask, Line, Refusal, Subject};
use crate::runtime::Stop;

/// Requests that may wait while one is computed.
const WAITING: usize = 8;

/// Why a request was ended before its answer was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The same page asked for something else.
    Superseded,
    /// Nobody listens.
    Gone,
}

/// What a request's answer is made of.
#[derive(Debug)]
pub enum Part {
    /// A line.
    Line(Line),
    /// The answer is complete.
    Done,
    /// There is no further answer.
    Refused(Refusal),
    /// The same page asked for something else.
    Superseded,
}

struct Job {
    id: u64,
    ask: Ask,
    out: UnboundedSender<Part>,
}

/// The request that is being computed.
struct Running {
    id: u64,
    page: Option<String>,
    ended: Option<Ended>,
}

#[derive(Default)]
struct State {
    next: u64,
    waiting: VecDeque<Job>,
    running: Option<Running>,
    about: Option<Value>,
    /// Something has come for the subject.
    rung: bool,
    /// Nothing will be computed.
    closed: bool,
}

/// The queue. One thread takes from it ([`Queue::work`]), many put into it.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    /// The wish that ends what is being computed.
    stop: Stop,
}

/// A request that was taken. Dropped, it is ended.
pub struct Ticket {
    queue: Arc<Queue>,
    id: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.waiting.retain(|job| job.id != self.id);
        self.queue
            .end(&mut state, Ended::Gone, |running| running.id == self.id);
    }
}

/// Tells the thread that computes that something has come for its subject.
#[derive(Clone)]
pub struct Bell(pub(super) Arc<Queue>);

impl Bell {
    /// Rings it. The subject takes in what has come before it answers anything else.
    pub fn ring(&self) {
        self.0.lock().rung = true;
        self.0.arrived.notify_one();
    }
}

/// Too many requests wait.
#[derive(Debug)]
pub struct Busy;

impl Queue {
    /// The wish that ends what is being computed, for the engine's context.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the queue")
    }

    /// What the subject says of itself, once it is there.
    pub fn about(&self) -> Option<Value> {
        self.lock().about.clone()
    }

    /// Nothing will be computed: there is no model.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.about = Some(json!({"state": "none", "version": super::VERSION}));
    }

    /// Whether nothing will be computed.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Puts a request at the end. An older one of the same page is ended.
    pub fn put(self: &Arc<Self>, ask: Ask, out: UnboundedSender<Part>) -> Result<Ticket, Busy> {
        let mut state = self.lock();
        if let Some(page) = ask.page() {
            let old = |job: &Job| job.ask.page() == Some(page);
            for job in state.waiting.iter().filter(|job| old(job)) {
                let _ = job.out.send(Part::Superseded);
            }
            state.waiting.retain(|job| !old(job));
            self.end(&mut state, Ended::Superseded, |running| {
                running.page.as_deref() == Some(page)
            });
        }
        if state.waiting.len() >= WAITING {
            return Err(Busy);
        }
        let id = state.next;
        state.next += 1;
        state.waiting.push_back(Job { id, ask, out });
        self.arrived.notify_one();
        Ok(Ticket {
            queue: self.clone(),
            id,
        })
    }

    /// Ends what is being computed, if it is the one.
    fn end(&self, state: &mut State, why: Ended, is: impl Fn(&Running) -> bool) {
        if let Some(running) = state.running.as_mut().filter(|running| is(running)) {
            running.ended.get_or_insert(why);
            self.stop.ask();
        }
    }

    /// The next request; none where the subject has something to take in first.
    fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if std::mem::take(&mut state.rung) {
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                self.stop.withdraw();
                state.running = Some(Running {
                    id: job.id,
                    page: job.ask.page().map(str::to_string),
                    ended: None,
                });
                return Some(job);
            }
            let woken = self.arrived.wait(state);
            state = woken.expect("nobody panics with the queue");
        }
    }

    /// Answers requests one after the other, for ever.
    pub fn work(&self, mut subject: impl Subject) -> ! {
        self.lock().about = Some(subject.about());
        loop {
            let Some(job) = self.take() else {
                subject.take_in();
                self.lock().about = Some(subject.about());
                continue;
            };
            let mut hand_over = |line| match job.out.send(Part::Line(line)) {
                Ok(()) if !self.stop.is_asked() => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            };
            let answered = subject.answer(&job.ask, &mut hand_over);
            let running = self.lock().running.take();
            let ended = running.and_then(|running| running.ended);
            let last = match (answered, ended) {
                (Ok(()), _) => Part::Done,
                (Err(Refusal::Stopped), Some(Ended::Superseded)) => Part::Superseded,
                (Err(refusal), _) => Part::Refused(refusal),
            };
            let _ = job.out.send(last);
        }
    }
}

impl Part {
    /// The line that says it.
    pub fn line(&self) -> String {
        match self {
            Part::Line(line) => line.text().to_string(),
            Part::Done => Line::new("done", &json!({})).0,
            Part::Refused(refusal) => error(refusal.code(), refusal.message()),
            Part::Superseded => error("superseded", "the page asked for something else"),
        }
    }
}

/// A line that says what went wrong.
pub fn error(code: &str, message: &str) -> String {
    Line::new("error", &json!({"code": code, "message": message})).0
}

impl Refusal {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Usage(_) => "usage",
            Refusal::Unknown(_) => "not-found",
            Refusal::Failed(_) => "failed",
            Refusal::Loading(_) => "loading",
            Refusal::Stopped => "stopped",
        }
    }

    /// A sentence for people.
    pub fn message(&self) -> &str {
        match self {
            Refusal::Usage(text)
            | Refusal::Unknown(text)
            | Refusal::Failed(text)
            | Refusal::Loading(text) => text,
            Refusal::Stopped => "stopped",
        }
    }
}
