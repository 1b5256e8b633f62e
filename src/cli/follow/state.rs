//! How far a sweep has come, in words.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::experiment::Amount;

/// What is known of the run, shared with the thread that waits for signals.
#[derive(Default)]
pub(super) struct State {
    pub(super) bar: Option<ProgressBar>,
    /// What is being done.
    pub(super) phase: Phase,
    /// Of the whole run, once it is open: results to be stored in all, where that is known, and
    /// stored.
    pub(super) run: Option<(Option<usize>, usize)>,
    /// Which model of how many this is, from 1, where there are several, and the work that is left
    /// of those after it, where it is known.
    pub(super) model: Option<(usize, usize)>,
    pub(super) later: Option<f64>,
    /// How far a sweep has come that stops when it knows: what is left is left of a step then.
    pub(super) step: Option<String>,
    /// Of the variant at hand.
    pub(super) all: Amount,
    pub(super) stored: Amount,
    pub(super) speed: Speed,
    /// Whether results are stored elsewhere than in the run's folder, and whether that lacks some
    /// of them.
    pub(super) elsewhere: bool,
    pub(super) unpublished: bool,
    /// Whether to stop, and what to end with then.
    pub(super) stopping: Option<u8>,
    pub(super) last_line: Option<Instant>,
}

#[derive(Clone, Copy, Default)]
pub(super) enum Phase {
    /// Nothing that would be lost.
    #[default]
    Idle,
    /// A unit, with so many of its results computed.
    Unit(Amount, usize),
    /// Everything is stored, and the report is written.
    Report,
}

/// Work in a second.
#[derive(Clone, Copy, Default)]
pub(super) struct Speed {
    /// Measured before the first unit.
    pub(super) before: Option<f64>,
    /// When the units began, and what was stored then.
    pub(super) since: Option<(Instant, f64)>,
}

impl State {
    /// What is computed of the unit at hand and not stored.
    pub(super) fn in_hand(&self) -> Amount {
        match self.phase {
            Phase::Unit(unit, results) => Amount {
                results,
                work: unit.work * results as f64 / unit.results.max(1) as f64,
            },
            _ => Amount::default(),
        }
    }

    pub(super) fn speed(&self) -> Option<f64> {
        let measured = self.speed.since.and_then(|(since, stored)| {
            let work = self.stored.work - stored + self.in_hand().work;
            let seconds = since.elapsed().as_secs_f64();
            let tells = self.speed.before.is_none() || work >= TELLS * self.all.work;
            (tells && work > 0.0 && seconds > 0.0).then(|| work / seconds)
        });
        measured.or(self.speed.before)
    }

    pub(super) fn time(&self, work: f64) -> Option<Duration> {
        let seconds = work.max(0.0) / self.speed()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// How far the variant has come, in words.
    pub(super) fn line(&self) -> String {
        let in_hand = self.in_hand();
        let mut line = String::new();
        if let Some((n, of)) = self.model {
            line.push_str(&format!("model {n} of {of}: "));
        }
        line.push_str(&format!(
            "{} of {} results stored",
            self.stored.results, self.all.results
        ));
        if in_hand.results > 0 {
            line.push_str(&format!(", {} in hand", in_hand.results));
        }
        if let Some((since, _)) = self.speed.since {
            line.push_str(&format!(", {} gone", short(since.elapsed())));
        }
        line.push_str(&self.left(self.all.work - self.stored.work - in_hand.work));
        if let Some(told) = &self.step {
            line.push_str(&format!("; {told}"));
        }
        line
    }

    /// How long this model's work and that of the models after it take, in words: together, where
    /// all of it is known.
    pub(super) fn left(&self, work: f64) -> String {
        let later = self.later.filter(|later| *later > 0.0);
        let of_all = match (self.step.is_some(), later) {
            (false, Some(later)) => (work + later, " left of all models"),
            (false, None) => (work, " left"),
            (true, _) => (work, " left of this step"),
        };
        let Some(time) = self.time(of_all.0) else {
            return String::new();
        };
        let mut text = format!(", about {}{}", short(time), of_all.1);
        let later = later.filter(|_| self.step.is_some());
        if let Some(later) = later.and_then(|later| self.time(later)) {
            text.push_str(&format!(", {} of the models after it", short(later)));
        }
        text
    }

    /// What to say to the first signal; `None` where nothing is worth waiting for.
    pub(super) fn waits(&self) -> Option<String> {
        match self.phase {
            Phase::Idle => self.unpublished.then(|| {
                "stopping once the run's folder has all that is stored; Ctrl-C again stops at once, and it lacks the last results"
                    .into()
            }),
            Phase::Report => Some(
                "everything is stored and the report is being written; Ctrl-C again stops at once"
                    .into(),
            ),
            Phase::Unit(unit, done) => {
                let most = self.time(unit.work * LONGER);
                let most = most.map_or("its time is not known yet".into(), |most| {
                    format!("at most about {}", short(most))
                });
                Some(format!(
                    "stopping once the {} results that are computed together are stored ({most}; {done} are computed); Ctrl-C again stops at once and loses them",
                    unit.results
                ))
            }
        }
    }

    /// What a stop leaves and what it loses.
    pub(super) fn leaves(&self) -> String {
        let mut lost = match self.in_hand().results {
            0 => String::new(),
            n => format!(", {n} that were computed are lost"),
        };
        if self.unpublished {
            lost.push_str(", the run's folder lacks the last of them");
        }
        match self.run {
            Some((all, stored)) => {
                let of = all.map_or(String::new(), |all| format!(" of {all}"));
                format!(
                    "interrupted: {stored}{of} results are stored{lost}; repeat the command to go on where it stopped"
                )
            }
            None => "interrupted before anything was computed".into(),
        }
    }
}

/// The share of the work that must be done before its speed is believed rather than the one
/// measured before: a unit's first result waits for clean runs and donors.
const TELLS: f64 = 0.02;
/// A unit may take longer than its work says by so much.
const LONGER: f64 = 1.5;

/// A time as people say it: `8s`, `3m20s`, `5h10m`, `12 days`.
fn short(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..172_800 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sweep of a variant that computes ten units of work a second.
    fn state(model: Option<(usize, usize)>, later: Option<f64>, step: Option<&str>) -> State {
        State {
            model,
            later,
            step: step.map(String::from),
            all: Amount {
                results: 40,
                work: 400.0,
            },
            stored: Amount {
                results: 10,
                work: 100.0,
            },
            speed: Speed {
                before: Some(10.0),
                since: None,
            },
            ..State::default()
        }
    }

    #[test]
    fn a_stop_waits_for_what_is_not_published() {
        let mut state = state(None, None, None);
        state.run = Some((Some(40), 10));
        assert_eq!(state.waits(), None);
        state.unpublished = true;
        assert!(state.waits().unwrap().contains("the run's folder has all"));
        assert!(
            state
                .leaves()
                .contains("10 of 40 results are stored, the run's")
        );
    }

    #[test]
    fn what_is_left_is_left_of_all_models() {
        for (state, line) in [
            (
                state(None, None, None),
                "10 of 40 results stored, about 30s left",
            ),
            (
                state(Some((2, 3)), Some(600.0), None),
                "model 2 of 3: 10 of 40 results stored, about 1m30s left of all models",
            ),
            (
                state(Some((3, 3)), Some(0.0), None),
                "model 3 of 3: 10 of 40 results stored, about 30s left",
            ),
            (
                state(Some((1, 3)), None, Some("a: 1 of 2")),
                "model 1 of 3: 10 of 40 results stored, about 30s left of this step; a: 1 of 2",
            ),
            (
                state(Some((2, 3)), Some(600.0), Some("a: 1 of 2")),
                "model 2 of 3: 10 of 40 results stored, about 30s left of this step, \
                 1m00s of the models after it; a: 1 of 2",
            ),
        ] {
            assert_eq!(state.line(), line);
        }
    }
}
