//! What to know of a sweep before it runs.

use super::output::say;
use crate::experiment::Spec;
use crate::intervention::Kind;
use crate::stats::{Expected, FEWEST_ITEMS, normal_quantile, tango_bound, wilson};
use crate::sweep::{Prepared, PreparedTask};

/// What to know of a variant before it runs.
pub fn notes(prepared: &Prepared) -> Vec<String> {
    let mut notes = prepared.variant().grid.notes.clone();
    notes.extend(prepared.notes());
    notes.extend(prepared.tasks().iter().filter_map(too_few));
    notes
}

/// Which manipulations are run that were not asked for.
pub fn tell_controls(asked: &[Kind], spec: &Spec) {
    for control in spec
        .manipulations
        .iter()
        .filter(|kind| !asked.contains(kind))
    {
        say(&format!(
            "{control} is run, too: {} (--no-controls leaves it out)",
            control.manipulation().sentence()
        ));
    }
}

/// What so few items can show and what they cannot.
fn too_few(of: &PreparedTask) -> Option<String> {
    let (task, n) = (of.task, of.set.items.len());
    if n >= FEW {
        return None;
    }
    let (low, high) = wilson(0.5, n);
    let points = (50.0 * (high - low)).round();
    let least = FEWEST_ITEMS;
    let layers = if n < least {
        format!(
            "no half-way layer can be given, which takes {least} items that the clean model scores on"
        )
    } else {
        let within = |width| Expected::of(0.5, width).precision(n);
        format!(
            "a half-way layer is given only if the clean model scores on {least} of them (if on half, to about {:.1} layers of a sharp step and {:.1} of a gradual one)",
            within(1.0),
            within(4.0)
        )
    };
    // What is shown where not one answer changes.
    let bound = tango_bound(0.0, 0.0, n as f64, normal_quantile(0.95));
    Some(format!(
        "{task}: with {n} items {layers}; a loss can be shown to be at most {:.0} points and no less; 95% intervals reach up to {points} points to either side (--limit)",
        (100.0 * bound).ceil()
    ))
}

/// Items below which it is said what they cannot show.
const FEW: usize = 30;

/// Says each of several notes once.
pub fn tell_once(notes: impl IntoIterator<Item = String>) {
    let mut told = Vec::new();
    for note in notes {
        if !told.contains(&note) {
            say(&note);
            told.push(note);
        }
    }
}

/// Says which tasks of a specification run on the program's own sample.
pub fn tell_samples(spec: &Spec) {
    for task in spec.tasks.iter().filter(|task| task.is_sample()) {
        let task = task.task;
        say(&format!(
            "{task}: using the small sample written for midlayer by a language model; for the real set: midlayer pull {task}, or --data {task}=FILE"
        ));
    }
}
