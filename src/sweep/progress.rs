//! How a sweep tells what it does, and is told to stop.

use std::time::Duration;

use crate::experiment::Amount;
use crate::files::HeldError;
use crate::tasks::TaskName;

/// Follows a sweep. All methods do nothing by default.
pub trait Progress {
    /// `all` is to be computed; `stored` of it is there from an earlier session.
    fn begin(&mut self, all: Amount, stored: Amount) {
        let _ = (all, stored);
    }
    /// A step of a sweep that stops when it knows begins, after `begin` and after each step: `all`
    /// is to be computed with it, and `stored` of that is there. `told` says how far it has come.
    fn step(&mut self, all: Amount, stored: Amount, told: &str) {
        let _ = (all, stored, told);
    }
    /// So much was computed in so much time before the first unit.
    fn measured(&mut self, work: f64, time: Duration) {
        let _ = (work, time);
    }
    /// A unit begins: its results are stored together.
    fn unit(&mut self, amount: Amount) {
        let _ = amount;
    }
    /// A result of the unit has been computed, and is not stored yet.
    fn result(&mut self, task: TaskName, item: &str) {
        let _ = (task, item);
    }
    /// The unit is stored.
    fn stored(&mut self) {}
    /// Something the user should know.
    fn note(&mut self, text: &str) {
        let _ = text;
    }
    /// Asked before anything is stored: whether what was computed from is still what it was.
    ///
    /// # Errors
    /// Nothing is stored then.
    fn check(&self) -> Result<(), HeldError> {
        Ok(())
    }
    /// Whether the time that the sweep may take is over: it ends then, without an error, once the
    /// unit at hand is stored.
    fn spent(&self) -> bool {
        false
    }
    /// Whether to stop once the unit at hand is stored.
    fn stopped(&self) -> bool {
        false
    }
}

impl Progress for () {}
