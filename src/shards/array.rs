//! Which part of a run belongs to this task of a scheduler's array.

use super::{Shard, ShardError};

/// How a scheduler tells a task its number, by the names of variables.
struct Scheduler {
    number: &'static str,
    /// The smallest number, the step and the largest, where it tells.
    first: Option<&'static str>,
    step: Option<&'static str>,
    last: Option<&'static str>,
    /// How many tasks there are, where it tells.
    count: Option<&'static str>,
    /// The number of the first task of every array.
    from: u64,
    /// What its number is outside of an array.
    none: &'static str,
}

const SCHEDULERS: [Scheduler; 6] = [
    Scheduler {
        number: "SLURM_ARRAY_TASK_ID",
        first: Some("SLURM_ARRAY_TASK_MIN"),
        step: Some("SLURM_ARRAY_TASK_STEP"),
        last: Some("SLURM_ARRAY_TASK_MAX"),
        count: Some("SLURM_ARRAY_TASK_COUNT"),
        from: 1,
        none: "",
    },
    Scheduler {
        number: "SGE_TASK_ID",
        first: Some("SGE_TASK_FIRST"),
        step: Some("SGE_TASK_STEPSIZE"),
        last: Some("SGE_TASK_LAST"),
        count: None,
        from: 1,
        none: "undefined",
    },
    Scheduler {
        number: "LSB_JOBINDEX",
        first: None,
        step: Some("LSB_JOBINDEX_STEP"),
        last: Some("LSB_JOBINDEX_END"),
        count: None,
        from: 1,
        none: "0",
    },
    one("PBS_ARRAY_INDEX", 1),
    one("PBS_ARRAYID", 1),
    // Kubernetes, whose completion indices begin at 0.
    one("JOB_COMPLETION_INDEX", 0),
];

/// A scheduler that tells the task's number alone.
const fn one(number: &'static str, from: u64) -> Scheduler {
    Scheduler {
        number,
        first: None,
        step: None,
        last: None,
        count: None,
        from,
        none: "",
    }
}

/// A task as its scheduler tells of it.
struct Task {
    of: &'static Scheduler,
    number: u64,
    first: Option<u64>,
    step: u64,
    last: Option<u64>,
    count: Option<u64>,
}

/// The part of this process's task. `count` is how many parts there are, where the user has said.
///
/// # Errors
/// [`ShardError`] where it cannot be known for certain.
pub fn from_environment(count: Option<u32>) -> Result<Shard, ShardError> {
    number_in(&|name| std::env::var(name).ok(), count)
}

/// The same with an environment of one's own.
///
/// # Errors
/// [`ShardError`] where it cannot be known for certain.
pub fn number_in(
    environment: &dyn Fn(&str) -> Option<String>,
    count: Option<u32>,
) -> Result<Shard, ShardError> {
    let mut found: Option<(Task, Shard)> = None;
    let mut failed = None;
    for scheduler in &SCHEDULERS {
        let Some(task) = task(scheduler, environment)? else {
            continue;
        };
        let shard = match shard(&task, count) {
            Ok(shard) => shard,
            Err(error) => {
                failed = Some(error);
                continue;
            }
        };
        match &found {
            Some((other, known)) if *known != shard => {
                return Err(ShardError::TwoTasks {
                    first: said(other),
                    second: said(&task),
                });
            }
            _ => found = Some((task, shard)),
        }
    }
    match (failed, found) {
        (Some(error), _) => Err(error),
        (None, Some((_, shard))) => Ok(shard),
        (None, None) => {
            let known: Vec<&str> = SCHEDULERS.iter().map(|of| of.number).collect();
            Err(ShardError::NoTask {
                known: known.join(", "),
            })
        }
    }
}

fn task(
    of: &'static Scheduler,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Task>, ShardError> {
    let number = |name: Option<&str>| {
        let Some((name, value)) = name.and_then(|name| Some((name, environment(name)?))) else {
            return Ok(None);
        };
        match value.trim() {
            "" | "undefined" => Ok(None),
            value => value.parse().map(Some).map_err(|_| ShardError::NoNumber {
                variable: name.into(),
                value: value.into(),
            }),
        }
    };
    match environment(of.number) {
        None => return Ok(None),
        Some(value) if value.trim() == of.none => return Ok(None),
        Some(_) => {}
    }
    let Some(own) = number(Some(of.number))? else {
        return Ok(None);
    };
    Ok(Some(Task {
        of,
        number: own,
        first: number(of.first)?,
        step: number(of.step)?.unwrap_or(1).max(1),
        last: number(of.last)?,
        count: number(of.count)?,
    }))
}

/// What the scheduler has said, for messages.
fn said(task: &Task) -> String {
    let mut text = format!("{}={}", task.of.number, task.number);
    let others = [
        (task.of.first, task.first),
        (task.of.last, task.last),
        (task.of.count, task.count),
    ];
    for (name, value) in others {
        if let (Some(name), Some(value)) = (name, value) {
            text.push_str(&format!(" {name}={value}"));
        }
    }
    text
}

fn shard(task: &Task, count: Option<u32>) -> Result<Shard, ShardError> {
    if let Some(count) = count {
        let outside = || ShardError::Outside {
            said: said(task),
            count,
        };
        let number = |n: u64| {
            let number = (n + 1).checked_sub(task.of.from);
            let number = number.and_then(|number| u32::try_from(number).ok());
            number.filter(|number| (1..=count).contains(number))
        };
        // Numbers of other tasks count too: an array of 0 to 15 would have none at all for its
        // first, and be one off for all others.
        let told = [task.first, task.last].into_iter().flatten();
        if told.into_iter().any(|n| number(n).is_none()) {
            return Err(outside());
        }
        let number = number(task.number).ok_or_else(outside)?;
        return Ok(Shard { count, number });
    }
    let gaps = || ShardError::Gaps { said: said(task) };
    let first = task.first.unwrap_or(task.of.from);
    let by_ends = task
        .last
        .and_then(|last| Some(last.checked_sub(first)? / task.step + 1));
    let count = match (by_ends, task.count) {
        (Some(ends), Some(count)) if ends != count => return Err(gaps()),
        (ends, count) => ends.or(count),
    };
    let Some(count) = count else {
        return Err(ShardError::NoCount { said: said(task) });
    };
    // A resubmitted task alone would be taken for a whole array.
    if first > 1 || (count == 1 && task.number != first) {
        return Err(gaps());
    }
    let above = task.number.checked_sub(first).ok_or_else(gaps)?;
    let number = above / task.step + 1;
    match (u32::try_from(count), u32::try_from(number)) {
        (Ok(count), Ok(number)) if above % task.step == 0 && number <= count => {
            Ok(Shard { count, number })
        }
        _ => Err(gaps()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)], count: Option<u32>) -> Result<String, ShardError> {
        let value = |name: &str| {
            let mut variables = variables.iter();
            let found = variables.find(|(known, _)| *known == name);
            found.map(|(_, value)| value.to_string())
        };
        number_in(&value, count).map(|shard| format!("{}/{}", shard.number, shard.count))
    }

    fn slurm<'v>(
        id: &'v str,
        min: &'v str,
        max: &'v str,
        n: &'v str,
    ) -> [(&'static str, &'v str); 4] {
        [
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_MIN", min),
            ("SLURM_ARRAY_TASK_MAX", max),
            ("SLURM_ARRAY_TASK_COUNT", n),
        ]
    }

    #[test]
    fn each_scheduler_s_array_is_understood() {
        for (variables, count, part) in [
            (&slurm("3", "1", "16", "16")[..], None, "3/16"),
            (&slurm("0", "0", "3", "4"), None, "1/4"),
            (&slurm("7", "2", "7", "3"), Some(16), "7/16"),
            (
                &[
                    ("SGE_TASK_ID", "5"),
                    ("SGE_TASK_FIRST", "1"),
                    ("SGE_TASK_LAST", "9"),
                    ("SGE_TASK_STEPSIZE", "4"),
                ],
                None,
                "2/3",
            ),
            (
                &[("LSB_JOBINDEX", "2"), ("LSB_JOBINDEX_END", "8")],
                None,
                "2/8",
            ),
            (&[("PBS_ARRAY_INDEX", "4")], Some(5), "4/5"),
            (&[("JOB_COMPLETION_INDEX", "0")], Some(5), "1/5"),
            (
                &[("JOB_COMPLETION_INDEX", "2"), ("SLURM_ARRAY_TASK_ID", "3")],
                Some(5),
                "3/5",
            ),
            // Outside of an array.
            (
                &[
                    ("SGE_TASK_ID", "undefined"),
                    ("LSB_JOBINDEX", "0"),
                    ("PBS_ARRAY_INDEX", "4"),
                ],
                Some(5),
                "4/5",
            ),
        ] {
            assert_eq!(
                found(variables, count).as_deref(),
                Ok(part),
                "{variables:?}"
            );
        }
    }

    #[test]
    fn what_is_not_certain_is_refused_with_what_to_write() {
        for (variables, count, says) in [
            (&[][..], None, "`shard` K/N"),
            (&[("SGE_TASK_ID", "undefined")], Some(4), "`shard` K/N"),
            (
                &[("PBS_ARRAY_INDEX", "x")],
                Some(4),
                "PBS_ARRAY_INDEX is 'x'",
            ),
            (&[("PBS_ARRAY_INDEX", "4")], None, "`shard` auto/N"),
            (&[("JOB_COMPLETION_INDEX", "4")], None, "`shard` auto/N"),
            // Resubmitted: of sixteen three are left, or one.
            (&slurm("7", "2", "7", "3"), None, "`shard` auto/N"),
            (&slurm("7", "7", "7", "1"), None, "`shard` auto/N"),
            (&slurm("4", "2", "6", "5"), None, "`shard` auto/N"),
            (&slurm("20", "1", "16", "16"), None, "`shard` auto/N"),
            // Not numbered from 1.
            (&slurm("3", "0", "15", "16"), Some(16), "(1-16)"),
            (&slurm("3", "1", "20", "20"), Some(16), "(1-16)"),
            (&[("PBS_ARRAY_INDEX", "0")], Some(16), "(1-16)"),
            (&[("JOB_COMPLETION_INDEX", "16")], Some(16), "(1-16)"),
            (
                &[("PBS_ARRAY_INDEX", "4"), ("SLURM_ARRAY_TASK_ID", "3")],
                Some(16),
                "PBS_ARRAY_INDEX=4",
            ),
        ] {
            let error = found(variables, count).unwrap_err().to_string();
            assert!(error.contains(says), "{variables:?}: {error}");
        }
    }
}
