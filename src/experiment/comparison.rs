//! What the curves of a sweep that stops when it knows are compared with.

use crate::intervention::Kind;
use crate::stats::{Compared, Window};
use crate::tasks::TaskName;

/// Windows of curves that have been swept, for those of other models to be compared with.
pub type Windows = Vec<(TaskName, Kind, Window)>;

/// What a variant's curves are compared with.
#[derive(Clone, Debug, Default)]
pub enum Comparison {
    /// Nothing: there is no other variant.
    #[default]
    Alone,
    /// Variants that come after it.
    First,
    /// The curves of the first variant.
    With(Windows),
}

impl Comparison {
    /// What a task's curve is compared with.
    pub fn of(&self, task: TaskName, kind: Kind) -> Compared {
        match self {
            Comparison::Alone => Compared::Alone,
            Comparison::First => Compared::First,
            Comparison::With(windows) => {
                let mut windows = windows.iter();
                let same = windows.find(|(of, by, _)| (*of, *by) == (task, kind));
                same.map_or(Compared::Alone, |(_, _, window)| {
                    Compared::With(window.clone())
                })
            }
        }
    }
}
