//! The sessions of preloaded contexts, by scheduler: each context has one of its own.
//!
//! A scheduler's address says little: a context that is freed leaves it to the next one, and
//! llama.cpp makes a context's scheduler anew when its adapters or samplers change. What tells
//! these apart is that a context that ends also frees its backends, on the same thread, right
//! before its scheduler or right after it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::session::Session;

/// `None` where none is to be.
type Found = Option<Arc<Session>>;

static SESSIONS: Mutex<Option<HashMap<usize, Found>>> = Mutex::new(None);

/// What was freed on a thread since it last registered a callback.
#[derive(Default)]
struct Freed {
    backend: bool,
    /// The session of a scheduler that was freed while its backends were not.
    scheduler: Option<Found>,
}

thread_local! {
    static FREED: RefCell<Freed> = RefCell::default();
}

/// The session of a scheduler; `open` makes it when the context is first seen.
pub fn of(scheduler: usize, open: impl FnOnce() -> Option<Session>) -> Found {
    let freed = FREED.take();
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let sessions = sessions.get_or_insert_default();
    let session = sessions.entry(scheduler).or_insert_with(|| {
        // The same context with another scheduler, or a new context.
        freed.scheduler.unwrap_or_else(|| open().map(Arc::new))
    });
    session.clone()
}

/// A scheduler is gone.
pub fn scheduler_freed(scheduler: usize) {
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let session = sessions.as_mut().and_then(|all| all.remove(&scheduler));
    drop(sessions);
    // When the thread ends its variables may be gone before its contexts, and nothing follows.
    let _ = FREED.try_with(|freed| {
        let before = freed.take();
        if !before.backend {
            freed.borrow_mut().scheduler = session;
        }
    });
}

/// A backend is gone, and so is a context that has lost its scheduler.
pub fn backend_freed() {
    let _ = FREED.try_with(|freed| {
        freed.replace(Freed {
            backend: true,
            scheduler: None,
        });
    });
}
