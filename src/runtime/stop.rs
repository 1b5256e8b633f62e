//! The wish to stop, looked at before every decode.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A wish to stop, shared by those who may have it (a handler of Ctrl-C) and the contexts that
/// look at it before every decode. A clone is the same wish.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks to stop, until that is withdrawn. Returns whether this had been asked before.
    pub fn ask(&self) -> bool {
        self.0.swap(true, Ordering::SeqCst)
    }

    /// Takes the wish back, for what comes next.
    pub fn withdraw(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Whether to stop.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Results do not depend on who may stop them: any two are equal.
impl PartialEq for Stop {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Stop {}
